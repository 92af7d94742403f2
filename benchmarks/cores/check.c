/* Runs a network on images that are compiled in and compares every logit; exit code 0 where all agree. */
#include <stdint.h>

#include "images.h"
#include "net.h"

void leave(int32_t code);

int main(void)
{
    union {
        float number;
        uint32_t bits;
    } logits[NET_CLASSES];
    int32_t wrong = 0, i;
    for (i = 0; i < IMAGES; i++) {
        uint32_t k;
        net_logits(images[i], &logits[0].number);
        for (k = 0; k < NET_CLASSES; k++) {
            wrong += logits[k].bits != expected[i][k];
        }
    }
    leave(wrong != 0);
    return 0;
}
