/* log.h -- logfmt lines to standard error.
 *
 *   ts=2026-11-21T09:30:00.123Z level=info msg="day opened" day=2026-11-21 series=1200
 *
 * The level is process-wide, set once by main before threads start.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/compiler.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* "debug", "info", "warn" or "error"; false for anything else. */
bool log_level_parse(struct str name, enum log_level *out);
void log_set_level(enum log_level level);

/* Writes one line. msg is quoted; fmt yields the further key=value pairs ("" for none). */
void log_line(enum log_level level, const char *msg, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
