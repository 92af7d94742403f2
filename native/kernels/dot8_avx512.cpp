// dot8 and dot8_pack (kernels.h): one or two blocks of 16 output channels x up to 8 positions; a unit is 4 channels of int8.
// vpdpbusd multiplies four unsigned bytes with four signed ones and adds them into 32 bits, so nothing is widened. Two
// blocks share the reading of an activation.
#if defined(__x86_64__)
#include "kernels/dot_avx512.h"
#include "kernels/write_bits.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

// GCC keeps a copy of every sum where __m512i, eight lanes to it, is compared in 16 after the loop.
using Sum [[gnu::vector_size(64)]] = int32_t;

// What becomes of the sums of B blocks: they are stored, those of a block `next` after the last one's,
struct Store {
  static constexpr int kStep = kLanes;
  int64_t next;

  template <int B>
  void operator()(const Sum (&sum)[B], int32_t* to) const {
    for (int b = 0; b < B; ++b) _mm512_storeu_si512(to + b * next, (__m512i)sum[b]);
  }
};

// or meet their thresholds (Pack in kernels.h).
template <int B>
struct Threshold {
  using Bits = std::conditional_t<B == 1, uint16_t, uint32_t>;
  static constexpr int kStep = 1;
  const Packing& packing;
  __m512i low[B], high[B];

  explicit Threshold(const Packing& packing) : packing(packing) {
    for (int b = 0; b < B; ++b) {
      low[b] = _mm512_loadu_si512(packing.thresholds + 2 * b * kLanes);
      high[b] = _mm512_loadu_si512(packing.thresholds + (2 * b + 1) * kLanes);
    }
  }
  void operator()(const Sum (&sum)[B], uint8_t* const* outputs) const {
    Bits below = 0, above = 0;
    for (int b = 0; b < B; ++b) {
      below |= static_cast<Bits>(_mm512_cmplt_epi32_mask((__m512i)sum[b], low[b])) << b * kLanes;
      above |= static_cast<Bits>(_mm512_cmpge_epi32_mask((__m512i)sum[b], high[b])) << b * kLanes;
    }
    write_bits<Bits>(below, above, packing.flips, *outputs + packing.at, packing.plane);
  }
};

// Of B blocks: an activation is read, and raised, once for all of them.
template <int B, typename End>
struct Dot8 {
  static constexpr int kStep = End::kStep;
  End end;

  template <int... p, typename To>
  [[gnu::noinline]] void at_once(std::integer_sequence<int, p...>, const uint8_t* const* positions, const Window& window,
                                 const void* weights, To to) const {
    const __m512i zero_point = _mm512_set1_epi8(static_cast<char>(window.zero_point));
    const uint8_t* const from[] = {positions[p]...};
    const __m512i* w = static_cast<const __m512i*>(weights);
    const int64_t block = 1 + window.units;
    Sum sum[sizeof...(p)][B];
    const auto begin = [&](Sum(&of)[B]) {
      for (int b = 0; b < B; ++b) of[b] = (Sum)_mm512_load_si512(w + b * block);
    };
    (begin(sum[p]), ...);
    for (int u = 0; u < window.units; ++u) {
      ++w;
      __m512i quads[B];
      for (int b = 0; b < B; ++b) quads[b] = _mm512_load_si512(w + b * block);
      const int64_t offset = window.offsets[u];
      const auto add = [&](Sum(&of)[B], const uint8_t* address) {
        int32_t quad;
        __builtin_memcpy(&quad, address, 4);
        const __m512i x = _mm512_add_epi8(_mm512_set1_epi32(quad), zero_point);
        for (int b = 0; b < B; ++b) of[b] = (Sum)_mm512_dpbusd_epi32((__m512i)of[b], x, quads[b]);
      };
      (add(sum[p], from[p] + offset), ...);
    }
    (end(sum[p], to + p * kStep), ...);
  }
};

}  // namespace

void dot8_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  const Store store{int64_t{count} * kLanes};
  if (window.blocks == 2)
    by_eights(Dot8<2, Store>{store}, positions, count, window, weights, sums);
  else
    by_eights(Dot8<1, Store>{store}, positions, count, window, weights, sums);
}

void dot8_pack_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights,
                      const Packing& packing, uint8_t* const* outputs) {
  if (window.blocks == 2)
    by_eights(Dot8<2, Threshold<2>>{Threshold<2>(packing)}, positions, count, window, weights, outputs);
  else
    by_eights(Dot8<1, Threshold<1>>{Threshold<1>(packing)}, positions, count, window, weights, outputs);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
