import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../base/rng.ts';
import { packedLanes, rowProducts, setThreads, share, tensor, threads, toFloat32, toFloat64 } from '../torch/index.ts';
import { eachProductBlock, selectedBlocks } from './product-blocks.ts';
import type { Rows } from './scores.ts';

/** Errors of a sum of `dim` products of numbers below 1, over the precision of the numbers. */
const ROUNDING = 2;

/** Without inner loops for the processor's vectors, products are libtorch's, whose rounding depends on the place. */
const IN_ORDER = packedLanes() > 0;

/** Numbers of rows and dimensions at the edges of the blocks that the inner loops have, and beyond one of them. */
const SIZES = [
  [1, 1, 1],
  [11, 15, 3],
  [12, 16, 512],
  [13, 33, 513],
  [145, 47, 1100],
] as const;

for (const [name, Type, precision] of [
  ['float32', Float32Array, 2 ** -24],
  ['float64', Float64Array, 2 ** -53],
] as const)
  test(`products of rows in ${name} are those of a plain loop, whatever the threads; equal rows have equal products`, () => {
    const rng = new Rng('products');
    const before = threads();
    for (const [rows, columns, dim] of SIZES) {
      const draw = (count: number): Rows => new Type(Array.from({ length: count * dim }, () => rng.uniform() - 0.5));
      const [left, right] = [draw(rows), draw(columns)];
      left.copyWithin((rows - 1) * dim, 0, dim);
      right.copyWithin((columns - 1) * dim, 0, dim);
      const products = (): Rows => {
        const [all, inOrder] = [new Type(rows * columns), Int32Array.from({ length: rows }, (_, i) => i)];
        eachProductBlock({ left: selectedBlocks(left, inOrder, dim), right, dim }, ({ products, first, count }) =>
          all.set(products.subarray(0, count * columns), first * columns),
        );
        return all;
      };
      const reversed = (): Rows => {
        const [all, order] = [
          new Type(rows * columns),
          Int32Array.from({ length: columns }, (_, k) => columns - 1 - k),
        ];
        const backwards = Int32Array.from({ length: rows }, (_, i) => rows - 1 - i);
        eachProductBlock(
          { left: selectedBlocks(left, backwards, dim), right, order, dim },
          ({ products, first, count }) => all.set(products.subarray(0, count * columns), first * columns),
        );
        return all.reverse();
      };
      setThreads(1);
      const found = products();
      setThreads(2);
      if (IN_ORDER) {
        assert.deepEqual(products(), found);
        assert.deepEqual(reversed(), found, 'rows at positions');
      }
      for (let i = 0; i < rows; i++)
        for (let k = 0; k < columns; k++) {
          let sum = 0;
          for (let d = 0; d < dim; d++) sum += left[i * dim + d]! * right[k * dim + d]!;
          const apart = Math.abs(found[i * columns + k]! - sum);
          assert.ok(apart <= ROUNDING * dim * precision, `${rows} × ${columns} × ${dim}: ${i}, ${k}: ${apart}`);
        }
      const of = (type: Rows, count: number) => share(type, { shape: [count, dim] });
      const pairs = Array.from({ length: rows * columns }, (_, i) => [Math.floor(i / columns), i % columns] as const);
      const [a, b] = [0, 1].map((side) => tensor(Int32Array.from(pairs, (pair) => pair[side]!)));
      const pairwise = rowProducts(of(left, rows), a!, of(right, columns), b!);
      const alone = name === 'float32' ? toFloat32(pairwise) : toFloat64(pairwise);
      for (const [i, product] of alone.entries()) {
        if (IN_ORDER) assert.equal(product, found[i]);
        assert.ok(Math.abs(product - found[i]!) <= ROUNDING * dim * precision);
      }
      if (!IN_ORDER) continue;
      for (let k = 0; k < columns; k++) assert.equal(found[(rows - 1) * columns + k], found[k], `row ${k}`);
      for (let i = 0; i < rows; i++)
        assert.equal(found[(i + 1) * columns - 1], found[i * columns], `column of row ${i}`);
    }
    setThreads(before);
  });
