/* The counters that reach theirs of 32 thresholds; all without sign. */
static uint32_t reach(const uint32_t *counter, const uint32_t *threshold, int32_t planes)
{
    uint32_t below = 0;
    int32_t i;
    for (i = 0; i < planes; i++) {
        const uint32_t differ = counter[i] ^ threshold[i];
        below ^= differ & (below ^ threshold[i]);
    }
    return ~below;
}

/* Sums by events, pooled and turned to states. */
static void events_to_states(const struct events *layer, const uint32_t *in, uint32_t *out, uint32_t *scratch)
{
    const struct window *w = &layer->window;
    const int32_t flags = layer->groups * layer->steps;
    const uint32_t *const flips = &layer->thresholds[flags * layer->planes];
    uint32_t *const reached = &scratch[layer->groups * layer->planes];
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
                        count_events(layer, in, y, x, 1U << (layer->planes - 1), scratch);
                        for (flag = 0; flag < flags; flag++) {
                            reached[flag] |= reach(&scratch[(flag / layer->steps) * layer->planes],
                                                   &layer->thresholds[flag * layer->planes], layer->planes);
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
