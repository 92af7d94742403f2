/* For compilers that come without a C library. */
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

void *memcpy(void *to, const void *from, size_t count)
{
    unsigned char *a = to;
    const unsigned char *b = from;
    while (count-- != 0) {
        *a++ = *b++;
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    unsigned char *a = to;
    while (count-- != 0) {
        *a++ = (unsigned char)value;
    }
    return to;
}
