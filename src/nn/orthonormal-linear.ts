import { add, eye, linear, narrow, solve, sub, type Tensor, transpose, zeros } from '../torch/index.ts';
import { Module, parameter } from './module.ts';

/**
 * x [.., in] → [.., out], by the first `out` rows of a learned rotation of all `in` coordinates, out ≤ in. Its rows stay
 * orthonormal, so that the other rows hold what these leave out, and cosines over all coordinates do not change. At the start
 * these are the first `out` coordinates.
 *
 * The rotation is Cayley's: Q = (I - S)(I + S)⁻¹ with S = A - Aᵀ for a learned A [in, in]. It takes one linear system with `out`
 * right-hand sides for each batch.
 */
export class OrthonormalLinear extends Module {
  readonly angles: Tensor; // A
  readonly #outputs: number;

  constructor(inputs: number, outputs: number) {
    super();
    this.angles = parameter(zeros([inputs, inputs]));
    this.#outputs = outputs;
  }

  /** The matrix of its rows, as of a `Linear` without bias. [out, in] */
  weight(): Tensor {
    const { angles } = this;
    const skew = sub(angles, transpose(angles));
    const identity = eye(angles.shape[0]!, { dtype: angles.dtype });
    // Qᵀ = (I - S)⁻¹(I + S): the rows of Q are columns of it
    const columns = narrow(add(identity, skew), 1, 0, this.#outputs);
    return transpose(solve(sub(identity, skew), columns));
  }

  override forward(x: Tensor): Tensor {
    return linear(x, this.weight());
  }
}
