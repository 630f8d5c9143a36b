/* fault.h -- surviving, or at least explaining, memory that cannot be read.
 *
 * A file that is mapped can fail when it is read: it was cut by somebody else, its disk is broken
 * (SIGBUS), or damaged bytes in it lead a library astray (SIGSEGV). Where such a failure can be
 * answered with an error, the access is guarded:
 *
 *     struct fault_guard g;
 *
 *     if (sigsetjmp(fault_begin(&g)->env, 0))
 *         return ERR_CORRUPT;
 *     ... read ...
 *     fault_end(&g);
 *
 * Between begin and end no lock may be taken and nothing be allocated that only the code in between
 * would give back; locals that are used after the jump must be volatile. Anywhere else the signal
 * ends the process, after a line on standard error that names the file.
 *
 * Threads: a guard belongs to its thread.
 */
#pragma once

#include <setjmp.h>

struct fault_guard {
    sigjmp_buf env;
    struct fault_guard *outer;
};

/* Takes the signals over, unless that has been done. */
void fault_install(void);

struct fault_guard *fault_begin(struct fault_guard *g); /* returns g */
void fault_end(struct fault_guard *g);

/* Jumps to the innermost guard; returns when there is none. For the assertions of a library. */
void fault_raise(void);
