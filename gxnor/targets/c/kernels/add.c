static void add(const int32_t *a, const int32_t *b, int32_t *out, int32_t count, int32_t by_a, int32_t by_b)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        out[i] = (by_a * a[i]) + (by_b * b[i]);
    }
}
