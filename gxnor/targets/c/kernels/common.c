struct window {                      /* windows of a sum, and of the pool over its sums: height, width */
    int16_t in[2];                   /* extents of what is read */
    int16_t kernel[2], stride[2], padding[2], dilation[2];
    int16_t sums[2];                 /* how many sums there are */
    int16_t pool[2], pool_stride[2], pool_padding[2], pool_dilation[2];
    int16_t out[2];                  /* extents of what is written */
};

/* Where a tap of a window reads; outside of 0 .. extent - 1 it reads padding. */
static int32_t read_at(int32_t place, int32_t tap, int32_t stride, int32_t padding, int32_t dilation)
{
    return (place * stride) + (tap * dilation) - padding;
}
