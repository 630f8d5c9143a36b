#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/http_client.h"
#include "base/number.h"
#include "base/suggest.h"
#include "http/listen.h"

#include "base/banned.h"

enum kind {
    ADDRESS,
    DIRECTORY,
    DURATION,
    SIZE,
    OPTIONAL_SIZE,
    COUNT,
    LEVEL,
    FILE_PATH,
    FILE_PATHS,
    URL,
    URLS,
    SWITCH
};

/* What a value of each kind looks like, for --help and for errors. */
static const struct {
    const char *placeholder, *expected;
} kinds[] = {
    [ADDRESS] = { "ADDRESS", "HOST:PORT, :PORT or [IPv6]:PORT" },
    [DIRECTORY] = { "PATH", "a directory" },
    [DURATION] = { "DURATION", "a duration above 0 and up to 292y, such as 15d or 1h30m" },
    [SIZE] = { "SIZE", "a size such as 512MiB or 16GiB" },
    [OPTIONAL_SIZE] = { "SIZE", "a size such as 512MB or 16GB, or 0" },
    [COUNT] = { "N", "a whole number above 0" },
    [LEVEL] = { "LEVEL", "debug, info, warn or error" },
    [FILE_PATH] = { "FILE", "a file" },
    [FILE_PATHS] = { "FILE", "a file" },
    [URL] = { "URL", "an http or https URL" },
    [URLS] = { "URL", "an http or https URL" },
    [SWITCH] = { "", "true or false" },
};

static const struct flag {
    const char *name;
    enum kind kind;
    const char *value; /* the default; NULL: none, or what help says */
    size_t at;         /* in struct options */
    const char *help;
} flags[] = {
    { "web.listen-address", ADDRESS, "127.0.0.1:9420", offsetof(struct options, listen_address),
      "Where to listen. The default answers this machine only; :9420 answers everybody." },
    { "storage.tsdb.path", DIRECTORY, "./data", offsetof(struct options, data_dir),
      "Where the data is kept; created when missing." },
    { "storage.tsdb.retention.time", DURATION, "15d", offsetof(struct options, retention_ms),
      "How long samples are kept; whole days are deleted." },
    { "storage.tsdb.retention.size", OPTIONAL_SIZE, "0", offsetof(struct options, retention_bytes),
      "How much disk space the day files may take: the oldest days beyond are deleted. 0: any." },
    { "storage.head-size", SIZE, "512MiB", offsetof(struct options, head_bytes),
      "Samples in memory move to disk when they take more than this." },
    { "storage.flush-interval", DURATION, "2h", offsetof(struct options, flush_interval_ms),
      "And at least this often." },
    { "storage.map-size", SIZE, "16GiB", offsetof(struct options, map_bytes),
      "Address space for one day's file, and so its largest size." },
    { "query.timeout", DURATION, "2m", offsetof(struct options, query_timeout_ms),
      "How long a query may take; a request can only ask for less." },
    { "query.max-samples", COUNT, "50000000", offsetof(struct options, query_max_samples),
      "How many samples one query may hold in memory." },
    { "web.max-connections", COUNT, "512", offsetof(struct options, max_connections),
      "How many clients may be connected at once; further ones wait to be accepted." },
    { "storage.remote.read-sample-limit", COUNT, "50000000",
      offsetof(struct options, read_max_samples),
      "How many samples one remote read may ask for, unless it takes a stream." },
    { "query.lookback-delta", DURATION, "5m", offsetof(struct options, lookback_ms),
      "How far back a query looks for the newest sample of a series." },
    { "query.max-concurrency", COUNT, NULL, offsetof(struct options, query_max_concurrency),
      "How many queries run at once; further ones wait. Default: twice the number of processors." },
    { "config.file", FILE_PATH, NULL, offsetof(struct options, config_file),
      "A configuration in Prometheus' format: rule_files, alerting, external_labels." },
    { "rules", FILE_PATHS, NULL, offsetof(struct options, rule_files),
      "A file with rules in Prometheus' format. May be repeated." },
    { "alertmanager", URLS, NULL, offsetof(struct options, alertmanager_urls),
      "An Alertmanager to be told about alerts. May be repeated." },
    { "rules.alert.resend-delay", DURATION, "1m", offsetof(struct options, resend_delay_ms),
      "How long to wait before telling again about an alert that goes on." },
    { "push.interval", DURATION, "1m", offsetof(struct options, push_interval_ms),
      "How often metrics that jobs have pushed (/metrics/job/...) are stored again." },
    { "push.ttl", DURATION, "90d", offsetof(struct options, push_ttl_ms),
      "How long they live after the last push." },
    { "otlp.grpc-listen-address", ADDRESS, NULL, offsetof(struct options, grpc_address),
      "Where to take OTLP over gRPC, usually 127.0.0.1:4317. Off by default." },
    { "web.external-url", URL, NULL, offsetof(struct options, external_url),
      "Where people reach this server, for links in alerts. Default: where it listens." },
    { "web.enable-lifecycle", SWITCH, "false", offsetof(struct options, enable_lifecycle),
      "Allow POST /-/reload, which reads rules and configuration again, as SIGHUP does, and "
      "POST /-/quit." },
    { "web.enable-admin-api", SWITCH, "false", offsetof(struct options, enable_admin),
      "Allow POST /api/v1/admin/...: flush, delete_series, clean_tombstones, snapshot." },
    { "log.level", LEVEL, "info", offsetof(struct options, log_level),
      "The least important messages to log." },
};
_Static_assert(ARRAY_LEN(flags) <= OPTIONS_MAX_FLAGS, "struct options has room for all");

