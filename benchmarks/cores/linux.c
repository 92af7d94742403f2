/* Start and end of a program without a C library under Linux, for QEMU's user emulation: Arm of either order of bytes, and
 * AArch64. */
#include <stdint.h>

int main(void);
void leave(int32_t code);
void _start(void);

void leave(int32_t code)
{
#ifdef __aarch64__
    register long number __asm("x8") = 93, status __asm("x0") = code;
#else
    register long number __asm("r7") = 1, status __asm("r0") = code;
#endif
    __asm volatile("svc 0" : : "r"(number), "r"(status) : "memory");
}

void _start(void)
{
    (void)main();
}
