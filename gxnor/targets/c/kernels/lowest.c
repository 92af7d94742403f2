/* The number of the lowest bit that is set; there is one. */
#if defined(__GNUC__) && (defined(__ARM_FEATURE_CLZ) || defined(__x86_64__) || defined(__aarch64__) || defined(__riscv_zbb))
static uint32_t lowest(uint32_t word)
{
    return (uint32_t)__builtin_ctz(word);
}
#else
static uint32_t lowest(uint32_t word)
{
    static const uint8_t numbers[32] = {0,  1,  28, 2,  29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,  8,
                                        31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6,  11, 5,  10, 9};
    return numbers[((word & (0U - word)) * 0x077CB531U) >> 27];
}
#endif
