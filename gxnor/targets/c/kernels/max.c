static void max_pool(const struct window *w, const int32_t *in, int32_t *out, int32_t channels)
{
    int32_t row, column, channel, i, j;
    for (row = 0; row < w->out[0]; row++) {
        for (column = 0; column < w->out[1]; column++) {
            for (channel = 0; channel < channels; channel++) {
                int32_t best = INT32_MIN;
                for (i = 0; i < w->kernel[0]; i++) {
                    const int32_t y = read_at(row, i, w->stride[0], w->padding[0], w->dilation[0]);
                    for (j = 0; j < w->kernel[1]; j++) {
                        const int32_t x = read_at(column, j, w->stride[1], w->padding[1], w->dilation[1]);
                        if ((y >= 0) && (y < w->in[0]) && (x >= 0) && (x < w->in[1])) {
                            const int32_t value = in[(((y * w->in[1]) + x) * channels) + channel];
                            best = (value > best) ? value : best;
                        }
                    }
                }
                *out = best;
                out++;
            }
        }
    }
}
