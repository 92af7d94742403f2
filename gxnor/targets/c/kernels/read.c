/* The input as integers: factor * byte + offset, channel by channel at every place. */
static void read_input(const uint8_t *in, int32_t *out, int32_t places, int32_t channels, int32_t factor, int32_t offset)
{
    int32_t place, channel;
    for (place = 0; place < places; place++) {
        for (channel = 0; channel < channels; channel++) {
            *out = (factor * (int32_t)in[(channel * places) + place]) + offset;
            out++;
        }
    }
}
