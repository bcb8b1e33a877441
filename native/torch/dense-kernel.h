// The inner loops of dense.cc, compiled once for each width of vectors: the including file sets LANES (floats in a vector) and
// ROWS (rows of a block that the registers hold), and the target.
namespace {

constexpr int64_t kPanel = 2 * LANES;

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef float LooseVec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline __attribute__((always_inline)) Vec load(const float* x) { return *reinterpret_cast<const LooseVec*>(x); }
inline __attribute__((always_inline)) void store(float* x, Vec v) { *reinterpret_cast<LooseVec*>(x) = v; }

inline __attribute__((always_inline)) Vec activated(Vec x, const Finish& finish, int64_t k) {
  const Vec zero = {};
  if (finish.slope) return x > zero ? x : x * load(finish.slope + k);
  if (finish.relu6) {
    const Vec six = zero + 6.0f, low = x > zero ? x : zero;
    return low < six ? low : six;
  }
  return x;
}

// What is read next, `step` floats of it for each row of the present panel: from `at` on it is brought into the second-level cache.
struct Soon {
  const float* at;
  int64_t step;
};

// One block: `R` rows of a [R, depth] times one panel of weights [depth, kPanel].
template <int R>
inline __attribute__((always_inline)) void multiply(const float* a, int64_t aStride, const float* panel, int64_t depth,
                                                    Soon soon, Vec (&sums)[R][2]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = Vec{};
  for (int64_t c = 0; c < depth; c++, panel += kPanel, soon.at += soon.step) {
    __builtin_prefetch(soon.at, 0, 2);
    const Vec first = load(panel), second = load(panel + LANES);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const float value = a[r * aStride + c];
      sums[r][0] += value * first;
      sums[r][1] += value * second;
    }
  }
}

// Columns k … of which `width` exist. Without a finish the sums are written as they are, all of the panel.
template <int R, bool kFinish>
void block(const float* a, int64_t aStride, const float* panel, int64_t depth, Soon soon, float* out, int64_t outStride,
           const float* other, int64_t k, int64_t width, const Finish& finish) {
  Vec sums[R][2];
  multiply<R>(a, aStride, panel, depth, soon, sums);
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    float* to = out + r * outStride + k;
    if constexpr (!kFinish) {
      store(to, sums[r][0]);
      store(to + LANES, sums[r][1]);
      continue;
    }
    const float* add = other ? other + r * outStride + k : nullptr;
    for (int half = 0; half < 2; half++) {
      Vec x = sums[r][half] + load(finish.bias + k + half * LANES);
      x = activated(x, finish, k + half * LANES);
      const int64_t left = width - half * LANES;
      if (left >= LANES) {
        if (add) x += load(add + half * LANES);
        store(to + half * LANES, x);
      } else if (left > 0) {
        float part[LANES];
        store(part, x);
        for (int64_t i = 0; i < left; i++) to[half * LANES + i] = part[i] + (add ? add[half * LANES + i] : 0);
      }
    }
  }
}

template <int R, bool kFinish>
inline void rest(int64_t rows, const float* a, int64_t aStride, const float* panel, int64_t depth, Soon soon, float* out,
                 int64_t outStride, const float* other, int64_t k, int64_t width, const Finish& finish) {
  if (rows == R) return block<R, kFinish>(a, aStride, panel, depth, soon, out, outStride, other, k, width, finish);
  if constexpr (R > 1) rest<R - 1, kFinish>(rows, a, aStride, panel, depth, soon, out, outStride, other, k, width, finish);
}

// a [rows, depth] · packed → out [rows, columns]; with a finish + bias, activation, + other
template <bool kFinish>
void product(const float* a, int64_t aStride, int64_t rows, const float* packed, int64_t depth, int64_t columns,
             float* out, int64_t outStride, const float* other, const Finish& finish) {
  if (rows == 0) return;
  const int64_t step = std::max<int64_t>(1, kPanel / ((rows + ROWS - 1) / ROWS));
  for (int64_t k = 0; k < columns; k += kPanel, packed += depth * kPanel)
    for (int64_t r = 0; r < rows; r += ROWS) {
      const Soon soon = {packed + depth * (kPanel + r / ROWS * step), step};
      const float* from = a + r * aStride;
      float* to = out + r * outStride;
      const float* add = other ? other + r * outStride : nullptr;
      const int64_t width = std::min(kPanel, columns - k);
      if (rows - r >= ROWS) block<ROWS, kFinish>(from, aStride, packed, depth, soon, to, outStride, add, k, width, finish);
      else rest<ROWS - 1, kFinish>(rows - r, from, aStride, packed, depth, soon, to, outStride, add, k, width, finish);
    }
}

// Bᵀ d of one column or row of six.
inline __attribute__((always_inline)) void intoTile(const Vec (&d)[6], Vec (&v)[6]) {
  const Vec a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
  v[0] = 4 * d[0] - 5 * d[2] + d[4];
  v[1] = a + b;
  v[2] = a - b;
  v[3] = c + e;
  v[4] = c - e;
  v[5] = 4 * d[1] - 5 * d[3] + d[5];
}

