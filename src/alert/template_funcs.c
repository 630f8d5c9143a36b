/* template_funcs.c -- the functions a template may call.
 *
 * Go's own are those of text/template; the others are Prometheus' (its documentation, "Template
 * reference"). One row each: what is not here does not parse. `tmpl`, which Prometheus has in
 * console pages only, is not here.
 */
#include <stdlib.h>
#include <string.h>

#include "alert/template_private.h"
#include "base/arena.h"
#include "base/regex.h"
#include "storage/labels.h"

#include "base/banned.h"

/* --- printing --- */

static bool fn_print(struct tpl_call *c)
{
    tpl_print(c->text, c->args, c->n);
    return true;
}

static bool fn_println(struct tpl_call *c)
{
    tpl_println(c->text, c->args, c->n);
    return true;
}

static bool fn_printf(struct tpl_call *c)
{
    tpl_printf(c->text, c->args[0].s, c->args + 1, c->n - 1);
    return true;
}

/* html, js, urlquery: the arguments, each as an action prints it, escaped. */
static bool escape_args(struct tpl_call *c, void (*escape)(struct buf *b, struct str s))
{
    struct buf plain = { 0 };

    tpl_print_actions(&plain, c->args, c->n);
    escape(c->text, buf_as_str(&plain));
    c->text->failed |= plain.failed;
    buf_free(&plain);
    return true;
}

static bool fn_html(struct tpl_call *c)
{
    return escape_args(c, tpl_escape_html);
}

static bool fn_js(struct tpl_call *c)
{
    return escape_args(c, tpl_escape_js);
}

static bool fn_urlquery(struct tpl_call *c)
{
    return escape_args(c, tpl_escape_query);
}

static bool fn_url_query_escape(struct tpl_call *c)
{
    tpl_escape_query(c->text, c->args[0].s);
    return true;
}

static bool fn_safe_html(struct tpl_call *c)
{
    struct datum d = c->args[0];

    d.kind = DATUM_HTML;
    return call_return(c, d);
}

/* No value is a function. */
static bool fn_call(struct tpl_call *c)
{
    return datum_is_nil(c->args[0])
               ? call_fail(c, "call of nil")
               : call_fail(c, "non-function of type %s", datum_type(c->args[0]));
}

/* --- queries --- */

static int compare_samples(const void *a, const void *b)
{
    const struct template_sample *x = a, *y = b;

    return labels_cmp(x->labels, y->labels);
}

static bool sample_datum(struct arena *a, const struct template_sample *s, struct datum *out)
{
    struct datum_record *record = ARENA_NEW(a, struct datum_record, 1);
    struct datum *fields = ARENA_NEW(a, struct datum, 2);

    if (!record || !fields || !datum_labels(a, s->labels, &fields[0]))
        return false;
    fields[1] = s->histogram.len ? datum_str(s->histogram) : datum_float(s->v);
    *record = (struct datum_record){ &tpl_sample_type, fields };
    *out = (struct datum){ .kind = DATUM_RECORD, .record = record };
    return true;
}

static bool list_return(struct tpl_call *c, const struct datum *items, size_t n)
{
    struct datum_list *list = ARENA_NEW(c->x->arena, struct datum_list, 1);

    if (!list)
        return tpl_no_memory(c->x);
    *list = (struct datum_list){ tpl_result_type, n, items };
    return call_return(c, (struct datum){ .kind = DATUM_LIST, .list = list });
}

/* In Prometheus the order of the result is not defined; here it is that of the labels. */
static bool fn_query(struct tpl_call *c)
{
    const struct template_data *data = c->x->data;
    struct err err = err_in(c->x->arena);
    struct template_sample *samples = NULL;
    struct datum *items;
    size_t n = 0;

    if (!data->query)
        return call_fail(c, "queries are not possible here");
    if (!tpl_spend(c->x, TPL_QUERY_STEPS))
        return false;
    if (data->query(data->query_ctx, c->args[0].s, c->x->arena, &samples, &n, &err) != OK)
        return call_fail(c, "%s", err_text(&err));
    if (!tpl_spend(c->x, n))
        return false;
    if (n > 1)
        qsort(samples, n, sizeof *samples, compare_samples);
    items = ARENA_NEW(c->x->arena, struct datum, n);
    if (!items)
        return tpl_no_memory(c->x);
    for (size_t i = 0; i < n; i++)
        if (!sample_datum(c->x->arena, &samples[i], &items[i]))
            return tpl_no_memory(c->x);
    return list_return(c, items, n);
}

static bool fn_first(struct tpl_call *c)
{
    if (c->args[0].list->n == 0)
        return call_fail(c, "first() called on vector with no elements");
    return call_return(c, c->args[0].list->items[0]);
}

static struct str sample_label(struct datum sample, struct str name)
{
    const struct datum *value = datum_key(sample.record->fields[0], name);

    return value ? value->s : STR("");
}

static bool fn_label(struct tpl_call *c)
{
    return call_return(c, datum_str(sample_label(c->args[1], c->args[0].s)));
}

static bool fn_value(struct tpl_call *c)
{
    return call_return(c, c->args[0].record->fields[1]);
}

