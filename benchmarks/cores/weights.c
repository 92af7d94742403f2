/* Sums of a layer by the events of its weights, for benchmarks/cores/kernels.py: an event is a weight that is not 0, and adds
 * the states of 32 places at once to 32 counters, which lie bit by bit in words. Places lie row by row, so that a tap of a
 * window is a shift by a number of bits. A state x of -1, 0 or 1 is two bits, x > 0 and x == 0, and adds x + 1. */
#include <stdint.h>

#include "layer.h"

void leave(int32_t code);
void mark(void);

struct states {                      /* of 32 places */
    uint32_t above, zero;
};

static const struct states input[CHANNELS * WORDS + GROUPS + 1] = {INPUT};
static const uint16_t events[] = {EVENTS}; /* of every output the weights of -1, then those of 1: a bit of the input; both
                                              lists filled up to a multiple of 8 with the place of a state of -1 */
static const uint16_t counts[OUTPUTS][2] = {COUNTS}; /* events, those that fill up included */
static const int16_t biases[OUTPUTS] = {BIASES};     /* what is added to a counter to make a sum of it */
static const int32_t expected[OUTPUTS][PLACES] = {EXPECTED};

#define EVENT(carry, event)                                                                                            \
    do {                                                                                                               \
        const struct states *const s = &at[(event) >> 5];                                                              \
        const uint32_t shift = (event) & 31U, above = (s[0].above >> shift) | ((s[1].above << 1) << (31U - shift));    \
        const uint32_t zero = (s[0].zero >> shift) | ((s[1].zero << 1) << (31U - shift));                              \
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

static const uint16_t *add_events(uint32_t *counter, const struct states *at, const uint16_t *list, uint32_t count)
{
    const uint16_t *const end = &list[count];
    uint32_t ones = counter[0], twos = counter[1], fours = counter[2], eights = counter[3];
    while (list != end) {
        uint32_t *plane = &counter[4];
        uint32_t five, six, carry;
        FOUR_EVENTS(five);
        FOUR_EVENTS(six);
        CARRY(eights, carry, five, six);
        while ((carry != 0) && (plane != &counter[PLANES])) {
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
    return end;
}

static uint32_t counters[OUTPUTS][GROUPS][PLANES];

static void sum(void)
{
    const uint16_t *list = events;
    uint32_t output, group, i;
    for (output = 0; output < OUTPUTS; output++) {
        const uint16_t *next = list;
        for (group = 0; group < GROUPS; group++) {
            uint32_t *const counter = counters[output][group];
            for (i = 0; i < PLANES; i++) {
                counter[i] = 0;
            }
            next = add_events(counter, &input[group], list, counts[output][0]);
            for (i = 0; i < PLANES; i++) {
                counter[i] = ~counter[i];
            }
            next = add_events(counter, &input[group], next, counts[output][1]);
        }
        list = next;
    }
}

int main(void)
{
    int32_t wrong = 0;
    uint32_t output, place, i;
    mark();
    sum();
    mark();
    for (output = 0; output < OUTPUTS; output++) {
        for (place = 0; place < PLACES; place++) {
            uint32_t number = 0, at = ((place / WIDTH) * IN_WIDTH) + (place % WIDTH);
            for (i = 0; i < PLANES; i++) {
                number |= ((counters[output][at / 32][i] >> (at % 32)) & 1U) << i;
            }
            number += (uint32_t)biases[output];
            wrong += ((number ^ (uint32_t)expected[output][place]) & ((1U << PLANES) - 1U)) != 0;
        }
    }
    leave(wrong != 0);
    return 0;
}
