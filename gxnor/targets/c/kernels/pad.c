/* Zeros around: from in_height x in_width places to height x width. */
static void pad(const int32_t *in, int32_t *out, int32_t in_height, int32_t in_width, int32_t channels, int32_t top,
                int32_t left, int32_t height, int32_t width)
{
    int32_t y, x, channel;
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            const int32_t at = y - top, beside = x - left;
            const int32_t inside = ((at >= 0) && (at < in_height) && (beside >= 0) && (beside < in_width)) ? 1 : 0;
            for (channel = 0; channel < channels; channel++) {
                *out = (inside != 0) ? *in : 0;
                in = &in[inside];
                out++;
            }
        }
    }
}