static bool fn_strvalue(struct tpl_call *c)
{
    return call_return(c, datum_str(sample_label(c->args[0], STR("__value__"))));
}

struct keyed {
    struct str key;
    size_t place; /* keeps the sort stable */
    struct datum sample;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    int order = str_cmp(x->key, y->key);

    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static bool fn_sort_by_label(struct tpl_call *c)
{
    const struct datum_list *list = c->args[1].list;
    struct keyed *keyed = ARENA_NEW(c->x->arena, struct keyed, list->n);
    struct datum *items = ARENA_NEW(c->x->arena, struct datum, list->n);

    if (!keyed || !items)
        return tpl_no_memory(c->x);
    if (!tpl_spend(c->x, list->n))
        return false;
    for (size_t i = 0; i < list->n; i++)
        keyed[i] = (struct keyed){ sample_label(list->items[i], c->args[0].s), i, list->items[i] };
    qsort(keyed, list->n, sizeof *keyed, compare_keyed);
    for (size_t i = 0; i < list->n; i++)
        items[i] = keyed[i].sample;
    return list_return(c, items, list->n);
}

/* --- regular expressions --- */

static bool regex_trouble(struct tpl_call *c, enum errc rc)
{
    return rc == OK || tpl_fail(c->x, rc, "regular expression: %s", errc_text(rc));
}

static bool fn_match(struct tpl_call *c)
{
    struct err err = err_in(c->x->arena);
    struct regex *re = NULL;
    bool matched = false;
    enum errc rc;

    if (!tpl_spend(c->x, TPL_REGEX_STEPS))
        return false;
    if (regex_compile_search(c->args[0].s, &re, &err) != OK)
        return call_fail(c, "%s", err_text(&err));
    rc = regex_search(re, c->args[1].s, &matched);
    regex_free(re);
    return regex_trouble(c, rc) && call_return(c, datum_bool(matched));
}

static bool fn_re_replace_all(struct tpl_call *c)
{
    struct err err = err_in(c->x->arena);
    struct regex *re = NULL;
    enum errc rc;

    if (!tpl_spend(c->x, TPL_REGEX_STEPS))
        return false;
    if (regex_compile_search(c->args[0].s, &re, &err) != OK)
        return call_fail(c, "regexp: Compile(`%.*s`): %s", STR_ARG(c->args[0].s), err_text(&err));
    rc = regex_replace_all(re, c->args[2].s, c->args[1].s, TPL_MAX_OUTPUT, c->text);
    regex_free(re);
    return regex_trouble(c, rc);
}

/* --- places and the rest --- */

static bool link_to(struct tpl_call *c, const char *tab)
{
    buf_text(c->text, "/graph?g0.expr=");
    tpl_escape_query(c->text, c->args[0].s);
    buf_printf(c->text, "&g0.tab=%s", tab);
    return true;
}

static bool fn_graph_link(struct tpl_call *c)
{
    return link_to(c, "0");
}

static bool fn_table_link(struct tpl_call *c)
{
    return link_to(c, "1");
}

static bool fn_external_url(struct tpl_call *c)
{
    return call_return(c, datum_str(c->x->data->external_url));
}

/* The path of the external URL. */
static bool fn_path_prefix(struct tpl_call *c)
{
    struct str url = c->x->data->external_url;
    const char *host = url.len ? memmem(url.ptr, url.len, "://", 3) : NULL;
    size_t at = host ? (size_t)(host - url.ptr) + 3 : 0, end;

    while (host && at < url.len && !memchr("/?#", url.ptr[at], 3))
        at++;
    end = at;
    while (end < url.len && url.ptr[end] != '?' && url.ptr[end] != '#')
        end++;
    return call_return(c, datum_str((struct str){ url.len ? url.ptr + at : "", end - at }));
}

static bool fn_now(struct tpl_call *c)
{
    return call_return(c, datum_float((double)c->x->data->now_ms / 1000));
}

struct named {
    struct str name;
    struct datum value;
};

static int compare_named(const void *a, const void *b)
{
    return str_cmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* A map arg0, arg1 ...: how a template is given several values. */
static bool fn_args(struct tpl_call *c)
{
    struct arena *a = c->x->arena;
    struct named *named = ARENA_NEW(a, struct named, c->n);
    struct datum_map *map = ARENA_NEW(a, struct datum_map, 1);
    struct str *keys = ARENA_NEW(a, struct str, c->n);
    struct datum *values = ARENA_NEW(a, struct datum, c->n);

    if (!named || !map || !keys || !values)
        return tpl_no_memory(c->x);
    for (size_t i = 0; i < c->n; i++) {
        char *name = arena_printf(a, "arg%zu", i);

        if (!name)
            return tpl_no_memory(c->x);
        named[i] = (struct named){ str_from(name), c->args[i] };
    }
    qsort(named, c->n, sizeof *named, compare_named); /* arg10 before arg2 */
    for (size_t i = 0; i < c->n; i++) {
        keys[i] = named[i].name;
        values[i] = named[i].value;
    }
    *map = (struct datum_map){ true, c->n, keys, values };
    return call_return(c, (struct datum){ .kind = DATUM_MAP, .map = map });
}

/* --- the tables --- */

static const struct tpl_func funcs[] = {
    /* sorted by name */
    { "and", NULL, 1, true, { PARAM_ANY, PARAM_ANY } },
    { "args", fn_args, 0, true, { PARAM_ANY } },
    { "call", fn_call, 1, true, { PARAM_ANY, PARAM_ANY } },
    { "eq", fn_eq, 1, true, { PARAM_ANY, PARAM_ANY } },
    { "externalURL", fn_external_url, 0, false, { PARAM_ANY } },
    { "first", fn_first, 1, false, { PARAM_RESULT } },
    { "ge", fn_ge, 2, false, { PARAM_ANY, PARAM_ANY } },
    { "graphLink", fn_graph_link, 1, false, { PARAM_STRING } },
    { "gt", fn_gt, 2, false, { PARAM_ANY, PARAM_ANY } },
    { "html", fn_html, 0, true, { PARAM_ANY } },
    { "humanize", fn_humanize, 1, false, { PARAM_ANY } },
    { "humanize1024", fn_humanize1024, 1, false, { PARAM_ANY } },
    { "humanizeDuration", fn_humanize_duration, 1, false, { PARAM_ANY } },
    { "humanizePercentage", fn_humanize_percentage, 1, false, { PARAM_ANY } },
    { "humanizeTimestamp", fn_humanize_timestamp, 1, false, { PARAM_ANY } },
    { "index", fn_index, 1, true, { PARAM_ANY, PARAM_ANY } },
    { "js", fn_js, 0, true, { PARAM_ANY } },
    { "label", fn_label, 2, false, { PARAM_STRING, PARAM_SAMPLE } },
    { "le", fn_le, 2, false, { PARAM_ANY, PARAM_ANY } },
    { "len", fn_len, 1, false, { PARAM_ANY } },
    { "lt", fn_lt, 2, false, { PARAM_ANY, PARAM_ANY } },
    { "match", fn_match, 2, false, { PARAM_STRING, PARAM_STRING } },
    { "ne", fn_ne, 2, false, { PARAM_ANY, PARAM_ANY } },
    { "not", fn_not, 1, false, { PARAM_ANY } },
    { "now", fn_now, 0, false, { PARAM_ANY } },
    { "or", NULL, 1, true, { PARAM_ANY, PARAM_ANY } },
    { "parseDuration", fn_parse_duration, 1, false, { PARAM_STRING } },
    { "pathPrefix", fn_path_prefix, 0, false, { PARAM_ANY } },
    { "print", fn_print, 0, true, { PARAM_ANY } },
    { "printf", fn_printf, 1, true, { PARAM_STRING, PARAM_ANY } },
    { "println", fn_println, 0, true, { PARAM_ANY } },
    { "query", fn_query, 1, false, { PARAM_STRING } },
    { "reReplaceAll", fn_re_replace_all, 3, false, { PARAM_STRING, PARAM_STRING, PARAM_STRING } },
    { "safeHtml", fn_safe_html, 1, false, { PARAM_STRING } },
    { "slice", fn_slice, 1, true, { PARAM_ANY, PARAM_ANY } },
    { "sortByLabel", fn_sort_by_label, 2, false, { PARAM_STRING, PARAM_RESULT } },
    { "stripDomain", fn_strip_domain, 1, false, { PARAM_STRING } },
    { "stripPort", fn_strip_port, 1, false, { PARAM_STRING } },
    { "strvalue", fn_strvalue, 1, false, { PARAM_SAMPLE } },
    { "tableLink", fn_table_link, 1, false, { PARAM_STRING } },
    { "title", fn_title, 1, false, { PARAM_STRING } },
    { "toDuration", fn_to_duration, 1, false, { PARAM_ANY } },
    { "toLower", fn_to_lower, 1, false, { PARAM_STRING } },
    { "toTime", fn_to_time, 1, false, { PARAM_ANY } },
    { "toUpper", fn_to_upper, 1, false, { PARAM_STRING } },
    { "urlQueryEscape", fn_url_query_escape, 1, false, { PARAM_STRING } },
    { "urlquery", fn_urlquery, 0, true, { PARAM_ANY } },
    { "value", fn_value, 1, false, { PARAM_SAMPLE } },
};

static const struct tpl_func *find(const struct tpl_func *table, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(name, table[i].name))
            return &table[i];
    return NULL;
}

const struct tpl_func *tpl_func_find(struct str name)
{
    return find(funcs, ARRAY_LEN(funcs), name);
}

const struct tpl_func *tpl_method_find(enum datum_kind kind, struct str name)
{
    if (kind == DATUM_TIME)
        return find(tpl_time_methods, tpl_n_time_methods, name);
    if (kind == DATUM_DURATION)
        return find(tpl_duration_methods, tpl_n_duration_methods, name);
    if ((kind == DATUM_MONTH || kind == DATUM_WEEKDAY) && str_is(name, "String"))
        return &tpl_name_method;
    return NULL;
}
