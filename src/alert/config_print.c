/* config_print.c -- a configuration as text again, for people and for tools that look for external
 * labels. Secrets come in as what they say and go out as <secret>. */
#include "alert/config_private.h"
#include "base/duration.h"
#include "base/json.h"

#include "base/banned.h"

static void print_duration(struct buf *b, const char *key, int64_t ms)
{
    buf_printf(b, "  %s: ", key);
    duration_print(b, ms);
    buf_u8(b, '\n');
}

/* Quoted as in JSON, which YAML reads. */
static void print_text(struct buf *b, const char *key, struct str value)
{
    buf_text(b, key);
    json_string(b, value);
    buf_u8(b, '\n');
}

static void print_global(struct buf *b, const struct config *c)
{
    buf_text(b, "global:\n");
    print_duration(b, "evaluation_interval", c->evaluation_interval_ms);
    print_duration(b, "rule_query_offset", c->rule_query_offset_ms);
    if (c->external_labels.n)
        buf_text(b, "  external_labels:\n");
    for (size_t i = 0; i < c->external_labels.n; i++) {
        buf_text(b, "    ");
        json_string(b, c->external_labels.items[i].name);
        print_text(b, ": ", c->external_labels.items[i].value);
    }
}

/* scheme://target/prefix */
static void print_url(struct buf *b, struct str url)
{
    const char *colon = memchr(url.ptr, ':', url.len);
    struct str scheme = { url.ptr, colon ? (size_t)(colon - url.ptr) : 0 };
    struct str rest = colon ? (struct str){ colon + 3, url.len - scheme.len - 3 } : url;
    const char *slash = memchr(rest.ptr, '/', rest.len);
    struct str target = { rest.ptr, slash ? (size_t)(slash - rest.ptr) : rest.len };

    print_text(b, "  - scheme: ", scheme);
    if (slash)
        print_text(b, "    path_prefix: ", (struct str){ slash, rest.len - target.len });
    buf_text(b, "    static_configs:\n    - targets:\n");
    print_text(b, "      - ", target);
}

static void print_alertmanager(struct buf *b, const struct alertmanager *am)
{
    print_url(b, am->url);
    if (am->timeout_ms) {
        buf_text(b, "  ");
        print_duration(b, "timeout", am->timeout_ms);
    }
    if (am->user.len) {
        buf_text(b, "    basic_auth:\n");
        print_text(b, "      username: ", am->user);
        buf_text(b, "      password: <secret>\n");
    }
    if (am->authorization.len)
        buf_text(b, "    authorization:\n      credentials: <secret>\n");
}

/* Those of a file that changes none are left out. */
static void print_limits(struct buf *b, const struct config *c)
{
    if (c->series_limit == 0
        && memcmp(&c->label_limits, &label_limits_default, sizeof c->label_limits) == 0)
        return;
    buf_printf(b,
               "limits:\n  series_limit: %llu\n  label_limit: %zu\n"
               "  label_name_length_limit: %zu\n  label_value_length_limit: %zu\n",
               (unsigned long long)c->series_limit, c->label_limits.max_labels,
               c->label_limits.max_name_bytes, c->label_limits.max_value_bytes);
}

void config_print(struct buf *b, const struct config *c)
{
    print_global(b, c);
    print_limits(b, c);
    if (c->n_alertmanagers)
        buf_text(b, "alerting:\n  alertmanagers:\n");
    for (size_t i = 0; i < c->n_alertmanagers; i++)
        print_alertmanager(b, &c->alertmanagers[i]);
    if (c->n_rule_files)
        buf_text(b, "rule_files:\n");
    for (size_t i = 0; i < c->n_rule_files; i++)
        print_text(b, "- ", str_from(c->rule_files[i]));
    config_print_otlp(b, &c->otlp);
}
