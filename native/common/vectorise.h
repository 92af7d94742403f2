// Plain loops compiled for every instruction set, the fastest that the machine has picked at run time.
//
// vectorised<body>(arguments...) calls body, a function marked GXNOR_BODY. The compiler vectorises one source, and the
// library is built without contraction, so that every instruction set computes the same bits.
#pragma once

#include <atomic>

#define GXNOR_BODY [[gnu::always_inline]] inline

namespace gxnor {

enum Isa { kPortable, kAvx2, kAvx512 };

// The fastest that this machine has, or what a test has set.
extern std::atomic<int> isa;

template <auto kBody, typename... Args>
auto plain(Args... args) {
  return kBody(args...);
}

#if defined(__x86_64__)
template <auto kBody, typename... Args>
[[gnu::target("avx2")]] auto avx2(Args... args) {
  return kBody(args...);
}

template <auto kBody, typename... Args>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] auto avx512(Args... args) {
  return kBody(args...);
}
#endif

template <auto kBody, typename... Args>
auto vectorised(Args... args) {
#if defined(__x86_64__)
  const int chosen = isa.load(std::memory_order_relaxed);
  if (chosen == kAvx512) return avx512<kBody>(args...);
  if (chosen == kAvx2) return avx2<kBody>(args...);
#endif
  return kBody(args...);
}

// Vectors of so many bytes, 32 or 64, for bodies that name them.
template <typename T, int kSome>
struct Vector {
  using type [[gnu::vector_size(kSome)]] = T;
};
template <typename T, int kSome>
using Some = typename Vector<T, kSome>::type;

template <typename T>
GXNOR_BODY void load(T& some, const void* from) {
  __builtin_memcpy(&some, from, sizeof some);
}

template <typename T>
GXNOR_BODY void store(void* to, const T& some) {
  __builtin_memcpy(to, &some, sizeof some);
}

}  // namespace gxnor
