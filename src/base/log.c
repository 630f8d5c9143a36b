#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/banned.h"

static const char *const names[] = { "debug", "info", "warn", "error" };
static enum log_level threshold = LOG_INFO; /* set before threads start, see log.h */

bool log_level_parse(struct str name, enum log_level *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (str_is(name, names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_set_level(enum log_level level)
{
    threshold = level;
}

static void add_quoted(struct buf *b, const char *s)
{
    buf_u8(b, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_printf(b, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            buf_printf(b, "\\x%02x", (unsigned char)*s);
        else
            buf_u8(b, (uint8_t)*s);
    }
    buf_u8(b, '"');
}

void log_line(enum log_level level, const char *msg, const char *fmt, ...)
{
    struct timespec now;
    struct tm tm;
    struct buf line = { 0 };
    char date[32], pairs[1024];
    va_list ap;

    if (level < threshold)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(&line, "ts=%s.%03ldZ level=%s msg=", date, now.tv_nsec / 1000000, names[level]);
    add_quoted(&line, msg);
    va_start(ap, fmt);
    vsnprintf(pairs, sizeof pairs, fmt, ap);
    va_end(ap);
    for (char *p = pairs; *p; p++)
        if ((unsigned char)*p < 0x20) /* a name with a line end must not make a line of its own */
            *p = ' ';
    if (pairs[0])
        buf_printf(&line, " %s", pairs);
    buf_u8(&line, '\n');
    if (!line.failed && write(STDERR_FILENO, line.ptr, line.len) < 0) {
        /* nowhere left to say it */
    }
    buf_free(&line);
}
