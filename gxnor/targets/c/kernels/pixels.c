/* Sums over pixels, pooled and turned to states. Two outputs share a word, as low + 65536 high; a pixel that is 0 adds
 * nothing and is skipped, and so is a window without any other. */
struct pixels {
    struct window window;
    int16_t channels;                /* of the input */
    int16_t groups;                  /* words of 32 outputs */
    int16_t steps;
    int16_t outputs;
    int16_t factor, border;          /* what a pixel is multiplied with, and what padding counts as */
    const uint32_t *weights;         /* of every tap and group: 16 words of two outputs, i and i + 16 */
    const uint32_t *thresholds;      /* of every group and step: 16 words; then one of a window without events; then a
                                        word of flips for each group */
};

/* Lists the pixels of a window that are not 0, as row of weights and value; returns the end of the list. */
static uint32_t *list_pixels(const struct pixels *layer, const uint8_t *in, int32_t y, int32_t x, uint32_t *list)
{
    const struct window *w = &layer->window;
    const int32_t width = w->in[1], skip = w->dilation[1], taps = w->kernel[1];
    const int32_t left = read_at(x, 0, w->stride[1], w->padding[1], 0);
    const uint32_t factor = (uint32_t)layer->factor, border = (uint32_t)layer->border;
    uint32_t row = 0, rows = 16U * (uint32_t)layer->groups;
    int32_t channel, i, j;
    for (channel = 0; channel < layer->channels; channel++) {
        for (i = 0; i < w->kernel[0]; i++) {
            const int32_t at = read_at(y, i, w->stride[0], w->padding[0], w->dilation[0]);
            const int32_t last = ((at >= 0) && (at < w->in[0])) ? width : 0; /* a row of padding has no columns */
            const int32_t first = ((channel * w->in[0]) + at) * width;
            int32_t column = left;
            for (j = 0; j < taps; j++) {
                uint32_t value = border;
                if ((column >= 0) && (column < last)) {
                    value = factor * in[first + column];
                }
                if (value != 0U) {
                    list[0] = row;
                    list[1] = value;
                    list = &list[2];
                }
                row += rows;
                column += skip;
            }
        }
    }
    return list;
}

/* Eight words of sums. */
static void sum_pixels(uint32_t *sums, const uint32_t *weights, const uint32_t *list, const uint32_t *end)
{
    uint32_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    while (list != end) {
        const uint32_t *const row = &weights[list[0]];
        const uint32_t value = list[1];
        list = &list[2];
        a += value * row[0];
        b += value * row[1];
        c += value * row[2];
        d += value * row[3];
        e += value * row[4];
        f += value * row[5];
        g += value * row[6];
        h += value * row[7];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    sums[4] = e;
    sums[5] = f;
    sums[6] = g;
    sums[7] = h;
}

/* The outputs whose sum reaches its threshold. */
static uint32_t reach_pixels(const uint32_t *sums, const uint32_t *threshold)
{
    uint32_t word = 0;
    int32_t k;
    for (k = 0; k < 16; k += 4) {
        word = (word >> 1) | ((sums[k] + threshold[k]) & 0x80008000U);
        word = (word >> 1) | ((sums[k + 1] + threshold[k + 1]) & 0x80008000U);
        word = (word >> 1) | ((sums[k + 2] + threshold[k + 2]) & 0x80008000U);
        word = (word >> 1) | ((sums[k + 3] + threshold[k + 3]) & 0x80008000U);
    }
    return word;
}

static void pixels_to_states(const struct pixels *layer, const uint8_t *in, uint32_t *out, uint32_t *scratch)
{
    const struct window *w = &layer->window;
    const int32_t flags = layer->groups * layer->steps;
    const uint32_t *const flips = &layer->thresholds[17 * flags];
    uint32_t *const sums = scratch;
    uint32_t *const reached = &sums[16];
    uint32_t *const list = &reached[flags];
    int32_t row, column, i, j, flag, group;
    for (row = 0; row < w->out[0]; row++) {
        for (column = 0; column < w->out[1]; column++) {
            for (flag = 0; flag < flags; flag++) {
                reached[flag] = 0;
            }
            for (i = 0; i < w->pool[0]; i++) {
                const int32_t y = read_at(row, i, w->pool_stride[0], w->pool_padding[0], w->pool_dilation[0]);
                for (j = 0; j < w->pool[1]; j++) {
                    const int32_t x = read_at(column, j, w->pool_stride[1], w->pool_padding[1], w->pool_dilation[1]);
                    if ((y >= 0) && (y < w->sums[0]) && (x >= 0) && (x < w->sums[1])) {
                        const uint32_t *const end = list_pixels(layer, in, y, x, list);
                        const uint32_t *threshold = layer->thresholds;
                        for (flag = 0; flag < flags; flag++) {
                            if (end == list) {
                                reached[flag] |= threshold[16];
                            } else {
                                if ((flag % layer->steps) == 0) {
                                    const uint32_t *const weights = &layer->weights[16 * (flag / layer->steps)];
                                    sum_pixels(sums, weights, list, end);
                                    sum_pixels(&sums[8], &weights[8], list, end);
                                }
                                reached[flag] |= reach_pixels(sums, threshold);
                            }
                            threshold = &threshold[17];
                        }
                    }
                }
            }
            for (group = 0; group < layer->groups; group++) {
                const int32_t left = layer->outputs - (32 * group);
                out = write_states(out, &reached[group * layer->steps], layer->steps, flips[group],
                                   (left < 32) ? ((1U << left) - 1U) : 0xFFFFFFFFU);
            }
        }
    }
}