// Aᵀ m of one column or row of six.
inline __attribute__((always_inline)) void outOfTile(const Vec (&m)[6], Vec (&y)[4]) {
  const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = b + 2 * e;
  y[2] = a + 4 * c;
  y[3] = b + 8 * e + m[5];
}

// G g of one column or row of three, times 24.
inline __attribute__((always_inline)) void intoKernel(const Vec (&g)[3], Vec (&u)[6]) {
  const Vec ends = g[0] + g[2], far = g[0] + 4 * g[2];
  u[0] = 6 * g[0];
  u[1] = -4 * (ends + g[1]);
  u[2] = -4 * (ends - g[1]);
  u[3] = far + 2 * g[1];
  u[4] = far - 2 * g[1];
  u[5] = 24 * g[2];
}

void kernelIn(const float* weights, int64_t stride, int64_t columns, float* to, int64_t apart) {
  float turned[9][kPanel] = {};
  for (int64_t k = 0; k < columns; k++)
    for (int64_t i = 0; i < 9; i++) turned[i][k] = weights[k * stride + i];
  for (int64_t k = 0; k < kPanel; k += LANES) {
    Vec half[6][3];
    for (int j = 0; j < 3; j++) {
      const Vec g[3] = {load(turned[j] + k), load(turned[3 + j] + k), load(turned[6 + j] + k)};
      Vec u[6];
      intoKernel(g, u);
      for (int i = 0; i < 6; i++) half[i][j] = u[i];
    }
    for (int i = 0; i < 6; i++) {
      Vec u[6];
      intoKernel(half[i], u);
      for (int j = 0; j < 6; j++) store(to + (6 * i + j) * apart + k, u[j] * (1.0f / 576));
    }
  }
}

// x: an image [H, W, C]; (top, left): the tile's first pixel, which may lie outside → to[f · stride] for 36 f
void tileIn(const float* x, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t left, float* to,
            int64_t stride) {
  const bool inside = top >= 0 && left >= 0 && top + 6 <= height && left + 6 <= width;
  for (int64_t c = 0; c < channels; c += LANES) {
    Vec half[6][6];
    for (int64_t j = 0; j < 6; j++) {
      Vec d[6], v[6];
      if (inside)
        for (int64_t i = 0; i < 6; i++) d[i] = load(x + ((top + i) * width + left + j) * channels + c);
      else
        for (int64_t i = 0; i < 6; i++) {
          const int64_t row = top + i, column = left + j;
          d[i] = row >= 0 && row < height && column >= 0 && column < width ? load(x + (row * width + column) * channels + c)
                                                                          : Vec{};
        }
      intoTile(d, v);
      for (int i = 0; i < 6; i++) half[i][j] = v[i];
    }
    for (int i = 0; i < 6; i++) {
      Vec v[6];
      intoTile(half[i], v);
      for (int j = 0; j < 6; j++) store(to + (6 * i + j) * stride + c, v[j]);
    }
  }
}

// m[f · stride] for 36 f → out, an image [H, W, K], at (top, left); bias [9, K] by place: top, middle, bottom × left, middle, right
void tileOut(const float* m, int64_t stride, float* out, const float* other, int64_t height, int64_t width,
             int64_t columns, int64_t biasStride, int64_t top, int64_t left, const Finish& finish) {
  const int64_t rows = std::min<int64_t>(4, height - top), wide = std::min<int64_t>(4, width - left);
  for (int64_t k = 0; k < columns; k += LANES) {
    Vec half[4][6];
    for (int j = 0; j < 6; j++) {
      Vec d[6], y[4];
      for (int i = 0; i < 6; i++) d[i] = load(m + (6 * i + j) * stride + k);
      outOfTile(d, y);
      for (int i = 0; i < 4; i++) half[i][j] = y[i];
    }
    for (int64_t i = 0; i < rows; i++) {
      Vec y[4];
      outOfTile(half[i], y);
      const int64_t row = top + i, vertical = row == 0 ? 0 : row == height - 1 ? 2 : 1;
      for (int64_t j = 0; j < wide; j++) {
        const int64_t column = left + j, place = 3 * vertical + (column == 0 ? 0 : column == width - 1 ? 2 : 1);
        const int64_t at = (row * width + column) * columns + k;
        Vec v = activated(y[j] + load(finish.bias + place * biasStride + k), finish, k);
        if (other) v += load(other + at);
        store(out + at, v);
      }
    }
  }
}

// A g of one column or row of four.
inline __attribute__((always_inline)) void intoGradTile(const Vec (&g)[4], Vec (&u)[6]) {
  const Vec a = g[0] + g[2], b = g[1] + g[3], c = g[0] + 4 * g[2], e = 2 * g[1] + 8 * g[3];
  u[0] = g[0];
  u[1] = a + b;
  u[2] = a - b;
  u[3] = c + e;
  u[4] = c - e;
  u[5] = g[3];
}

