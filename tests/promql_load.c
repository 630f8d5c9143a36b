/* promql_load.c -- the metric before the values is a PromQL selector, and read as one. */
#include "promql_load.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/number.h"
#include "query/parse.h"
#include "storage/db.h"
#include "storage/matcher.h"

#include "base/banned.h"

enum { MAX_VALUES = 100000 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct str rest_of(struct str s, size_t n)
{
    return (struct str){ s.ptr + n, s.len - n };
}

static struct str trim_left(struct str s)
{
    while (s.len > 0 && is_blank(*s.ptr))
        s = rest_of(s, 1);
    return s;
}

/* How many bytes at the start are the metric: a name, {…}, or both. */
static size_t metric_length(struct str s)
{
    size_t i = 0;
    char quote = 0;

    while (i < s.len && !is_blank(s.ptr[i]) && s.ptr[i] != '{')
        i++;
    size_t name_end = i;
    while (i < s.len && is_blank(s.ptr[i]))
        i++;
    if (i >= s.len || s.ptr[i] != '{' || (i + 1 < s.len && s.ptr[i + 1] == '{'))
        return name_end;
    for (; i < s.len; i++) {
        char c = s.ptr[i];

        if (quote) {
            if (c == '\\' && quote != '`')
                i++;
            else if (c == quote)
                quote = 0;
        } else if (c == '"' || c == '\'' || c == '`') {
            quote = c;
        } else if (c == '}') {
            return i + 1;
        }
    }
    return 0;
}

static bool parse_metric(struct str text, struct arena *a, struct labels *out)
{
    struct matcher *matchers;
    struct label *items;
    struct err err = err_in(a);
    size_t n, kept = 0;

    *out = (struct labels){ 0 };
    if (str_equal(text, STR("{}")))
        return true;
    if (parse_selector(text, a, &matchers, &n, &err) != OK
        || !(items = ARENA_NEW(a, struct label, n)))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct label l = { matchers[i].name, matchers[i].value };
        size_t at = kept;

        matcher_free(&matchers[i]);
        if (l.value.len == 0)
            continue;
        for (; at > 0 && str_cmp(l.name, items[at - 1].name) < 0; at--)
            items[at] = items[at - 1];
        items[at] = l;
        kept++;
    }
    *out = (struct labels){ items, kept };
    return true;
}

/* A number at the start of s, with its sign; 0 bytes when there is none. A sign after the first
 * byte starts the increment, unless it follows an exponent's e. */
static size_t number_at(struct str s, double *v)
{
    size_t n = s.len > 0 && (*s.ptr == '+' || *s.ptr == '-');

    for (; n < s.len && s.ptr[n] != 'x'; n++)
        if ((s.ptr[n] == '+' || s.ptr[n] == '-')
            && !(n >= 2 && tolower((unsigned char)s.ptr[n - 1]) == 'e'
                 && (isdigit((unsigned char)s.ptr[n - 2]) || s.ptr[n - 2] == '.')))
            break;
    return number_parse((struct str){ s.ptr, n }, false, v, NULL) ? n : 0;
}

struct values {
    struct arena *arena;
    struct series_line *out;
    size_t cap;
};

static bool add_values(struct values *vs, enum series_value_kind kind, double v, double step,
                       int64_t times)
{
    struct series_line *s = vs->out;

    if (times < 0 || s->n + (size_t)times > MAX_VALUES)
        return false;
    if (s->n + (size_t)times > vs->cap) {
        size_t cap = 2 * (s->n + (size_t)times);

        s->values =
            arena_grow(vs->arena, s->values, s->n * sizeof *s->values, cap * sizeof *s->values);
        if (!s->values)
            return false;
        vs->cap = cap;
    }
    for (int64_t i = 0; i < times; i++, v += step)
        s->values[s->n++] = (struct series_value){ kind, v };
    s->has_histograms = s->has_histograms || kind == VALUE_HISTOGRAM;
    return true;
}

/* xN at the start of s: the number in *times and what follows in *s. */
static bool repetition(struct str *s, int64_t *times)
{
    size_t n = 1;

    if (s->len == 0 || *s->ptr != 'x')
        return false;
    while (n < s->len && isdigit((unsigned char)s->ptr[n]))
        n++;
    if (!number_parse_i64((struct str){ s->ptr + 1, n - 1 }, times))
        return false;
    *s = rest_of(*s, n);
    return true;
}

