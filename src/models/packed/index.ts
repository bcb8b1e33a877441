import type { Module } from '../../nn/index.ts';
import { defaultDevice, inference, packedLanes, scope } from '../../torch/index.ts';
import { Iresnet } from '../iresnet.ts';
import { MobileFaceNet } from '../mobilefacenet.ts';
import { Vit } from '../vit.ts';
import { PackedIresnet } from './iresnet.ts';
import { PackedMobileFaceNet } from './mobilefacenet.ts';
import { PackedVit } from './vit.ts';

/**
 * A backbone as a model that only embeds: weights packed once for the processor's vectors, batch norms in them, 3×3 convolutions by
 * Winograd's tiles, activations and sums done with the product before them. images [B, 3, S, S] float32, channels last → [B, D],
 * what the backbone gives in evaluation mode but for rounding. Made of the weights as they are now; it may share some of them, so
 * dispose both, this one first. Null where the backbone itself is to be used: on a CUDA device, a processor without AVX2, a
 * narrow network, a backbone of another kind.
 */
export function packedForm(backbone: Module): Module | null {
  if (defaultDevice() !== 'cpu' || packedLanes() === 0) return null;
  return inference(() =>
    scope(() => {
      if (backbone instanceof Iresnet) return PackedIresnet.suits(backbone) ? new PackedIresnet(backbone) : null;
      if (backbone instanceof MobileFaceNet) return new PackedMobileFaceNet(backbone);
      return backbone instanceof Vit ? new PackedVit(backbone) : null;
    }),
  );
}
