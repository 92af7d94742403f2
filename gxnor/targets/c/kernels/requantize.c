/* (multiplier * x + offset) >> shift for every channel. The shift rounds down; C says so of positive numbers only. */
static void requantize(const int32_t *in, int32_t *out, int32_t places, int32_t channels, int32_t shift,
                       const int32_t *multiplier, const int64_t *offset)
{
    int32_t place, channel;
    for (place = 0; place < places; place++) {
        for (channel = 0; channel < channels; channel++) {
            const int64_t wide = ((int64_t)multiplier[channel] * *in) + offset[channel];
            *out = (int32_t)((wide < 0) ? (-1 - ((-1 - wide) >> shift)) : (wide >> shift));
            in++;
            out++;
        }
    }
}