// g: the gradient of an image [H, W, K]; (top, left): a tile's first pixel → to[f · stride] for 36 f, a row of each panel
void gradTileIn(const float* g, int64_t height, int64_t width, int64_t columns, int64_t top, int64_t left, float* to,
                int64_t stride, int64_t panelStride) {
  for (int64_t k = 0; k < columns; k += LANES) {
    float* const own = to + k / kPanel * panelStride + k % kPanel;
    Vec half[6][4];
    for (int64_t j = 0; j < 4; j++) {
      Vec d[4], u[6];
      for (int64_t i = 0; i < 4; i++)
        d[i] = top + i < height && left + j < width ? load(g + ((top + i) * width + left + j) * columns + k) : Vec{};
      intoGradTile(d, u);
      for (int i = 0; i < 6; i++) half[i][j] = u[i];
    }
    for (int i = 0; i < 6; i++) {
      Vec u[6];
      intoGradTile(half[i], u);
      for (int j = 0; j < 6; j++) store(own + (6 * i + j) * stride, u[j]);
    }
  }
}

template <int R>
void turnedBlock(const float* a, int64_t aStride, const float* panel, int64_t depth, float* out, int64_t outStride) {
  Vec sums[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    sums[r][0] = load(out + r * outStride);
    sums[r][1] = load(out + r * outStride + LANES);
  }
  for (int64_t t = 0; t < depth; t++, panel += kPanel, a += aStride) {
    const Vec first = load(panel), second = load(panel + LANES);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      sums[r][0] += a[r] * first;
      sums[r][1] += a[r] * second;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    store(out + r * outStride, sums[r][0]);
    store(out + r * outStride + LANES, sums[r][1]);
  }
}

template <int R>
inline void turnedRest(int64_t rows, const float* a, int64_t aStride, const float* panel, int64_t depth, float* out,
                       int64_t outStride) {
  if (rows == R) return turnedBlock<R>(a, aStride, panel, depth, out, outStride);
  if constexpr (R > 1) turnedRest<R - 1>(rows, a, aStride, panel, depth, out, outStride);
}

// out [rows, panels · kPanel] += aᵀ · packed: a [depth, rows], packed [panels, depth, kPanel], panels `panelStride` apart
void turnedProduct(const float* a, int64_t aStride, int64_t rows, const float* packed, int64_t panelStride, int64_t panels,
                   int64_t depth, float* out, int64_t outStride) {
  for (int64_t p = 0; p < panels; p++)
    for (int64_t r = 0; r < rows; r += ROWS) {
      float* to = out + r * outStride + p * kPanel;
      const float* panel = packed + p * panelStride;
      if (rows - r >= ROWS) turnedBlock<ROWS>(a + r, aStride, panel, depth, to, outStride);
      else turnedRest<ROWS - 1>(rows - r, a + r, aStride, panel, depth, to, outStride);
    }
}

// Gᵀ s of one column or row of six, times 24.
inline __attribute__((always_inline)) void outOfKernel(const Vec (&s)[6], Vec (&g)[3]) {
  const Vec near = s[1] + s[2], apart = s[2] - s[1], far = s[3] + s[4];
  g[0] = 6 * s[0] - 4 * near + far;
  g[1] = 4 * apart + 2 * (s[3] - s[4]);
  g[2] = 4 * (far - near) + 24 * s[5];
}

// s[f · apart] for 36 f, the columns of one input channel → its kernels of nine, `stride` apart
void kernelOut(const float* s, int64_t apart, int64_t columns, float* to, int64_t stride) {
  for (int64_t k = 0; k < columns; k += LANES) {
    Vec half[3][6];
    for (int j = 0; j < 6; j++) {
      Vec d[6], g[3];
      for (int i = 0; i < 6; i++) d[i] = load(s + (6 * i + j) * apart + k);
      outOfKernel(d, g);
      for (int i = 0; i < 3; i++) half[i][j] = g[i];
    }
    float turned[9][LANES];
    for (int i = 0; i < 3; i++) {
      Vec g[3];
      outOfKernel(half[i], g);
      for (int j = 0; j < 3; j++) store(turned[3 * i + j], g[j] * (1.0f / 576));
    }
    for (int64_t n = 0; n < LANES; n++)
      for (int i = 0; i < 9; i++) to[(k + n) * stride + i] = turned[i][n];
  }
}

// A depthwise convolution of one row of pixels: x an image [H, W, C], weights [side · side, C rounded up] → out row [W', C]
void depthwiseRow(const float* x, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t stride,
                  int64_t padding, int64_t side, const float* weights, int64_t weightStride, float* out,
                  int64_t outWidth, const Finish& finish) {
  for (int64_t column = 0; column < outWidth; column++) {
    const int64_t left = column * stride - padding;
    for (int64_t c = 0; c < channels; c += LANES) {
      Vec sum = load(finish.bias + c);
      for (int64_t i = std::max<int64_t>(0, -top); i < std::min(side, height - top); i++)
        for (int64_t j = std::max<int64_t>(0, -left); j < std::min(side, width - left); j++)
          sum += load(x + ((top + i) * width + left + j) * channels + c) * load(weights + (i * side + j) * weightStride + c);
      store(out + column * channels + c, activated(sum, finish, c));
    }
  }
}

}  // namespace
