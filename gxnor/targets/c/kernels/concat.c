/* Writes the channels of one value among `all` of them. */
static void concat(const int32_t *in, int32_t *out, int32_t places, int32_t channels, int32_t first, int32_t all)
{
    int32_t place, channel;
    for (place = 0; place < places; place++) {
        for (channel = 0; channel < channels; channel++) {
            out[(place * all) + first + channel] = *in;
            in++;
        }
    }
}
