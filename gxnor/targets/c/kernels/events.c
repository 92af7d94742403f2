/* Sums by events. An event is a non-zero input; it adds the weights of 32 outputs at once to 32 counters, which lie bit
 * by bit in words: word i holds bit i of every counter. A weight w of -1, 0 or 1 adds w + 1 as two words, w > 0 (worth 2)
 * and w == 0 (worth 1), never both. The ones that are too many are as many as there were events, and are taken off at
 * the end. Inputs of -1 are counted first, then all counters are inverted, which makes -n - 1 of n, and the others
 * counted on top. */
struct events {
    struct window window;
    int16_t channels;                /* of the input */
    int16_t in_groups;               /* words of 32 channels at a place of the input */
    int16_t in_bits;                 /* of an input's magnitude */
    int16_t groups;                  /* words of 32 outputs */
    int16_t weight_bits;             /* of a weight's magnitude */
    int16_t planes;                  /* words of a counter */
    int16_t steps;                   /* 0: sums are written, not states */
    int16_t outputs;
    const uint32_t *weights;         /* of every group and bit: two words a row, after the last row a row of -1 */
    const uint32_t *thresholds;      /* of every group and step: planes words; then a word of flips for each group */
};

#define EVENT(carry, row)                                                                                              \
    do {                                                                                                               \
        const uint32_t *const two = &weights[row];                                                                     \
        const uint32_t zero = two[1];                                                                                  \
        (carry) = two[0] | (ones & zero);                                                                              \
        ones ^= zero;                                                                                                  \
    } while (0)

#define CARRY(sum, carry, a, b)                                                                                        \
    do {                                                                                                               \
        const uint32_t half = (sum) ^ (a);                                                                             \
        (carry) = ((sum) & (a)) | (half & (b));                                                                        \
        (sum) = half ^ (b);                                                                                            \
    } while (0)

/* Adds the rows of a list, whose length is a multiple of 8. */
static void add_events(uint32_t *counter, int32_t planes, const uint32_t *weights, const uint32_t *list,
                       const uint32_t *end)
{
    uint32_t ones = counter[0], twos = counter[1], fours = counter[2], eights = counter[3];
    for (; list != end; list += 8) {
        uint32_t a, b, c, d, e, f;
        int32_t i;
        EVENT(a, list[0]);
        EVENT(b, list[1]);
        CARRY(twos, c, a, b);
        EVENT(a, list[2]);
        EVENT(b, list[3]);
        CARRY(twos, d, a, b);
        CARRY(fours, e, c, d);
        EVENT(a, list[4]);
        EVENT(b, list[5]);
        CARRY(twos, c, a, b);
        EVENT(a, list[6]);
        EVENT(b, list[7]);
        CARRY(twos, d, a, b);
        CARRY(fours, f, c, d);
        CARRY(eights, a, e, f);
        for (i = 4; (a != 0) && (i < planes); i++) {
            const uint32_t plane = counter[i];
            counter[i] = plane ^ a;
            a &= plane;
        }
    }
    counter[0] = ones;
    counter[1] = twos;
    counter[2] = fours;
    counter[3] = eights;
}

/* Adds a number to every counter. */
static void add_to_all(uint32_t *counter, int32_t planes, uint32_t number)
{
    uint32_t carry = 0;
    int32_t i;
    for (i = 0; i < planes; i++) {
        const uint32_t plane = counter[i], add = 0U - ((number >> i) & 1U), half = plane ^ add;
        counter[i] = half ^ carry;
        carry = (plane & add) | (half & carry);
    }
}

/* Lays a list's events into the counters of all groups, after filling it up; returns how many there were. */
static int32_t take_list(const struct events *layer, uint32_t *counters, int32_t bit, uint32_t *list, uint32_t *end)
{
    const int32_t rows = layer->channels * layer->window.kernel[0] * layer->window.kernel[1];
    const int32_t events = (int32_t)(end - list);
    const uint32_t *weights = layer->weights;
    int32_t group, weight_bit;
    while (((end - list) & 7) != 0) {
        *end = 2U * (uint32_t)rows;
        end++;
    }
    for (group = 0; group < layer->groups; group++) {
        for (weight_bit = 0; weight_bit < layer->weight_bits; weight_bit++) {
            add_events(&counters[bit + weight_bit], layer->planes - bit - weight_bit, weights, list, end);
            weights = &weights[2 * (rows + 1)];
        }
        counters = &counters[layer->planes];
    }
    return events;
}

/* Counts the inputs with one bit of the magnitude and one sign; returns how many there were. */
static int32_t take_states(const struct events *layer, const uint32_t *in, int32_t y, int32_t x, int32_t bit,
                           int32_t negative, uint32_t *counters, uint32_t *list)
{
    const struct window *w = &layer->window;
    const int32_t place = layer->in_groups * layer->in_bits * 2;
    uint32_t *end = list;
    int32_t row = 0, events = 0, i, j, group;
    for (i = 0; i < w->kernel[0]; i++) {
        const int32_t at = read_at(y, i, w->stride[0], w->padding[0], w->dilation[0]);
        for (j = 0; j < w->kernel[1]; j++) {
            const int32_t beside = read_at(x, j, w->stride[1], w->padding[1], w->dilation[1]);
            if ((at >= 0) && (at < w->in[0]) && (beside >= 0) && (beside < w->in[1])) {
                const uint32_t *word = &in[(((at * w->in[1]) + beside) * place) + (2 * bit) + negative];
                for (group = 0; group < layer->in_groups; group++) {
                    uint32_t left = *word;
                    const uint32_t first = (uint32_t)(row + (32 * group));
                    if ((end - list) > (LIST - 32)) {
                        events += take_list(layer, counters, bit, list, end);
                        end = list;
                    }
                    while (left != 0) {
                        *end = 2U * (first + lowest(left));
                        end++;
                        left &= left - 1U;
                    }
                    word = &word[2 * layer->in_bits];
                }
            }
            row += layer->channels;
        }
    }
    return events + take_list(layer, counters, bit, list, end);
}

/* The sums of all groups at one place, as counters plus `bias`. */
static void count_states(const struct events *layer, const uint32_t *in, int32_t y, int32_t x, uint32_t bias,
                         uint32_t *counters, uint32_t *list)
{
    const int32_t words = layer->groups * layer->planes;
    uint32_t events = 0, weight = (1U << layer->weight_bits) - 1U;
    int32_t bit, i;
    for (i = 0; i < words; i++) {
        counters[i] = 0;
    }
    for (bit = 0; bit < layer->in_bits; bit++) {
        events -= (uint32_t)take_states(layer, in, y, x, bit, 1, counters, list) << bit;
    }
    for (i = 0; i < words; i++) {
        counters[i] = ~counters[i];
    }
    for (bit = 0; bit < layer->in_bits; bit++) {
        events += (uint32_t)take_states(layer, in, y, x, bit, 0, counters, list) << bit;
    }
    for (i = 0; i < layer->groups; i++) {
        add_to_all(&counters[i * layer->planes], layer->planes, bias + 1U - (events * weight));
    }
}
