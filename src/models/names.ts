/** Every backbone, by the names that the reference gives them (methods.md 3). */
export const backboneNames = [
  'r18',
  'r34',
  'r50',
  'r100',
  'r200',
  'r2060',
  'mbf',
  'mbf_large',
  'vit_t',
  'vit_t_dp005_mask0',
  'vit_s',
  'vit_s_dp005_mask_0',
  'vit_b',
  'vit_b_dp005_mask_005',
  'vit_l_dp005_mask_005',
] as const;
export type BackboneName = (typeof backboneNames)[number];
