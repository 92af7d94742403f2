/* Integers as states. */
static void pack(const int32_t *in, uint32_t *out, int32_t places, int32_t channels, int32_t bits)
{
    int32_t place, first, bit, k;
    for (place = 0; place < places; place++) {
        for (first = 0; first < channels; first += 32) {
            const int32_t count = (channels - first < 32) ? (channels - first) : 32;
            for (bit = 0; bit < bits; bit++) {
                uint32_t positive = 0, negative = 0;
                for (k = 0; k < count; k++) {
                    const uint32_t one = (uint32_t)(((in[k] < 0) ? -in[k] : in[k]) >> bit) & 1U;
                    if (in[k] < 0) {
                        negative |= one << k;
                    } else {
                        positive |= one << k;
                    }
                }
                out[2 * bit] = positive;
                out[(2 * bit) + 1] = negative;
            }
            out = &out[2 * bits];
            in = &in[count];
        }
    }
}