/* One word: 5, 1+2x3, 7x3, _, _x4, stale. */
static bool parse_word(struct values *vs, struct str word)
{
    double v = 0, step = 0;
    int64_t times = 0;
    size_t n;

    if (*word.ptr == '_') {
        word = rest_of(word, 1);
        times = 1;
        if (word.len > 0 && !repetition(&word, &times))
            return false;
        return word.len == 0 && add_values(vs, VALUE_GAP, 0, 0, times);
    }
    if (str_is(word, "stale"))
        return add_values(vs, VALUE_FLOAT, f64_from_bits(STALE_NAN_BITS), 0, 1);
    if ((n = number_at(word, &v)) == 0)
        return false;
    word = rest_of(word, n);
    if (word.len > 0 && *word.ptr != 'x') {
        if ((n = number_at(word, &step)) == 0)
            return false;
        word = rest_of(word, n);
    }
    if (word.len > 0 && !repetition(&word, &times))
        return false;
    return word.len == 0 && add_values(vs, VALUE_FLOAT, v, step, times + 1);
}

/* {{…}}, {{…}}x3 or {{…}}+{{…}}x3 at the start of *s. */
static bool parse_histogram(struct values *vs, struct str *s)
{
    int64_t times = 0;

    for (int part = 0; part < 2; part++) {
        const char *end = memmem(s->ptr, s->len, "}}", 2);

        if (!end)
            return false;
        *s = rest_of(*s, (size_t)(end - s->ptr) + 2);
        if (s->len < 3 || (*s->ptr != '+' && *s->ptr != '-') || s->ptr[1] != '{')
            break;
    }
    if (s->len > 0 && *s->ptr == 'x' && !repetition(s, &times))
        return false;
    return add_values(vs, VALUE_HISTOGRAM, 0, 0, times + 1);
}

bool series_line_parse(struct str line, struct arena *a, struct series_line *out)
{
    struct values vs = { a, out, 0 };
    size_t n = metric_length(line);

    *out = (struct series_line){ 0 };
    if (n == 0 || !parse_metric((struct str){ line.ptr, n }, a, &out->labels))
        return false;
    line = trim_left(rest_of(line, n));
    while (line.len > 0) {
        if (str_starts_with(line, STR("{{"))) {
            if (!parse_histogram(&vs, &line))
                return false;
        } else {
            for (n = 0; n < line.len && !is_blank(line.ptr[n]);)
                n++;
            if (!parse_word(&vs, (struct str){ line.ptr, n }))
                return false;
            line = rest_of(line, n);
        }
        line = trim_left(line);
    }
    return true;
}

bool series_line_store(struct db *db, const struct series_line *s, int64_t step_ms)
{
    struct arena *a = arena_new(0);
    struct sample *samples = ARENA_NEW(a, struct sample, s->n + 1);
    struct label *labels = ARENA_NEW(a, struct label, s->labels.n + 1);
    struct write_series series = { .labels = labels, .n_labels = s->labels.n };
    struct write_batch batch = { .series = &series, .n_series = 1, .samples = samples };
    struct write_result res = { 0 };
    bool ok;

    for (size_t i = 0; i < s->labels.n; i++)
        labels[i] = s->labels.items[i];
    for (size_t i = 0; i < s->n; i++)
        if (s->values[i].kind == VALUE_FLOAT)
            samples[series.n_samples++] = (struct sample){ (int64_t)i * step_ms, s->values[i].v };
    batch.n_samples = series.n_samples;
    ok = series.n_samples == 0 || db_append(db, &batch, &res, NULL) == OK;
    for (int i = 0; i < DB_REJECT_COUNT; i++)
        ok = ok && res.rejected[i] == 0;
    buf_free(&res.text);
    arena_free(a);
    return ok;
}

void load_series(struct db *db, int64_t step_ms, const char *lines)
{
    struct arena *a = arena_new(0);

    while (*lines) {
        size_t n = strcspn(lines, "\n");
        struct series_line s;

        if (n > 0) {
            ASSERT(series_line_parse((struct str){ lines, n }, a, &s));
            ASSERT(!s.has_histograms && series_line_store(db, &s, step_ms));
        }
        lines += n + (lines[n] == '\n');
    }
    arena_free(a);
}
