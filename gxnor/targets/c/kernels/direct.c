/* Sums of products, one by one: for layers that no faster kernel takes. */
struct direct {
    struct window window;
    int16_t channels;                /* of the input */
    int16_t outputs;
    int16_t groups;                  /* of channels that do not see each other */
    const int8_t *weights;           /* of every output: taps, and of every tap the channels of its group */
};

static void direct_sums(const struct direct *layer, const int32_t *in, int32_t *out)
{
    const struct window *w = &layer->window;
    const int32_t seen = layer->channels / layer->groups, made = layer->outputs / layer->groups;
    int32_t y, x, output, i, j, k;
    for (y = 0; y < w->sums[0]; y++) {
        for (x = 0; x < w->sums[1]; x++) {
            const int8_t *weight = layer->weights;
            for (output = 0; output < layer->outputs; output++) {
                int32_t sum = 0;
                for (i = 0; i < w->kernel[0]; i++) {
                    const int32_t at = read_at(y, i, w->stride[0], w->padding[0], w->dilation[0]);
                    for (j = 0; j < w->kernel[1]; j++) {
                        const int32_t beside = read_at(x, j, w->stride[1], w->padding[1], w->dilation[1]);
                        if ((at >= 0) && (at < w->in[0]) && (beside >= 0) && (beside < w->in[1])) {
                            const int32_t *const value =
                                &in[(((at * w->in[1]) + beside) * layer->channels) + ((output / made) * seen)];
                            for (k = 0; k < seen; k++) {
                                sum += weight[k] * value[k];
                            }
                        }
                        weight = &weight[seen];
                    }
                }
                *out = sum;
                out++;
            }
        }
    }
}
