/* Sums by events. An event is an input that is not at rest, in the state that its channel is in most of the time, and its
 * size is how far it is from there; what the states at rest make is part of the thresholds and constants. It adds the
 * weights of 32 outputs at once to 32 counters, which lie bit by bit in words: word i holds bit i of every counter. A
 * weight w of -1, 0 or 1 adds w + 1; the ones that are too many are as many as there were events, and are taken off at the
 * end. Negative events are counted first, then all counters are inverted, which makes -n - 1 of n, and the positive ones
 * counted on top. */
struct weights {                     /* of 32 outputs; no bit is set in both */
    uint32_t above;                  /* w > 0, worth 2 */
    uint32_t zero;                   /* w == 0, worth 1 */
};

struct events {
    struct window window;
    int16_t channels;                /* of the input */
    int16_t in_groups;               /* words of 32 channels at a place of the input */
    int16_t in_bits;                 /* of a state's magnitude, as it is stored */
    int16_t bits;                    /* of an event's magnitude */
    int16_t groups;                  /* words of 32 outputs */
    int16_t weight_bits;             /* of a weight's magnitude */
    int16_t planes;                  /* words of a counter */
    int16_t steps;                   /* 0: sums are written, not states */
    int16_t outputs;
    const struct weights *weights;   /* of every group and bit: the rows, and one of -1, which counts nothing */
    const uint32_t *masks;           /* of every bit of an event, sign (first the positive one) and word of input: the
                                        channels whose states of this sign are such events, and those whose zeros are */
    const uint32_t *thresholds;      /* of every group and step: planes words; then a word of flips for each group */
    const int32_t *constants;        /* of every output: what is added to its sum */
};

#define EVENT(carry, row)                                                                                              \
    do {                                                                                                               \
        const struct weights *const w = &weights[row];                                                                 \
        const uint32_t above = w->above, zero = w->zero;                                                               \
        (carry) = above | (ones & zero);                                                                               \
        ones ^= zero;                                                                                                  \
    } while (0)

#define CARRY(sum, carry, a, b)                                                                                        \
    do {                                                                                                               \
        const uint32_t half = (sum) ^ (a);                                                                             \
        (carry) = ((sum) & (a)) | (half & (b));                                                                        \
        (sum) = half ^ (b);                                                                                            \
    } while (0)

#define TWO_EVENTS(carry)                                                                                              \
    do {                                                                                                               \
        uint32_t one, two;                                                                                             \
        EVENT(one, list[0]);                                                                                           \
        EVENT(two, list[1]);                                                                                           \
        list = &list[2];                                                                                               \
        CARRY(twos, carry, one, two);                                                                                  \
    } while (0)

#define FOUR_EVENTS(carry)                                                                                             \
    do {                                                                                                               \
        uint32_t three, four;                                                                                          \
        TWO_EVENTS(three);                                                                                             \
        TWO_EVENTS(four);                                                                                              \
        CARRY(fours, carry, three, four);                                                                              \
    } while (0)

#define EIGHT_EVENTS(carry)                                                                                            \
    do {                                                                                                               \
        uint32_t five, six;                                                                                            \
        FOUR_EVENTS(five);                                                                                             \
        FOUR_EVENTS(six);                                                                                              \
        CARRY(eights, carry, five, six);                                                                               \
    } while (0)

