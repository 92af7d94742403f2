/* From channels at every place to places of every channel. */
static void reorder(const int32_t *in, int32_t *out, int32_t places, int32_t channels)
{
    int32_t channel, place;
    for (channel = 0; channel < channels; channel++) {
        for (place = 0; place < places; place++) {
            *out = in[(place * channels) + channel];
            out++;
        }
    }
}
