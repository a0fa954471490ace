// Products and depthwise convolutions of small float32 images and matrices, as operators of PyTorch.
//
// oneDNN computes them as fast, but PyTorch describes each call to it anew: 12 to 20 us a call, more
// than the product takes. Weights are laid out once, in panels of up to three vectors of columns.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <omp.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr auto LAST = at::MemoryFormat::ChannelsLast;

#if defined(__AVX512F__)
constexpr int W = 16, MOST = 12;  // floats of a vector; tiles have at most MOST rows
#else
constexpr int W = 8, MOST = 6;
#endif
typedef float vec __attribute__((vector_size(W * 4), aligned(4), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
// The first `count` floats of a vector.
inline vec load_some(const float* p, int64_t count) {
#if defined(__AVX512F__)
  return (vec)_mm512_maskz_loadu_ps((1u << count) - 1, p);
#else
  vec v{};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}
inline void store_some(float* p, vec v, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (1u << count) - 1, (__m512)v);
#else
  for (int64_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}
inline vec all(float x) { return vec{} + x; }
// NaN stays NaN.
inline vec clamp(vec v, vec low, vec high) {
  v = v < low ? low : v;
  return v > high ? high : v;
}

// The columns of a panel: as even as vectors allow.
struct Panels {
  int64_t vectors, count;
  explicit Panels(int64_t columns) : vectors((columns + W - 1) / W), count((vectors + 2) / 3) {}
  int64_t begin(int64_t i) const { return vectors * i / count; }
};

struct Job {
  const float *a, *b, *bias, *other;
  float* c;
  int64_t lda, ldc, depth, columns;
  vec low, high;
};

// R rows and V vectors of columns: c = clamp(a b + bias + other).
template <int R, int V>
inline void tile(const Job& job, const float* a, const float* b, int64_t row, int64_t column) {
  vec sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) sum[r][v] = load(job.bias + column + v * W);
  for (int64_t k = 0; k < job.depth; ++k, b += V * W) {
    vec line[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) line[v] = load(b + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      vec x = all(a[r * job.lda + k]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) sum[r][v] += x * line[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      int64_t at = (row + r) * job.ldc + column + v * W, left = job.columns - column - v * W;
      if (left >= W) {
        vec value = sum[r][v];
        if (job.other) value += load(job.other + at);
        store(job.c + at, clamp(value, job.low, job.high));
      } else if (left > 0) {
        vec value = sum[r][v];
        if (job.other) value += load_some(job.other + at, left);
        store_some(job.c + at, clamp(value, job.low, job.high), left);
      }
    }
}

template <int V>
void rows(const Job& job, const float* b, int64_t begin, int64_t end, int64_t column) {
  constexpr int most = V == 3 ? (W == 16 ? 8 : 4) : MOST;
  int64_t count = (end - begin + most - 1) / most;
  for (int64_t i = 0; i < count; ++i) {
    int64_t row = begin + (end - begin) * i / count, next = begin + (end - begin) * (i + 1) / count;
    const float* a = job.a + row * job.lda;
#define CASE(R) \
  case R:       \
    if constexpr (R <= most) tile<R, V>(job, a, b, row, column); \
    break;
    switch (next - row) {
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
      CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
    }
#undef CASE
  }
}

void panel(const Job& job, const Panels& panels, int64_t i, int64_t begin, int64_t end) {
  int64_t from = panels.begin(i), wide = panels.begin(i + 1) - from;
  const float* b = job.b + from * W * job.depth;
  if (wide == 1) rows<1>(job, b, begin, end, from * W);
  if (wide == 2) rows<2>(job, b, begin, end, from * W);
  if (wide == 3) rows<3>(job, b, begin, end, from * W);
}

// The weight (groups, columns, depth) as panels: groups, then panels, then depth.
at::Tensor pack(const at::Tensor& weight) {
  int64_t groups = weight.size(0), columns = weight.size(1), depth = weight.size(2);
  Panels panels(columns);
  at::Tensor packed = at::zeros({groups, panels.vectors * W * depth}, weight.options());
  at::Tensor plain = weight.contiguous();
  const float* from = plain.const_data_ptr<float>();
  float* to = packed.mutable_data_ptr<float>();
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t i = 0; i < panels.count; ++i) {
      int64_t begin = panels.begin(i) * W, end = panels.begin(i + 1) * W;
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t n = begin; n < end; ++n, ++to)
          if (n < columns) *to = from[(g * columns + n) * depth + k];
    }
  return packed;
}

// Rows of x, with their last axis contiguous (of an image its channels), by a packed weight of
// `columns` a group; `bias` has whole vectors a group.
void multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
              const float* other, at::Tensor& y, int64_t depth, int64_t columns, double low,
              double high) {
  int64_t groups = weight.size(0);
  Panels panels(columns);
  int64_t count = depth ? x.numel() / (groups * depth) : 0;
  Job base{x.const_data_ptr<float>(), weight.const_data_ptr<float>(), bias.const_data_ptr<float>(),
           other, y.mutable_data_ptr<float>(), groups * depth, groups * columns, depth, columns,
           all(low), all(high)};
  auto group = [&](int64_t g) {
    Job job = base;
    job.a += g * depth;
    job.b += g * weight.size(1);
    job.bias += g * panels.vectors * W;
    job.c += g * columns;
    if (job.other) job.other += g * columns;
    return job;
  };
  int most = omp_get_max_threads();
  bool by_rows = count >= 16 * most || groups * panels.count < most;
  // A thread's share is worth the 2 us of a second one.
  int threads = count * groups * depth * columns < (1 << 17) ? 1 : most;
#pragma omp parallel num_threads(threads)
  {
    int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
    if (by_rows) {
      int64_t begin = count * me / team, end = count * (me + 1) / team;
      for (int64_t g = 0; g < groups; ++g) {
        Job job = group(g);
        for (int64_t i = 0; i < panels.count; ++i) panel(job, panels, i, begin, end);
      }
    } else {
      int64_t all = groups * panels.count;
      for (int64_t at = all * me / team; at < all * (me + 1) / team; ++at)
        panel(group(at / panels.count), panels, at % panels.count, 0, count);
    }
  }
}

