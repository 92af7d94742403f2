/* A plugin for QEMU that counts the instructions of a run and prints them at its end, and whenever the run calls a function
 * named mark. QEMU's header is not packaged everywhere: these are the few declarations of its interface (version 1) that
 * are needed. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum operation { ADD_U64 };
enum registers { NONE };

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t at);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *one, enum operation what, void *counter,
                                                       uint64_t by);
extern const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *one);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *one, void (*call)(unsigned, void *),
                                                   enum registers used, void *data);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*call)(plugin_id, void *), void *data);

int qemu_plugin_version = 1;
static uint64_t count;

static void marked(unsigned processor, void *data)
{
    (void)processor;
    (void)data;
    fprintf(stderr, "mark %" PRIu64 "\n", count);
}

/* A block that begins in mark begins where it is called: it has no loop and calls nothing. */
static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    size_t i;
    (void)id;
    for (i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *const one = qemu_plugin_tb_get_insn(block, i);
        const char *const symbol = qemu_plugin_insn_symbol(one);
        if ((i == 0) && (symbol != NULL) && (strcmp(symbol, "mark") == 0)) {
            qemu_plugin_register_vcpu_insn_exec_cb(one, marked, NONE, NULL);
        }
        qemu_plugin_register_vcpu_insn_exec_inline(one, ADD_U64, &count, 1);
    }
}

static void print(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    fprintf(stderr, "instructions %" PRIu64 "\n", count);
}

int qemu_plugin_install(plugin_id id, const void *about, int arguments, char **values)
{
    (void)about;
    (void)arguments;
    (void)values;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, print, NULL);
    return 0;
}
