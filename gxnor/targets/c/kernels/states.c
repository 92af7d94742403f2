/* States of 32 channels at one place: a pair of words (positive, negative) for every bit of the magnitude.
 * reached[j]: the channels whose sum reaches step j, in ascending order of steps; flip: those whose state is negated.
 * Returns the end of what it wrote. */
static uint32_t *write_states(uint32_t *out, const uint32_t *reached, int32_t steps, uint32_t flip, uint32_t channels)
{
    const int32_t top = (steps == 1) ? 1 : (steps / 2);
    int32_t bit, level;
    for (bit = 0; (top >> bit) != 0; bit++) {
        uint32_t positive = 0, negative = 0, both;
        for (level = 1; level <= top; level++) {
            if ((((level ^ (level - 1)) >> bit) & 1) != 0) {
                positive ^= reached[steps - top + level - 1];
                negative ^= ~reached[top - level];
            }
        }
        both = (positive ^ negative) & flip;
        out[2 * bit] = (positive ^ both) & channels;
        out[(2 * bit) + 1] = (negative ^ both) & channels;
    }
    return &out[2 * bit];
}
