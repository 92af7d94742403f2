/* The only floats: x * scale + bias, rounded after the product; volatile keeps a compiler from fusing the two. */
static void scale_sums(const int32_t *in, float *out, int32_t classes, const float *scale, const float *bias)
{
    int32_t i;
    for (i = 0; i < classes; i++) {
        const volatile float product = (float)in[i] * scale[i];
        out[i] = product + bias[i];
    }
}
