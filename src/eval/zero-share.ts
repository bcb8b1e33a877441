/** Share of zero embeddings above which a model is not evaluated. */
export const MAX_ZERO_SHARE = 0.01;
