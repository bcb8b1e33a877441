// The inner loops of dense-tokens.cc, included behind dense-kernel.h once for each width of vectors.
namespace {

typedef int32_t Ints __attribute__((vector_size(4 * LANES)));

// 2^x to 1e-7 of it, for -126 ≤ x ≤ 0; below, 2^-126. The polynomial is the best one of degree 6 for -½ … ½.
inline __attribute__((always_inline)) Vec powerOfTwo(Vec x) {
  const Vec zero = {}, low = zero - 126.0f, shift = zero + 12582912.0f;  // 1.5 · 2^23: what is added to it becomes whole
  x = x > low ? x : low;
  const Vec shifted = x + shift, r = x - (shifted - shift);
  const Ints scale = ((Ints)shifted - (Ints)(shift - 127.0f)) << 23;
  Vec y = 1.5345811958897802e-4f * r + 1.3399931384536871e-3f;
  y = y * r + 9.618488958708399e-3f;
  y = y * r + 5.5503287765580056e-2f;
  y = y * r + 2.4022646890590610e-1f;
  y = y * r + 6.9314720573745360e-1f;
  return (y * r + 1.0f) * (Vec)scale;
}

inline __attribute__((always_inline)) float sumOf(Vec v) {
  float x[LANES];
  store(x, v);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) x[i] += x[i + half];
  return x[0];
}

inline __attribute__((always_inline)) float largestOf(Vec v) {
  float x[LANES];
  store(x, v);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
  return x[0];
}

// Rows [rows, width] with mean 0 and variance 1: a layer norm whose scale and shift are in the weights behind it.
void normRows(const float* x, int64_t rows, int64_t width, float eps, float* out) {
  const int64_t whole = width / LANES * LANES;
  for (int64_t r = 0; r < rows; r++, x += width, out += width) {
    Vec sums = {}, squares = {};
    for (int64_t c = 0; c < whole; c += LANES) sums += load(x + c);
    float sum = sumOf(sums);
    for (int64_t c = whole; c < width; c++) sum += x[c];
    const float mean = sum / width;
    for (int64_t c = 0; c < whole; c += LANES) {
      const Vec apart = load(x + c) - mean;
      squares += apart * apart;
    }
    float square = sumOf(squares);
    for (int64_t c = whole; c < width; c++) square += (x[c] - mean) * (x[c] - mean);
    const float scale = 1 / __builtin_sqrtf(square / width + eps);
    for (int64_t c = 0; c < whole; c += LANES) store(out + c, (load(x + c) - mean) * scale);
    for (int64_t c = whole; c < width; c++) out[c] = (x[c] - mean) * scale;
  }
}

// A row of scores, `tokens` of them and room up to a whole panel → 2^(score - largest); 1 / their sum
inline float weigh(float* row, int64_t tokens) {
  const int64_t wide = (tokens + LANES - 1) / LANES * LANES;
  for (int64_t t = tokens; t < wide; t++) row[t] = -1e30f;
  Vec largest = load(row), sums = {};
  for (int64_t t = LANES; t < wide; t += LANES) {
    const Vec x = load(row + t);
    largest = x > largest ? x : largest;
  }
  const float most = largestOf(largest);
  for (int64_t t = 0; t < wide; t += LANES) {
    const Vec weight = powerOfTwo(load(row + t) - most);
    store(row + t, weight);
    sums += weight;
  }
  return 1 / sumOf(sums);
}

// Rows of scores that are weighed at a time; they stay in the first-level cache.
constexpr int64_t kScored = 2 * ROWS;

// One head: q, k and v are rows [tokens, size], `stride` apart → out, rows `outStride` apart. scratch: `attendScratch` floats.
void attend(const float* q, const float* k, const float* v, int64_t stride, int64_t tokens, int64_t size, float* scratch,
            float* out, int64_t outStride) {
  const int64_t wide = (tokens + kPanel - 1) / kPanel * kPanel, deep = (size + kPanel - 1) / kPanel * kPanel;
  float *keys = scratch, *values = keys + wide * size, *scores = values + tokens * deep, *sums = scores + kScored * wide;
  for (int64_t t = 0; t < wide; t++)
    for (int64_t d = 0; d < size; d++)
      keys[(t / kPanel * size + d) * kPanel + t % kPanel] = t < tokens ? k[t * stride + d] : 0;
  for (int64_t first = 0; first < deep; first += kPanel)
    for (int64_t t = 0; t < tokens; t++)
      for (int64_t d = 0; d < kPanel; d++)
        values[first * tokens + t * kPanel + d] = first + d < size ? v[t * stride + first + d] : 0;
  for (int64_t r = 0; r < tokens; r += kScored) {
    const int64_t count = std::min(kScored, tokens - r);
    float share[kScored];
    product<false>(q + r * stride, stride, count, keys, size, wide, scores, wide, nullptr, {});
    for (int64_t i = 0; i < count; i++) share[i] = weigh(scores + i * wide, tokens);
    product<false>(scores, wide, count, values, tokens, deep, sums, deep, nullptr, {});
    for (int64_t i = 0; i < count; i++)
      for (int64_t d = 0; d < size; d++) out[(r + i) * outStride + d] = sums[i * deep + d] * share[i];
  }
}

// Floats of `scratch`: keys, values, scores and sums
int64_t attendScratch(int64_t tokens, int64_t size) {
  const int64_t wide = (tokens + kPanel - 1) / kPanel * kPanel, deep = (size + kPanel - 1) / kPanel * kPanel;
  return wide * size + tokens * deep + kScored * (wide + deep);
}

}  // namespace
