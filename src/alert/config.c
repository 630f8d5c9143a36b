#include "alert/config.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#include "alert/config_private.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/suggest.h"

#include "base/banned.h"

enum { MAX_FILE_BYTES = 16 << 20, DEFAULT_INTERVAL_MS = 60000 };

#define NO_SCRAPING "nothing is scraped"

static const struct config_key top_keys[] = {
    { "global", NULL },
    { "rule_files", NULL },
    { "alerting", NULL },
    { "limits", NULL },
    { "scrape_configs", NO_SCRAPING },
    { "scrape_config_files", NO_SCRAPING },
    { "remote_write", CONFIG_UNSUPPORTED },
    { "remote_read", CONFIG_UNSUPPORTED },
    { "storage", CONFIG_UNSUPPORTED },
    { "tracing", CONFIG_UNSUPPORTED },
    { "otlp", NULL },
    { "runtime", CONFIG_UNSUPPORTED },
    { NULL, NULL },
};

static const struct config_key global_keys[] = {
    { "evaluation_interval", NULL },
    { "rule_query_offset", NULL },
    { "external_labels", NULL },
    { "scrape_interval", NO_SCRAPING },
    { "scrape_timeout", NO_SCRAPING },
    { "scrape_protocols", NO_SCRAPING },
    { "scrape_failure_log_file", NO_SCRAPING },
    { "scrape_classic_histograms", NO_SCRAPING },
    { "scrape_native_histograms", NO_SCRAPING },
    { "always_scrape_classic_histograms", NO_SCRAPING },
    { "convert_classic_histograms_to_nhcb", NO_SCRAPING },
    { "extra_scrape_metrics", NO_SCRAPING },
    { "body_size_limit", NO_SCRAPING },
    { "sample_limit", NO_SCRAPING },
    { "target_limit", NO_SCRAPING },
    { "label_limit", NO_SCRAPING },
    { "label_name_length_limit", NO_SCRAPING },
    { "label_value_length_limit", NO_SCRAPING },
    { "keep_dropped_targets", NO_SCRAPING },
    { "metric_name_validation_scheme", NO_SCRAPING },
    { "metric_name_escaping_scheme", NO_SCRAPING },
    { "query_log_file", CONFIG_UNSUPPORTED },
    { NULL, NULL },
};

static const struct config_key limits_keys[] = {
    { "series_limit", NULL },
    { "label_limit", NULL },
    { "label_name_length_limit", NULL },
    { "label_value_length_limit", NULL },
    { NULL, NULL },
};

/* ---- shared ---- */

