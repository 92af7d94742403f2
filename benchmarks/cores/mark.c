/* Does nothing: the plugin of count.c prints how many instructions there were when it is called. */
void mark(void);
void mark(void)
{
    __asm volatile("");
}
