/* Every place by_y times by_x times. */
static void upsample(const int32_t *in, int32_t *out, int32_t height, int32_t width, int32_t channels, int32_t by_y,
                     int32_t by_x)
{
    int32_t y, x, i, j, channel;
    for (y = 0; y < height; y++) {
        for (i = 0; i < by_y; i++) {
            for (x = 0; x < width; x++) {
                for (j = 0; j < by_x; j++) {
                    for (channel = 0; channel < channels; channel++) {
                        *out = in[(((y * width) + x) * channels) + channel];
                        out++;
                    }
                }
            }
        }
    }
}