/* ---- values ---- */

/* Sizes are powers of 1024 whichever way the unit is written, as in Prometheus. */
static bool parse_size(struct str s, int64_t *bytes)
{
    static const struct {
        const char *unit;
        int shift;
    } units[] = {
        { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 }, { "PiB", 50 },
        { "EiB", 60 }, { "KB", 10 },  { "MB", 20 },  { "GB", 30 },  { "TB", 40 },
        { "PB", 50 },  { "EB", 60 },  { "B", 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct str unit = str_from(units[i].unit);
        int64_t n;

        if (!str_ends_with(s, unit))
            continue;
        s.len -= unit.len;
        return number_parse_i64(s, &n) && n > 0
               && !__builtin_mul_overflow(n, 1LL << units[i].shift, bytes);
    }
    return false;
}

static bool add_text(struct texts *texts, const char *value)
{
    if (texts->n == OPTIONS_MAX_TEXTS)
        return false;
    texts->items[texts->n++] = value;
    return true;
}

static bool set_value(const struct flag *f, const char *value, struct options *o)
{
    void *field = (char *)o + f->at;
    struct str text = str_from(value);
    int64_t *number = field;

    switch (f->kind) {
    case ADDRESS:
        *(const char **)field = value;
        return listen_check(value, NULL) == OK;
    case DIRECTORY:
        *(const char **)field = value;
        return text.len > 0;
    case DURATION:
        return duration_parse(text, number, NULL) == OK && *number > 0;
    case SIZE:
        return parse_size(text, number);
    case OPTIONAL_SIZE:
        *number = 0;
        return str_is(text, "0") || parse_size(text, number);
    case COUNT:
        return number_parse_i64(text, number) && *number > 0;
    case LEVEL:
        return log_level_parse(text, field);
    case FILE_PATH:
        *(const char **)field = value;
        return text.len > 0;
    case FILE_PATHS:
        return text.len > 0 && add_text(field, value);
    case URL:
        *(const char **)field = value;
        return http_url_check(text, NULL) == OK;
    case URLS:
        return http_url_check(text, NULL) == OK && add_text(field, value);
    case SWITCH:
        *(bool *)field = str_is(text, "true");
        return *(bool *)field || str_is(text, "false");
    }
    return false;
}

static void set_defaults(struct options *o)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    *o = (struct options){ .query_max_concurrency = cpus > 0 ? 2 * cpus : 4 };
    o->n_flags = ARRAY_LEN(flags);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        o->flags[i].name = flags[i].name;
        o->flags[i].value = flags[i].value ? flags[i].value : "";
        if (flags[i].value)
            ASSERT(set_value(&flags[i], flags[i].value, o));
    }
}

/* ---- unknown flags ---- */

enum { MAX_NAME = 64 };