at::Tensor product(const at::Tensor& given, const at::Tensor& weight, const at::Tensor& bias,
                   int64_t columns) {
  at::Tensor x = given.contiguous();
  auto shape = x.sizes().vec();
  int64_t depth = shape.back();
  shape.back() = columns;
  at::Tensor y = at::empty(shape, x.options());
  multiply(x, weight, bias, nullptr, y, depth, columns, -INFINITY, INFINITY);
  return y;
}

// A convolution of one pixel's channels, in groups.
at::Tensor pointwise(const at::Tensor& given, const at::Tensor& weight, const at::Tensor& bias,
                     const std::optional<at::Tensor>& other, int64_t columns, double low,
                     double high) {
  at::Tensor x = given.contiguous(LAST), sum;
  if (other) sum = other->contiguous(LAST);
  int64_t groups = weight.size(0);
  at::Tensor y =
      at::empty({x.size(0), groups * columns, x.size(2), x.size(3)}, x.options(), LAST);
  multiply(x, weight, bias, other ? sum.const_data_ptr<float>() : nullptr, y, x.size(1) / groups,
           columns, low, high);
  return y;
}

struct Window {
  int64_t height, width, channels, out_height, out_width;
  int64_t kernel[2], stride[2], pad[2], dilation[2];
};

