// The per-pixel work of the loader: JPEG through libturbojpeg (where its headers were found) and one affine resampling.
// No libtorch here, so that worker threads load it cheaply. src/data/native-image.ts types this surface.
#define NAPI_VERSION 8
#include <node_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef HAVE_TURBOJPEG
#include <turbojpeg.h>
#endif

namespace {

void check(napi_status status) {
  if (status != napi_ok) throw std::runtime_error("Node-API call failed with status " + std::to_string(status));
}

struct Bytes {
  uint8_t* data;
  size_t size;
};

// A Uint8Array, also one over a SharedArrayBuffer.
Bytes bytesOf(napi_env env, napi_value value) {
  napi_typedarray_type type;
  Bytes bytes{};
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &bytes.size, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array)
    throw std::runtime_error("wanted a Uint8Array");
  bytes.data = static_cast<uint8_t*>(data);
  return bytes;
}

double numberOf(napi_env env, napi_value value) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) throw std::runtime_error("wanted a number");
  return number;
}

int64_t integerOf(napi_env env, napi_value value) { return static_cast<int64_t>(numberOf(env, value)); }

napi_value numberValue(napi_env env, double number) {
  napi_value value;
  check(napi_create_double(env, number, &value));
  return value;
}

using Args = std::vector<napi_value>;

// warpAffine(source, height, width, matrix, target, offset, side): one bilinear resampling of an RGB image [H, W, 3] into
// target[offset …] as [side, side, 3]. `matrix` (6 numbers) maps target pixel centres to source pixels; outside is 0.
napi_value warpAffine(napi_env env, const Args& args) {
  const auto source = bytesOf(env, args.at(0));
  const int64_t height = integerOf(env, args.at(1));
  const int64_t width = integerOf(env, args.at(2));
  double m[6];
  for (uint32_t i = 0; i < 6; i++) {
    napi_value element;
    check(napi_get_element(env, args.at(3), i, &element));
    m[i] = numberOf(env, element);
  }
  const auto target = bytesOf(env, args.at(4));
  const int64_t offset = integerOf(env, args.at(5));
  const int64_t side = integerOf(env, args.at(6));
  if (height < 1 || width < 1 || source.size < static_cast<size_t>(height * width * 3)) throw std::runtime_error("warpAffine: source too small");
  if (offset < 0 || target.size < static_cast<size_t>(offset + side * side * 3)) throw std::runtime_error("warpAffine: target too small");
  uint8_t* out = target.data + offset;
  for (int64_t y = 0; y < side; y++)
    for (int64_t x = 0; x < side; x++, out += 3) {
      const double sx = m[0] * x + m[1] * y + m[2];
      const double sy = m[3] * x + m[4] * y + m[5];
      const double fx = std::floor(sx);
      const double fy = std::floor(sy);
      if (fx < -1 || fy < -1 || fx >= width || fy >= height) {
        out[0] = out[1] = out[2] = 0;
        continue;
      }
      const auto x0 = static_cast<int64_t>(fx);
      const auto y0 = static_cast<int64_t>(fy);
      const double wx = sx - fx;
      const double wy = sy - fy;
      const bool left = x0 >= 0, right = x0 + 1 < width, top = y0 >= 0, bottom = y0 + 1 < height;
      const double w00 = left && top ? (1 - wx) * (1 - wy) : 0;
      const double w01 = right && top ? wx * (1 - wy) : 0;
      const double w10 = left && bottom ? (1 - wx) * wy : 0;
      const double w11 = right && bottom ? wx * wy : 0;
      const int64_t cx0 = left ? x0 : 0, cx1 = right ? x0 + 1 : width - 1;
      const int64_t cy0 = top ? y0 : 0, cy1 = bottom ? y0 + 1 : height - 1;
      const uint8_t* p00 = source.data + (cy0 * width + cx0) * 3;
      const uint8_t* p01 = source.data + (cy0 * width + cx1) * 3;
      const uint8_t* p10 = source.data + (cy1 * width + cx0) * 3;
      const uint8_t* p11 = source.data + (cy1 * width + cx1) * 3;
      for (int c = 0; c < 3; c++)
        out[c] = static_cast<uint8_t>(w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c] + 0.5);
    }
  return nullptr;
}