/* Adds the rows of a list, whose length is a multiple of 8. */
static void add_events(uint32_t *counter, int32_t planes, const struct weights *weights, const uint16_t *list,
                       const uint16_t *end)
{
    uint32_t ones = counter[0], twos = counter[1], fours = counter[2], eights = counter[3];
    while (list != end) {
        uint32_t *plane = &counter[4];
        uint32_t carry;
        EIGHT_EVENTS(carry);
        if (list != end) {
            uint32_t again, sixteens = *plane;
            EIGHT_EVENTS(again);
            CARRY(sixteens, carry, carry, again);
            *plane = sixteens;
            plane = &plane[1];
        }
        while ((carry != 0U) && (plane != &counter[planes])) {
            const uint32_t old = *plane;
            *plane = old ^ carry;
            carry &= old;
            plane = &plane[1];
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

/* Adds the listed events to the counters of all groups, after filling the list up; returns how many there were. */
static uint32_t count_list(const struct events *layer, uint32_t *counters, int32_t bit, event_row *end)
{
    const int32_t rows = layer->channels * layer->window.kernel[0] * layer->window.kernel[1];
    const uint32_t events = (uint32_t)(end - event_list);
    const struct weights *weights = layer->weights;
    int32_t group, weight_bit;
    while (((end - event_list) & 7) != 0) {
        *end = (event_row)rows;
        end++;
    }
    for (group = 0; group < layer->groups; group++) {
        for (weight_bit = 0; weight_bit < layer->weight_bits; weight_bit++) {
            add_events(&counters[bit + weight_bit], layer->planes - bit - weight_bit, weights, event_list, end);
            weights = &weights[rows + 1];
        }
        counters = &counters[layer->planes];
    }
    return events;
}

/* Counts the events of a window with one bit of the magnitude and one sign; returns how many there were. */
static uint32_t count_kind(const struct events *layer, const uint32_t *in, int32_t y, int32_t x, int32_t bit,
                           int32_t negative, uint32_t *counters)
{
    const struct window *w = &layer->window;
    const int32_t pair = 2 * layer->in_bits, groups = layer->in_groups, channels = layer->channels;
    const int32_t width = w->in[1], skip = w->dilation[1], taps = w->kernel[1], place = pair * groups;
    const int32_t left = read_at(x, 0, w->stride[1], w->padding[1], 0);
    const uint32_t *const masks = &layer->masks[((2 * bit) + negative) * groups * 2];
    event_row *end = event_list;
    uint32_t events = 0;
    int32_t row = 0, i, j, group;
    for (i = 0; i < w->kernel[0]; i++) {
        const int32_t at = read_at(y, i, w->stride[0], w->padding[0], w->dilation[0]);
        const int32_t last = ((at >= 0) && (at < w->in[0])) ? width : 0; /* a row of padding has no columns */
        int32_t column = left, word = (((at * width) + left) * place) + ((layer->in_bits == 1) ? 0 : (2 * bit));
        for (j = 0; j < taps; j++) {
            for (group = 0; group < groups; group++) {
                uint32_t found = masks[(2 * group) + 1];
                if ((column >= 0) && (column < last)) {
                    const uint32_t *const states = &in[word + (pair * group)];
                    found = (states[negative] & masks[2 * group]) | (found & ~(states[0] | states[1]));
                }
                if (found != 0U) {
                    const uint32_t first = (uint32_t)(row + (32 * group));
                    if ((end - event_list) > (LIST - 32)) {
                        events += count_list(layer, counters, bit, end);
                        end = event_list;
                    }
                    do {
                        *end = (event_row)(first + lowest(found));
                        end++;
                        found &= found - 1U;
                    } while (found != 0U);
                }
            }
            row += channels;
            column += skip;
            word += skip * place;
        }
    }
    return events + count_list(layer, counters, bit, end);
}

/* The sums of all groups at one place, as counters plus `bias`. */
static void count_events(const struct events *layer, const uint32_t *in, int32_t y, int32_t x, uint32_t bias,
                         uint32_t *counters)
{
    const int32_t words = layer->groups * layer->planes;
    uint32_t events = 0;
    int32_t bit, i;
    for (i = 0; i < words; i++) {
        counters[i] = 0;
    }
    for (bit = 0; bit < layer->bits; bit++) {
        events -= count_kind(layer, in, y, x, bit, 1, counters) << bit;
    }
    for (i = 0; i < words; i++) {
        counters[i] = ~counters[i];
    }
    for (bit = 0; bit < layer->bits; bit++) {
        events += count_kind(layer, in, y, x, bit, 0, counters) << bit;
    }
    events *= (1U << layer->weight_bits) - 1U;
    for (i = 0; i < layer->groups; i++) {
        add_to_all(&counters[i * layer->planes], layer->planes, bias + 1U - events);
    }
}