// P pixels of a row from `column` on, V vectors of channels, of which all taps of the columns from
// `left` to `right` lie in the image.
template <int P, int V>
inline void pixels(const Window& w, const float* x, const float* weight, const float* bias,
                   float* y, int64_t row, int64_t column, int64_t left, int64_t right, vec low,
                   vec high) {
  vec sum[P][V];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[p][v] = load(bias + v * W);
  int64_t step = w.stride[1] * w.channels;
  for (int64_t i = 0; i < w.kernel[0]; ++i) {
    int64_t line = row * w.stride[0] - w.pad[0] + i * w.dilation[0];
    if (line < 0 || line >= w.height) continue;
    for (int64_t j = left; j < right; ++j) {
      int64_t at = column * w.stride[1] - w.pad[1] + j * w.dilation[1];
      const float* from = x + (line * w.width + at) * w.channels;
      const float* by = weight + (i * w.kernel[1] + j) * w.channels;
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        vec factor = load(by + v * W);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) sum[p][v] += load(from + p * step + v * W) * factor;
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      store(y + p * w.channels + v * W, clamp(sum[p][v], low, high));
}

template <int V>
void line(const Window& w, const float* x, const float* weight, const float* bias, float* y,
          int64_t row, vec low, vec high) {
  // The columns whose taps all lie in the image.
  int64_t reach = (w.kernel[1] - 1) * w.dilation[1], stride = w.stride[1];
  int64_t first = std::min(w.out_width, (w.pad[1] + stride - 1) / stride);
  int64_t room = w.width - 1 - reach + w.pad[1];
  int64_t last = room < 0 ? first : std::max(first, std::min(w.out_width, room / stride + 1));
  int64_t column = 0;
  while (column < w.out_width) {
    float* to = y + (row * w.out_width + column) * w.channels;
    if (column >= first && column < last) {
      if (column + 6 <= last) {
        pixels<6, V>(w, x, weight, bias, to, row, column, 0, w.kernel[1], low, high);
        column += 6;
        continue;
      }
      if (column + 3 <= last) {
        pixels<3, V>(w, x, weight, bias, to, row, column, 0, w.kernel[1], low, high);
        column += 3;
        continue;
      }
    }
    int64_t start = column * stride - w.pad[1], step = w.dilation[1];
    int64_t left = start < 0 ? std::min(w.kernel[1], (-start + step - 1) / step) : 0;
    int64_t right = std::max(left, std::min(w.kernel[1], (w.width - start + step - 1) / step));
    if (start >= w.width) right = left;
    pixels<1, V>(w, x, weight, bias, to, row, column, left, right, low, high);
    ++column;
  }
}

// A convolution of each channel by itself, of which there are as many as a vector has or more. `weight`:
// (height, width, channels); `window`: output height and width, strides, begins, dilations.
at::Tensor depthwise(const at::Tensor& given, const at::Tensor& weight, const at::Tensor& bias,
                     at::IntArrayRef window, double low, double high) {
  at::Tensor x = given.contiguous(LAST);
  Window w{x.size(2), x.size(3), x.size(1), window[0], window[1],
           {weight.size(0), weight.size(1)}, {window[2], window[3]}, {window[4], window[5]},
           {window[6], window[7]}};
  at::Tensor y =
      at::empty({x.size(0), w.channels, w.out_height, w.out_width}, x.options(), LAST);
  const float *from = x.const_data_ptr<float>(), *by = weight.const_data_ptr<float>();
  const float* add = bias.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  int64_t count = x.size(0) * w.out_height;
  vec least = all(low), most = all(high);
  int threads = y.numel() * weight.size(0) * weight.size(1) < (1 << 16) ? 1 : omp_get_max_threads();
#pragma omp parallel num_threads(threads)
  {
    int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
    int64_t begin = count * me / team, end = count * (me + 1) / team;
    for (int64_t at = begin; at < end; ++at) {
      int64_t image = at / w.out_height, row = at % w.out_height;
      const float* source = from + image * w.height * w.width * w.channels;
      float* target = to + image * w.out_height * w.out_width * w.channels;
      int64_t c = 0;
      for (; c + 2 * W <= w.channels; c += 2 * W)
        line<2>(w, source + c, by + c, add + c, target + c, row, least, most);
      for (; c < w.channels; c += W) {
        int64_t from = std::min(c, w.channels - W);  // the last ones may be computed twice
        line<1>(w, source + from, by + from, add + from, target + from, row, least, most);
      }
    }
  }
  return y;
}

}  // namespace

TORCH_LIBRARY(hal_torch_small, m) {
  m.def("width() -> int", [] { return int64_t{W}; });
  m.def("pack(Tensor weight) -> Tensor");
  m.def("product(Tensor x, Tensor weight, Tensor bias, int columns) -> Tensor");
  m.def("pointwise(Tensor x, Tensor weight, Tensor bias, Tensor? other, int columns, float low, "
        "float high) -> Tensor");
  m.def("depthwise(Tensor x, Tensor weight, Tensor bias, int[] window, float low, float high) "
        "-> Tensor");
}

TORCH_LIBRARY_IMPL(hal_torch_small, CPU, m) {
  m.impl("pack", pack);
  m.impl("product", product);
  m.impl("pointwise", pointwise);
  m.impl("depthwise", depthwise);
}