static enum errc unknown_flag(const char *arg, struct err *err)
{
    char name[MAX_NAME];
    struct suggest s;
    const char *nearest;

    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg, "="), arg);
    s = suggest_for(str_from(strncmp(name, "--", 2) == 0 ? name + 2 : name));
    for (size_t i = 0; strncmp(name, "--", 2) == 0 && i < ARRAY_LEN(flags); i++)
        suggest_consider(&s, flags[i].name);
    nearest = suggest_nearest(&s);
    if (nearest)
        return err_set(err, ERR_BAD_CONFIG, 0, "unknown flag %s; did you mean --%s?", name,
                       nearest);
    return err_set(err, ERR_BAD_CONFIG, 0, "unknown flag %s; tidemark --help lists them", name);
}

/* ---- the command line ---- */

enum { HELP = 256, VERSION, FIRST_FLAG };

static enum errc take_flag(int option, const char *value, struct options *out, struct err *err)
{
    const struct flag *f = &flags[option - FIRST_FLAG];

    if (!value)
        value = "true"; /* a switch without one */
    if (set_value(f, value, out)) {
        out->flags[f - flags].value = value;
        return OK;
    }
    return err_set(err, ERR_BAD_CONFIG, 0, "--%s: \"%s\" is not %s", f->name, value,
                   kinds[f->kind].expected);
}

static enum errc take_command(const char *name, struct options *out, struct err *err)
{
    if (strcmp(name, "serve") == 0)
        out->command = COMMAND_SERVE;
    else if (strcmp(name, "help") == 0)
        out->command = COMMAND_HELP;
    else if (strcmp(name, "version") == 0)
        out->command = COMMAND_VERSION;
    else
        return err_set(err, ERR_BAD_CONFIG, 0,
                       "unknown command \"%s\"; there is: serve, check, verify, backup, "
                       "restore",
                       name);
    return OK;
}

static void fill_long_options(struct option *to)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        *to++ = (struct option){ flags[i].name,
                                 flags[i].kind == SWITCH ? optional_argument : required_argument,
                                 NULL, FIRST_FLAG + (int)i };
    *to++ = (struct option){ "help", no_argument, NULL, HELP };
    *to++ = (struct option){ "version", no_argument, NULL, VERSION };
    *to = (struct option){ 0 };
}

enum errc options_parse(int argc, char **argv, struct options *out, struct err *err)
{
    struct option long_options[ARRAY_LEN(flags) + 3];
    bool help = false, version = false;
    int option;

    set_defaults(out);
    fill_long_options(long_options);
    opterr = 0;
    optind = 0; /* GNU: begin anew */
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        enum errc rc = OK;

        if (option == HELP || option == 'h')
            help = true;
        else if (option == VERSION)
            version = true;
        else if (option == ':')
            rc = err_set(err, ERR_BAD_CONFIG, 0, "%s needs a value", argv[optind - 1]);
        else if (option == '?')
            rc = unknown_flag(argv[optind - 1], err);
        else
            rc = take_flag(option, optarg, out, err);
        if (rc)
            return rc;
    }
    if (argc - optind > 1)
        return err_set(err, ERR_BAD_CONFIG, 0, "unexpected argument \"%s\"", argv[optind + 1]);
    if (optind < argc && take_command(argv[optind], out, err) != OK)
        return ERR_BAD_CONFIG;
    if (help || version)
        out->command = help ? COMMAND_HELP : COMMAND_VERSION;
    return OK;
}

void options_print_help(struct buf *b)
{
    buf_text(b,
             "usage: tidemark [serve] [flags]\n"
             "       tidemark check rules|config [flags] FILE...\n"
             "       tidemark verify [--json] DIR\n"
             "       tidemark backup DIR OUT | backup --url=URL OUT\n"
             "       tidemark restore SNAPSHOT DIR\n\n"
             "A time-series database that takes Prometheus remote write and answers PromQL.\n\n");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        const char *placeholder = kinds[flags[i].kind].placeholder;

        buf_printf(b, "  --%s%s%s\n        %s\n", flags[i].name, *placeholder ? " " : "",
                   placeholder, flags[i].help);
        if (flags[i].value)
            buf_printf(b, "        Default: %s.\n", flags[i].value);
    }
    buf_text(b, "  --help\n  --version\n");
}