#ifdef HAVE_TURBOJPEG

// One decompressor and one compressor for each thread that decodes.
struct Codec {
  tjhandle decoder = tjInitDecompress();
  tjhandle encoder = tjInitCompress();
  ~Codec() {
    tjDestroy(decoder);
    tjDestroy(encoder);
  }
};
thread_local Codec codec;

// After an error a handle keeps the state of the image that failed, and would apply it to the next one: make a new handle.
[[noreturn]] void failed(tjhandle& handle, tjhandle (*make)()) {
  const std::string message = tjGetErrorStr2(handle);
  tjDestroy(handle);
  handle = make();
  throw std::runtime_error(message);
}

// decodeJpeg(bytes, target, offset, capacity): pixels into target[offset …], RGB, or of a CMYK or YCCK JPEG the CMYK values as
// they are stored; returns [height, width, channels]. Nothing is written if they need more than `capacity` bytes.
napi_value decodeJpeg(napi_env env, const Args& args) {
  const auto source = bytesOf(env, args.at(0));
  const auto target = bytesOf(env, args.at(1));
  const int64_t offset = integerOf(env, args.at(2));
  const int64_t capacity = integerOf(env, args.at(3));
  if (offset < 0 || capacity < 0 || target.size < static_cast<size_t>(offset + capacity)) throw std::runtime_error("decodeJpeg: target too small");
  int width = 0, height = 0, subsampling = 0, colorspace = 0;
  if (tjDecompressHeader3(codec.decoder, source.data, source.size, &width, &height, &subsampling, &colorspace) != 0)
    failed(codec.decoder, tjInitDecompress);
  const bool cmyk = colorspace == TJCS_CMYK || colorspace == TJCS_YCCK;
  const int channels = cmyk ? 4 : 3;
  if (static_cast<int64_t>(width) * height * channels <= capacity &&
      tjDecompress2(codec.decoder, source.data, source.size, target.data + offset, width, 0, height, cmyk ? TJPF_CMYK : TJPF_RGB, 0) != 0)
    failed(codec.decoder, tjInitDecompress);
  napi_value size;
  check(napi_create_array_with_length(env, 3, &size));
  check(napi_set_element(env, size, 0, numberValue(env, height)));
  check(napi_set_element(env, size, 1, numberValue(env, width)));
  check(napi_set_element(env, size, 2, numberValue(env, channels)));
  return size;
}

// encodeJpeg(rgb, height, width, quality) → bytes, 4:2:0
napi_value encodeJpeg(napi_env env, const Args& args) {
  const auto source = bytesOf(env, args.at(0));
  const int height = static_cast<int>(integerOf(env, args.at(1)));
  const int width = static_cast<int>(integerOf(env, args.at(2)));
  if (source.size < static_cast<size_t>(height) * width * 3) throw std::runtime_error("encodeJpeg: source too small");
  unsigned char* encoded = nullptr;
  unsigned long size = 0;
  if (tjCompress2(codec.encoder, source.data, width, 0, height, TJPF_RGB, &encoded, &size, TJSAMP_420, static_cast<int>(integerOf(env, args.at(3))), 0) != 0) {
    tjFree(encoded);
    failed(codec.encoder, tjInitCompress);
  }
  napi_value buffer;
  const napi_status status = napi_create_buffer_copy(env, size, encoded, nullptr, &buffer);
  tjFree(encoded);
  check(status);
  return buffer;
}

#endif

template <napi_value (*body)(napi_env, const Args&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  size_t count = 8;
  napi_value raw[8];
  try {
    check(napi_get_cb_info(env, info, &count, raw, nullptr, nullptr));
    return body(env, Args(raw, raw + (count < 8 ? count : 8)));
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

template <napi_value (*body)(napi_env, const Args&)>
void define(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  check(napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<body>, nullptr, &function));
  check(napi_set_named_property(env, exports, name, function));
}

}  // namespace

NAPI_MODULE_INIT() {
  define<warpAffine>(env, exports, "warpAffine");
#ifdef HAVE_TURBOJPEG
  define<decodeJpeg>(env, exports, "decodeJpeg");
  define<encodeJpeg>(env, exports, "encodeJpeg");
#endif
  return exports;
}