static void check_key(const struct config_reading *r, const struct yaml_node *key,
                      const struct config_key *keys, const char *type)
{
    struct suggest s = suggest_for(key->text);
    const char *nearest;

    for (; keys->name; keys++) {
        suggest_consider(&s, keys->name);
        if (!str_is(key->text, keys->name))
            continue;
        if (keys->ignored)
            fields_warn(&r->f, key, "%s is ignored: %s", keys->name, keys->ignored);
        return;
    }
    if (str_ends_with(key->text, STR("_sd_configs"))) {
        fields_warn(&r->f, key, "%.*s is ignored: only static_configs are supported",
                    STR_ARG(key->text));
        return;
    }
    nearest = suggest_nearest(&s);
    fields_fault(&r->f, key, "field %.*s not found in type %s%s%s%s", STR_ARG(key->text), type,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

void config_check_keys(const struct config_reading *r, const struct yaml_node *map,
                       const struct config_key *keys, const char *type)
{
    for (size_t i = 0; i < map->n; i++)
        check_key(r, map->keys[i], keys, type);
}

const char *config_keep(struct config_reading *r, struct str s)
{
    const char *kept = str_copy(r->c->arena, s).ptr;

    if (!kept)
        r->rc = ERR_NOMEM;
    return kept;
}

const char *config_path(struct config_reading *r, struct str path)
{
    const char *slash = strrchr(r->f.file, '/');
    const char *full;

    if (!slash || str_starts_with(path, STR("/")))
        return config_keep(r, path);
    full = arena_printf(r->c->arena, "%.*s%.*s", (int)(slash + 1 - r->f.file), r->f.file,
                        STR_ARG(path));
    if (!full)
        r->rc = ERR_NOMEM;
    return full;
}

/* ---- global ---- */

/* Appends the environment variable that s, behind a dollar sign, begins with; returns how much of s
 * names it. */
static size_t add_variable(const struct config_reading *r, const struct yaml_node *at, struct str s,
                           struct buf *out)
{
    char name[256];
    size_t begin = str_starts_with(s, STR("{")), end = begin;
    const char *value;

    if (str_starts_with(s, STR("$"))) {
        buf_u8(out, '$');
        return 1;
    }
    while (end < s.len
           && (begin ? s.ptr[end] != '}' : name_is_legacy((struct str){ s.ptr, end + 1 }, false)))
        end++;
    if (end == begin || end - begin >= sizeof name || (begin && end == s.len)) {
        fields_warn(&r->f, at, "a dollar sign without the name of a variable; write $$ for itself");
        buf_u8(out, '$');
        return 0;
    }
    memcpy(name, s.ptr + begin, end - begin);
    name[end - begin] = '\0';
    value = getenv(name);
    if (!value || !*value)
        fields_warn(&r->f, at, "environment variable %s is not set", name);
    buf_text(out, value ? value : "");
    return end + begin;
}

/* A value with its environment variables. */
static struct str expand(struct config_reading *r, const struct yaml_node *at, struct str value)
{
    struct buf b = { 0 };
    struct str expanded = { 0 };

    for (size_t i = 0; i < value.len;) {
        struct str rest = { value.ptr + i + 1, value.len - i - 1 };

        if (value.ptr[i++] == '$')
            i += add_variable(r, at, rest, &b);
        else
            buf_u8(&b, (uint8_t)value.ptr[i - 1]);
    }
    if (!b.failed)
        expanded = str_copy(r->c->arena, buf_as_str(&b));
    if (!expanded.ptr)
        r->rc = ERR_NOMEM;
    buf_free(&b);
    return expanded;
}

static void read_external_labels(struct config_reading *r, const struct yaml_node *map)
{
    struct labels ls;
    struct label *items;
    size_t n = 0;

    if (!field_pairs(&r->f, map, "label", r->c->arena, &ls)
        || !(items = ARENA_NEW(r->c->arena, struct label, ls.n))) {
        r->rc = ERR_NOMEM;
        return;
    }
    for (size_t i = 0; i < ls.n; i++) {
        const struct yaml_node *at = map;

        for (size_t k = 0; k < map->n; k++)
            at = str_equal(map->keys[k]->text, ls.items[i].name) ? map->items[k] : at;
        items[n] = (struct label){ ls.items[i].name, expand(r, at, ls.items[i].value) };
        if (!utf8_valid(items[n].value))
            fields_fault(&r->f, at, "invalid label value: not UTF-8");
        n += items[n].value.len > 0;
    }
    r->c->external_labels = (struct labels){ items, n };
}

static void read_global(struct config_reading *r, const struct yaml_node *map)
{
    struct yaml_node *labels = field_of(&r->f, map, "external_labels", YAML_MAPPING);
    int64_t interval_ms = field_duration(&r->f, map, "evaluation_interval", 0);

    config_check_keys(r, map, global_keys, "config.GlobalConfig");
    if (interval_ms > 0)
        r->c->evaluation_interval_ms = interval_ms;
    r->c->rule_query_offset_ms = field_duration(&r->f, map, "rule_query_offset", 0);
    if (labels)
        read_external_labels(r, labels);
}

/* ---- rule files ---- */

static bool add_rule_file(struct config *c, const char *path, size_t *cap)
{
    size_t new_cap = *cap ? 2 * *cap : 8;
    const char **files = c->rule_files;

    for (size_t i = 0; i < c->n_rule_files; i++) {
        if (strcmp(files[i], path) == 0)
            return true;
    }
    if (c->n_rule_files == *cap) {
        files = arena_grow(c->arena, files, *cap * sizeof *files, new_cap * sizeof *files);
        if (!files)
            return false;
        c->rule_files = files;
        *cap = new_cap;
    }
    files[c->n_rule_files] = arena_strndup(c->arena, path, strlen(path));
    return files[c->n_rule_files++] != NULL;
}

/* Prometheus takes patterns in the last element of a path only. */
static bool pattern_is_valid(struct str path)
{
    const char *star = memchr(path.ptr, '*', path.len);

    return !star || !memchr(star, '/', (size_t)(path.ptr + path.len - star));
}

static void read_rule_file(struct config_reading *r, const struct yaml_node *n, size_t *cap)
{
    const char *path;
    glob_t found = { 0 };
    int rc;

    if (!fields_is(&r->f, n, YAML_SCALAR, "a rule file"))
        return;
    if (n->text.len == 0 || memchr(n->text.ptr, '\0', n->text.len) || !pattern_is_valid(n->text)) {
        fields_fault(&r->f, n, "invalid rule file path \"%.*s\"", STR_ARG(n->text));
        return;
    }
    path = config_path(r, n->text);
    if (!path)
        return;
    rc = glob(path, 0, NULL, &found);
    for (size_t i = 0; rc == 0 && i < found.gl_pathc && r->rc == OK; i++) {
        if (!add_rule_file(r->c, found.gl_pathv[i], cap))
            r->rc = ERR_NOMEM;
    }
    if (rc == GLOB_NOSPACE)
        r->rc = ERR_NOMEM;
    else if (rc != 0 && strpbrk(path, "*?["))
        fields_warn(&r->f, n, "no rule file matches \"%s\"", path);
    else if (rc != 0)
        fields_fault(&r->f, n, "\"%s\" does not point to an existing file", path);
    globfree(&found);
}

/* ---- limits ---- */

/* A limit, fallback when it is not there. */
static uint64_t read_limit(const struct config_reading *r, const struct yaml_node *map,
                           const char *name, uint64_t fallback)
{
    int64_t v;

    if (!field_any(map, name))
        return fallback;
    v = field_integer(&r->f, map, name);
    if (v >= 0)
        return (uint64_t)v;
    fields_fault(&r->f, field_any(map, name), "%s: must not be negative, got %lld", name,
                 (long long)v);
    return fallback;
}

static void read_limits(struct config_reading *r, const struct yaml_node *map)
{
    struct label_limits *l = &r->c->label_limits;

    config_check_keys(r, map, limits_keys, "config.LimitsConfig");
    r->c->series_limit = read_limit(r, map, "series_limit", 0);
    l->max_labels = (size_t)read_limit(r, map, "label_limit", l->max_labels);
    l->max_name_bytes = (size_t)read_limit(r, map, "label_name_length_limit", l->max_name_bytes);
    l->max_value_bytes = (size_t)read_limit(r, map, "label_value_length_limit", l->max_value_bytes);
}

/* ---- the file ---- */

static void read_top(struct config_reading *r, const struct yaml_node *root)
{
    struct yaml_node *global, *files, *alerting, *limits, *otlp;
    size_t cap = 0;

    if (!fields_is(&r->f, root, YAML_MAPPING, "a configuration"))
        return;
    config_check_keys(r, root, top_keys, "config.Config");
    global = field_of(&r->f, root, "global", YAML_MAPPING);
    files = field_of(&r->f, root, "rule_files", YAML_SEQUENCE);
    alerting = field_of(&r->f, root, "alerting", YAML_MAPPING);
    limits = field_of(&r->f, root, "limits", YAML_MAPPING);
    if (limits)
        read_limits(r, limits);
    otlp = field_of(&r->f, root, "otlp", YAML_MAPPING);
    if (global)
        read_global(r, global);
    for (size_t i = 0; files && i < files->n && r->rc == OK; i++)
        read_rule_file(r, files->items[i], &cap);
    if (alerting && r->rc == OK)
        config_read_alerting(r, alerting);
    if (otlp && r->rc == OK)
        config_read_otlp(r, otlp);
}

static struct config *config_new(void)
{
    struct config *c = calloc(1, sizeof *c);

    if (c)
        c->arena = arena_new(0);
    if (c && !c->arena) {
        free(c);
        return NULL;
    }
    if (c)
        *c = (struct config){ .arena = c->arena,
                              .evaluation_interval_ms = DEFAULT_INTERVAL_MS,
                              .label_limits = label_limits_default,
                              .otlp = config_otlp_default() };
    return c;
}

enum errc config_read(struct str text, const char *path, struct config **out, struct diags *d)
{
    struct config_reading r = { .f = { path, d, "" }, .c = config_new() };
    struct arena *scratch = arena_new(0);
    size_t n_errors = d->n_errors;
    struct yaml_node *root;

    if (!r.c || !scratch) {
        r.rc = ERR_NOMEM;
        goto done;
    }
    r.rc = yaml_read(text, path, scratch, &root, d);
    if (r.rc == ERR_BAD_CONFIG && root)
        r.rc = OK; /* a repeated key: what else there is can be told as well */
    if (r.rc == OK && root)
        read_top(&r, root);
    if (r.rc == OK && d->n_errors > n_errors)
        r.rc = ERR_BAD_CONFIG;
    if (r.rc == OK) {
        *out = r.c;
        r.c = NULL; /* the caller's now */
    }
done:
    config_free(r.c);
    arena_free(scratch);
    return r.rc;
}

enum errc config_load(const char *path, struct config **out, struct diags *d)
{
    struct err err = err_in(d->arena);
    struct buf b = { 0 };
    enum errc rc = fs_read_file(path, MAX_FILE_BYTES, &b, &err);

    if (rc == OK) {
        rc = config_read(buf_as_str(&b), path, out, d);
    } else if (rc != ERR_NOMEM) {
        diag_error(d, path, 0, 0, "%s", err_text(&err));
        rc = ERR_BAD_CONFIG;
    }
    buf_free(&b);
    return rc;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    arena_free(c->arena);
    free(c);
}
