/** What a recipe says of its backbone beside the name. Those that a backbone does not list in its `takes` it ignores. */
export type BackboneOptions = {
  /** D */
  readonly embeddingDim: number;
  /** Height and width of the input in pixels. */
  readonly inputSide?: number;
  /** Multiplies the channel counts. */
  readonly width?: number;
  readonly dropout?: number;
  /** Blocks per activation checkpoint: backward recomputes them instead of storing activations; 0: none. */
  readonly checkpointEvery?: number;
  /** Largest share of samples for which a residual branch is left out; grows over the depth. */
  readonly dropPath?: number;
  /** Share of the tokens that training leaves out of each image. */
  readonly maskRatio?: number;
};
