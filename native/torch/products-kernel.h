// The inner loops of products.cc, compiled once for each width of vectors: the including file sets VECTOR_BYTES, ROWS (rows of a
// block that the registers hold) and the target.

template <typename T>
struct Vector {
  static constexpr int64_t lanes = VECTOR_BYTES / sizeof(T), panel = 2 * lanes;
  typedef T type __attribute__((vector_size(VECTOR_BYTES)));
  typedef T loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};

// `R` rows, packed [depth, R], times one panel: each sum is taken over the dimensions in order, so that it does not depend on its place.
template <typename T, int R>
void block(const T* rows, const T* panel, int64_t depth, bool first, T* out, int64_t outStride, int64_t width) {
  using V = Vector<T>;
  typename V::type sums[R][2];
  T part[V::panel] = {};
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    const T* from = out + r * outStride;
    if (first) {
      sums[r][0] = sums[r][1] = typename V::type{};
      continue;
    }
    if (width < V::panel) from = std::copy_n(from, width, part) - width;
    sums[r][0] = *reinterpret_cast<const typename V::loose*>(from);
    sums[r][1] = *reinterpret_cast<const typename V::loose*>(from + V::lanes);
  }
  for (int64_t d = 0; d < depth; d++, panel += V::panel, rows += R) {
    const typename V::type low = *reinterpret_cast<const typename V::loose*>(panel);
    const typename V::type high = *reinterpret_cast<const typename V::loose*>(panel + V::lanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      sums[r][0] += rows[r] * low;
      sums[r][1] += rows[r] * high;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    T* to = width < V::panel ? part : out + r * outStride;
    *reinterpret_cast<typename V::loose*>(to) = sums[r][0];
    *reinterpret_cast<typename V::loose*>(to + V::lanes) = sums[r][1];
    if (width < V::panel) std::copy_n(part, width, out + r * outStride);
  }
}

template <typename T, int R>
void lastBlock(int64_t count, const T* rows, const T* panel, int64_t depth, bool first, T* out, int64_t outStride, int64_t width) {
  if (count == R) return block<T, R>(rows, panel, depth, first, out, outStride, width);
  if constexpr (R > 1) lastBlock<T, R - 1>(count, rows, panel, depth, first, out, outStride, width);
}

// a [rows, depth] times packed [panels, depth, panel] → out [rows, columns]. `left`: room for a. There its rows lie one
// element of each after the other: in `a`, where a row takes a power of two, they would push each other out of the first cache.
template <typename T>
void products(const T* a, int64_t rows, const T* packed, int64_t depth, int64_t columns, T* out, int64_t outStride, T* left) {
  constexpr int64_t panel = Vector<T>::panel, part = kDepthBytes / sizeof(T);
  for (int64_t from = 0; from < depth; from += part)
    for (int64_t r = 0, length = std::min(part, depth - from); r < rows; r += ROWS)
      for (int64_t i = 0, count = std::min<int64_t>(ROWS, rows - r); i < count; i++)
        for (int64_t d = 0; d < length; d++) left[from * rows + r * length + d * count + i] = a[(r + i) * depth + from + d];
  for (int64_t k = 0; k < columns; k += panel) {
    const int64_t width = std::min(panel, columns - k);
    for (int64_t from = 0; from < depth; from += part) {
      const T* own = packed + (k * depth + from * panel);
      const int64_t length = std::min(part, depth - from);
      for (int64_t r = 0; r < rows; r += ROWS) {
        const T* some = left + from * rows + r * length;
        T* to = out + r * outStride + k;
        if (rows - r >= ROWS) block<T, ROWS>(some, own, length, from == 0, to, outStride, width);
        else lastBlock<T, ROWS - 1>(rows - r, some, own, length, from == 0, to, outStride, width);
      }
    }
  }
}

// The product of two rows as `products` has it.
template <typename T>
T product(const T* a, const T* b, int64_t depth) {
  T sum = 0;
  for (int64_t d = 0; d < depth; d++)
    if constexpr (sizeof(T) == sizeof(float)) sum = __builtin_fmaf(a[d], b[d], sum);
    else sum = __builtin_fma(a[d], b[d], sum);
  return sum;
}
