/* Sums by bit planes: bits of an input's and of a weight's sign meet 32 at a time. For few outputs, whose weights would
 * leave most of the events kernel's words empty. */
struct planes {
    struct window window;
    int16_t in_groups;               /* words of 32 channels at a place of the input */
    int16_t outputs;
    const uint32_t *weights;         /* of every output, tap and word of input: weights of 1, weights of -1 */
};

static int32_t count_bits(uint32_t word)
{
#if defined(__GNUC__) && (defined(__POPCNT__) || defined(__aarch64__) || defined(__riscv_zbb))
    return __builtin_popcount(word);
#else
    word -= (word >> 1) & 0x55555555U;
    word = (word & 0x33333333U) + ((word >> 2) & 0x33333333U);
    return (int32_t)((((word + (word >> 4)) & 0x0F0F0F0FU) * 0x01010101U) >> 24);
#endif
}

static void planes_to_sums(const struct planes *layer, const uint32_t *in, int32_t *out)
{
    const struct window *w = &layer->window;
    int32_t y, x, output, i, j, group;
    for (y = 0; y < w->sums[0]; y++) {
        for (x = 0; x < w->sums[1]; x++) {
            const uint32_t *weight = layer->weights;
            for (output = 0; output < layer->outputs; output++) {
                int32_t sum = 0;
                for (i = 0; i < w->kernel[0]; i++) {
                    const int32_t at = read_at(y, i, w->stride[0], w->padding[0], w->dilation[0]);
                    for (j = 0; j < w->kernel[1]; j++) {
                        const int32_t beside = read_at(x, j, w->stride[1], w->padding[1], w->dilation[1]);
                        if ((at >= 0) && (at < w->in[0]) && (beside >= 0) && (beside < w->in[1])) {
                            const uint32_t *const state = &in[((at * w->in[1]) + beside) * layer->in_groups * 2];
                            for (group = 0; group < (2 * layer->in_groups); group += 2) {
                                const uint32_t positive = state[group], negative = state[group + 1];
                                sum += count_bits((positive & weight[group]) | (negative & weight[group + 1]));
                                sum -= count_bits((positive & weight[group + 1]) | (negative & weight[group]));
                            }
                        }
                        weight = &weight[2 * layer->in_groups];
                    }
                }
                *out = sum;
                out++;
            }
        }
    }
}
