// The tables of kernels, one per instruction set, and the choice of one for this machine.
#include "kernels/kernels.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(GXNOR_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace gxnor {
namespace {

// The kernels of `other`, with a dot8 and Winograd kernels of their own.
[[maybe_unused]] constexpr Kernels like(const Kernels& other, const char* name, bool (*supported)(), Product dot8,
                                        int dot8_blocks, const WinogradKernels& winograd2,
                                        const WinogradKernels& winograd4) {
  const Product(&xnor)[kXnors] = other.xnor;
  return {name, supported, {xnor[kTernary], xnor[kBinaryWeights], xnor[kBinaryActivations]}, other.lookup,
          other.lookup_weights, dot8, dot8_blocks, nullptr, other.dot16, other.dot32, other.pack, other.level, other.line_level,
          winograd2, winograd4};
}

constexpr Kernels portable = {"portable",
                              [] { return true; },
                              {xnor_portable, xnor_portable, after_start<xnor_portable>}, nullptr, nullptr,
                              dot8_portable, 1, nullptr,
                              dot16_portable,
                              dot32_portable,
                              pack_portable,
                              level_portable,
                              line_level_portable,
                              winograd2_portable,
                              winograd4_portable};

#if defined(__x86_64__)
// dot32 is one source for all instruction sets (vectorise.h).
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"); }
constexpr Kernels avx2 = {"avx2",
                          has_avx2,
                          {xnor_avx2<kTernary>, xnor_avx2<kBinaryWeights>, xnor_avx2<kBinaryActivations>},
                          lookup_avx2, lookup_weights,
                          dot8_avx2, 1, nullptr,
                          dot16_avx2,
                          dot32_portable,
                          pack_avx2,
                          level_avx2,
                          line_level_avx2,
                          winograd2_avx2,
                          winograd4_avx2};

#if __has_include(<avxvnniintrin.h>)
bool has_avxvnni() {
  unsigned a = 0, b, c, d;  // not every compiler knows a name for it
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
constexpr Kernels avxvnni = like(avx2, "avxvnni", has_avxvnni, dot8_avxvnni, 1, winograd2_avxvnni, winograd4_avxvnni);
#endif

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vpopcntdq");
}
constexpr Kernels avx512 = {"avx512",
                            has_avx512,
                            {xnor_avx512<kTernary>, xnor_avx512<kBinaryWeights>, xnor_avx512<kBinaryActivations>},
                            nullptr, nullptr,
                            dot8_avx512, 2, dot8_pack_avx512,
                            dot16_avx512,
                            dot32_portable,
                            pack_avx512,
                            level_avx2,
                            line_level_avx2,
                            winograd2_avx512,
                            winograd4_avx512,
                            &winograd2_fip_avx512,
                            &winograd4_fip_avx512};

#if defined(GXNOR_AMX)
// A process has to ask for the registers. Linux refuses where the stack for signals has no room for them.
bool has_amx() {
  constexpr unsigned kRequestPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d = 0;
  return has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 3) == 3 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
constexpr Kernels amx = like(avx512, "amx", has_amx, dot8_amx, kMostBlocks, winograd2_avx512, winograd4_amx);
#endif

const Kernels* const kernels[] = {
#if defined(GXNOR_AMX)
                                  &amx,
#endif
                                  &avx512,
#if __has_include(<avxvnniintrin.h>)
                                  &avxvnni,
#endif
                                  &avx2, &portable};
#elif defined(__aarch64__)
// int16 products and thresholds are plain loops, for which the compiler itself uses NEON: every such machine has it.
constexpr Kernels neon = {"neon",
                          [] { return true; },
                          {xnor_neon<kTernary>, xnor_neon<kBinaryWeights>, xnor_neon<kBinaryActivations>}, nullptr, nullptr,
                          dot8_portable, 1, nullptr,
                          dot16_portable,
                          dot32_portable,
                          pack_portable,
                          level_portable,
                          line_level_portable,
                          winograd2_neon,
                          winograd4_neon};

#if defined(GXNOR_DOTPROD)
bool has_dotprod() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#elif defined(__APPLE__)
  return true;
#else
  return false;
#endif
}
constexpr Kernels dotprod = like(neon, "dotprod", has_dotprod, dot8_dotprod, 1, winograd2_dotprod, winograd4_dotprod);
#endif

const Kernels* const kernels[] = {
#if defined(GXNOR_DOTPROD)
                                  &dotprod,
#endif
                                  &neon, &portable};
#else
const Kernels* const kernels[] = {&portable};
#endif

}  // namespace

const Kernels* const* all_kernels(int* count) {
  *count = sizeof kernels / sizeof *kernels;
  return kernels;
}

const Kernels* find_kernels(const char* isa) {
  for (const Kernels* candidate : kernels) {
    const bool wanted = !isa || !*isa || std::strcmp(isa, candidate->name) == 0;
    if (wanted && candidate->supported()) return candidate;
  }
  return nullptr;
}

}  // namespace gxnor
