/* What a Cortex-M needs before main: a vector table, the floating-point unit, initial values of variables. */
#include <stdint.h>

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;
int main(void);
void reset(void);
void stop(void);

/* Switches the floating-point and vector units on, if the core has them: before any loop, for the compiler may
 * vectorise it. */
__attribute__((naked)) void reset(void)
{
    __asm volatile("ldr r0, =0xE000ED88\n" /* CPACR */
                   "ldr r1, =0x00F00000\n"
                   "str r1, [r0]\n"
                   "dsb\n"
                   "isb\n"
                   "bl start\n"
                   ".ltorg\n");
}

void start(void);
void start(void)
{
    uint32_t *to, *from = &data_load;
    for (to = &data_start; to < &data_end; to++, from++) {
        *to = *from;
    }
    for (to = &bss_start; to < &bss_end; to++) {
        *to = 0;
    }
    (void)main();
    stop();
}

void stop(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)&stack_top, (uintptr_t)reset, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop,
    (uintptr_t)stop,       0,                0,               0,               0,               (uintptr_t)stop,
    (uintptr_t)stop,       0,                (uintptr_t)stop, (uintptr_t)stop,
};
