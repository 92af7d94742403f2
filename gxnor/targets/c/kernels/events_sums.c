/* Sums by events, as integers. */
static void events_to_sums(const struct events *layer, const uint32_t *in, int32_t *out, uint32_t *scratch)
{
    const struct window *w = &layer->window;
    int32_t y, x, output, i;
    for (y = 0; y < w->sums[0]; y++) {
        for (x = 0; x < w->sums[1]; x++) {
            count_events(layer, in, y, x, 1U << (layer->planes - 1), scratch);
            for (output = 0; output < layer->outputs; output++) {
                const uint32_t *const counter = &scratch[(output / 32) * layer->planes];
                int32_t sum = 0;
                for (i = layer->planes - 1; i >= 0; i--) {
                    sum = (2 * sum) + (int32_t)((counter[i] >> (output % 32)) & 1U);
                }
                *out = sum - (int32_t)(1U << (layer->planes - 1)) + layer->constants[output];
                out++;
            }
        }
    }
}
