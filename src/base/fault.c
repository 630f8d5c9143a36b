#include "base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"

#include "base/banned.h"

static _Thread_local struct fault_guard *innermost;

struct fault_guard *fault_begin(struct fault_guard *g)
{
    g->outer = innermost;
    innermost = g;
    return g;
}

void fault_end(struct fault_guard *g)
{
    ASSERT(innermost == g);
    innermost = g->outer;
}

void fault_raise(void)
{
    struct fault_guard *g = innermost;

    if (!g)
        return;
    innermost = g->outer;
    siglongjmp(g->env, 1);
}

/* ---- naming the file; only what a signal handler may call ---- */

/* Reads a hexadecimal number and moves past it. */
static uintptr_t read_hex(const char **p)
{
    uintptr_t v = 0;

    for (;; (*p)++) {
        char c = **p;

        if (c >= '0' && c <= '9')
            v = v * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return v;
    }
}

/* Whether a line of /proc/self/maps, "from-to ... path", is about the address. */
static bool line_covers(const char *line, uintptr_t address)
{
    uintptr_t from = read_hex(&line), to;

    if (*line != '-')
        return false;
    line++;
    to = read_hex(&line);
    return address >= from && address < to;
}

static void say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

/* Reads lines one byte at a time: it happens once in the life of a process. */
static void say_file_at(uintptr_t address)
{
    char line[4096 + 128], c;
    size_t n = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && read(fd, &c, 1) == 1) {
        if (c != '\n') {
            if (n < sizeof line - 1)
                line[n++] = c;
            continue;
        }
        line[n] = '\0';
        n = 0;
        if (line_covers(line, address) && strchr(line, '/')) {
            say(strchr(line, '/'));
            return;
        }
    }
    say("memory that is no file");
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    fault_raise();
    say(number == SIGBUS ? "tidemark: SIGBUS: cannot read " : "tidemark: SIGSEGV: cannot read ");
    say_file_at((uintptr_t)info->si_addr);
    say(number == SIGBUS ? ": the file was cut by another program, or its disk failed; tidemark "
                           "verify tells what is damaged\n"
                         : "\n");
    signal(number, SIG_DFL); /* and again, when we return */
}

void fault_install(void)
{
    static const int numbers[] = { SIGBUS, SIGSEGV };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction now,
            ours = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };

        sigemptyset(&ours.sa_mask);
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_sigaction != on_signal)
            sigaction(numbers[i], &ours, NULL);
    }
}
