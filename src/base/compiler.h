/* compiler.h -- the few attributes and macros that a function cannot replace. */
#pragma once

#include <stddef.h>

#define MUST_USE                      __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)             __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define LIKELY(x)                     __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                   __builtin_expect(!!(x), 0)
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* Our own mistakes stop the program, in release builds too: a wrong answer is worse than none. */
#define ASSERT(x) (LIKELY(x) ? (void)0 : assert_failed(#x, __FILE__, __LINE__))

/* For per-sample loops: checked in debug and sanitizer builds only. */
#ifdef NDEBUG
#define DEBUG_ASSERT(x) ((void)0)
#else
#define DEBUG_ASSERT(x) ASSERT(x)
#endif

/* Prints the failed condition and aborts. */
_Noreturn void assert_failed(const char *what, const char *file, int line);
