/* Some channels in some order. */
static void pick_channels(const int32_t *in, int32_t *out, int32_t places, int32_t channels, int32_t count,
                          const int32_t *order)
{
    int32_t place, channel;
    for (place = 0; place < places; place++) {
        for (channel = 0; channel < count; channel++) {
            *out = in[(place * channels) + order[channel]];
            out++;
        }
    }
}
