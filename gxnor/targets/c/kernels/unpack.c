/* States as integers. */
static void unpack(const uint32_t *in, int32_t *out, int32_t places, int32_t channels, int32_t bits)
{
    int32_t place, first, bit, k;
    for (place = 0; place < places; place++) {
        for (first = 0; first < channels; first += 32) {
            for (k = 0; (k < 32) && ((first + k) < channels); k++) {
                int32_t level = 0;
                for (bit = 0; bit < bits; bit++) {
                    level += (int32_t)((in[2 * bit] >> k) & 1U) << bit;
                    level -= (int32_t)((in[(2 * bit) + 1] >> k) & 1U) << bit;
                }
                *out = level;
                out++;
            }
            in = &in[2 * bits];
        }
    }
}
