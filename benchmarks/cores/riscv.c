/* Start and end of a program on QEMU's RISC-V board "virt": everything lies in RAM, already initialised. */
#include <stdint.h>

int main(void);
void leave(int32_t code);

__attribute__((naked, section(".vectors"), used)) void reset(void)
{
    __asm volatile("la sp, stack_top\n"
                   "call main\n"
                   "1: j 1b\n");
}

/* The board's device that ends the emulator. */
void leave(int32_t code)
{
    *(volatile uint32_t *)0x100000 = code ? 0x13333U : 0x5555U;
}
