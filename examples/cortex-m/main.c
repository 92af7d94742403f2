/* Reads an image by the network and blinks the digit, on an ST Nucleo-F401RE (its LED is pin 5 of port A). */
#include <stdint.h>

#include "digit.h"
#include "image.h"

#define RCC_AHB1ENR (*(volatile uint32_t *)0x40023830U)
#define GPIOA_MODER (*(volatile uint32_t *)0x40020000U)
#define GPIOA_ODR   (*(volatile uint32_t *)0x40020014U)
#define LED         (1U << 5)

static void wait(uint32_t rounds)
{
    volatile uint32_t left;
    for (left = rounds; left != 0U; left--) {
    }
}

int main(void)
{
    int digit = digit_predict(image);
    RCC_AHB1ENR |= 1U; /* clock of port A */
    GPIOA_MODER = (GPIOA_MODER & ~(3U << 10)) | (1U << 10);
    for (;;) {
        int i;
        for (i = 0; i < digit; i++) {
            GPIOA_ODR |= LED;
            wait(400000U);
            GPIOA_ODR &= ~LED;
            wait(400000U);
        }
        wait(2000000U);
    }
}
