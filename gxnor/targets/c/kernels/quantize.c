/* Sums to states. */
struct quantize {
    int32_t places;
    int16_t channels;
    int16_t steps;
    const int32_t *thresholds;       /* of every channel: steps */
    const uint32_t *flips;           /* a word for every 32 channels */
};

static void quantize(const struct quantize *layer, const int32_t *in, uint32_t *out, uint32_t *reached)
{
    int32_t place, first, step, k;
    for (place = 0; place < layer->places; place++) {
        for (first = 0; first < layer->channels; first += 32) {
            const int32_t count = (layer->channels - first < 32) ? (layer->channels - first) : 32;
            for (step = 0; step < layer->steps; step++) {
                reached[step] = 0;
                for (k = 0; k < count; k++) {
                    if (in[k] >= layer->thresholds[((first + k) * layer->steps) + step]) {
                        reached[step] |= 1U << k;
                    }
                }
            }
            out = write_states(out, reached, layer->steps, layer->flips[first / 32],
                         (count < 32) ? ((1U << count) - 1U) : 0xFFFFFFFFU);
            in = &in[count];
        }
    }
}
