/* options.h -- the command line: subcommand and flags, with defaults from one table that also
 * prints --help. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"

enum command { COMMAND_SERVE, COMMAND_HELP, COMMAND_VERSION };

enum { OPTIONS_MAX_FLAGS = 48, OPTIONS_MAX_TEXTS = 64 };

/* The values of a flag that may be repeated. */
struct texts {
    const char *items[OPTIONS_MAX_TEXTS];
    size_t n;
};

struct options {
    enum command command;
    const char *listen_address;
    const char *data_dir;
    int64_t retention_ms, retention_bytes;
    int64_t flush_interval_ms;
    int64_t head_bytes, map_bytes;
    int64_t query_timeout_ms, query_max_samples, lookback_ms, query_max_concurrency;
    int64_t read_max_samples, max_connections;
    const char *config_file, *external_url; /* NULL: none */
    struct texts rule_files, alertmanager_urls;
    int64_t resend_delay_ms;
    int64_t push_interval_ms, push_ttl_ms;
    const char *grpc_address; /* NULL: gRPC is off */
    bool enable_lifecycle, enable_admin;
    enum log_level log_level;

    /* Every flag with its value (the last one of a repeated flag) as text, for
     * /api/v1/status/flags: n_flags of them. */
    struct {
        const char *name, *value;
    } flags[OPTIONS_MAX_FLAGS];
    size_t n_flags;
};

/* Reads the command line; what it does not name has its default. ERR_BAD_CONFIG: the text names
 * the flag, its value and what was expected, or the nearest flag to an unknown one. Texts point
 * into argv, which is permuted. Not for several threads at once (getopt). */
MUST_USE enum errc options_parse(int argc, char **argv, struct options *out, struct err *err);

void options_print_help(struct buf *b);
