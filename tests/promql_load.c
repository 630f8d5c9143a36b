/* promql_load.c -- the metric before the values is a PromQL selector, and read as one. */
#include "promql_load.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/duration.h"
#include "base/number.h"
#include "promql_histogram.h"
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

static bool reserve_values(struct values *vs, int64_t more)
{
    struct series_line *s = vs->out;
    size_t cap;

    if (more < 0 || s->n + (size_t)more > MAX_VALUES)
        return false;
    if (s->n + (size_t)more <= vs->cap)
        return true;
    cap = 2 * (s->n + (size_t)more);
    s->values = arena_grow(vs->arena, s->values, s->n * sizeof *s->values, cap * sizeof *s->values);
    vs->cap = cap;
    return s->values;
}

static bool add_values(struct values *vs, enum series_value_kind kind, double v, double step,
                       int64_t times)
{
    struct series_line *s = vs->out;

    if (!reserve_values(vs, times))
        return false;
    for (int64_t i = 0; i < times; i++, v += step)
        s->values[s->n++] = (struct series_value){ .kind = kind, .v = v };
    return true;
}

/* h, then h with step added once, twice, ... */
static bool add_histograms(struct values *vs, const struct histogram *h,
                           const struct histogram *step, int sign, int64_t times)
{
    struct series_line *s = vs->out;

    if (!reserve_values(vs, times))
        return false;
    for (int64_t i = 0; i < times; i++) {
        struct histogram *next = ARENA_NEW(vs->arena, struct histogram, 1);

        s->values[s->n++] = (struct series_value){ .kind = VALUE_HISTOGRAM, .v = h->sum, .h = h };
        if (!step || i + 1 == times)
            continue;
        if (!histogram_text_add(vs->arena, h, step, sign, next))
            return false;
        h = next;
    }
    s->has_histograms = true;
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

/* {{…}} at the start of *s. */
static bool take_histogram(struct values *vs, struct str *s, struct histogram **out)
{
    const char *end = memmem(s->ptr, s->len, "}}", 2);
    struct str inside = { s->ptr + 2, end ? (size_t)(end - s->ptr) - 2 : 0 };

    *out = ARENA_NEW(vs->arena, struct histogram, 1);
    if (!str_starts_with(*s, STR("{{")) || !end || !histogram_text_parse(inside, vs->arena, *out))
        return false;
    *s = rest_of(*s, inside.len + 4);
    return true;
}

/* {{…}}, {{…}}x3 or {{…}}+{{…}}x3 at the start of *s. */
static bool parse_histogram(struct values *vs, struct str *s)
{
    struct histogram *first, *step = NULL;
    int64_t times = 0;
    int sign = 1;

    if (!take_histogram(vs, s, &first))
        return false;
    if (s->len >= 3 && (*s->ptr == '+' || *s->ptr == '-') && s->ptr[1] == '{') {
        sign = *s->ptr == '-' ? -1 : 1;
        *s = rest_of(*s, 1);
        if (!take_histogram(vs, s, &step))
            return false;
    }
    if (s->len > 0 && *s->ptr == 'x' && !repetition(s, &times))
        return false;
    return add_histograms(vs, first, step, sign, times + 1);
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

/* A duration with its sign at the start of *s. */
static bool take_offset(struct str *s, int64_t *ms)
{
    bool negative = s->len > 0 && *s->ptr == '-';
    size_t n = 0;

    if (s->len > 0 && (*s->ptr == '-' || *s->ptr == '+'))
        *s = rest_of(*s, 1);
    while (n < s->len && s->ptr[n] != 'x' && s->ptr[n] != '+' && s->ptr[n] != '-')
        n++;
    *ms = 0;
    if (!str_is((struct str){ s->ptr, n }, "0")
        && duration_parse((struct str){ s->ptr, n }, ms, NULL) != OK)
        return false;
    *ms = negative ? -*ms : *ms;
    *s = rest_of(*s, n);
    return true;
}

/* One word: -1m, -30s-1mx2, 0x3, _, _x4: of how many samples, from which offset by which steps. */
static bool parse_offset(struct str word, int64_t *offset, int64_t *step, int64_t *times,
                         bool *is_gap)
{
    *is_gap = *word.ptr == '_';
    *offset = *step = *times = 0;
    if (*is_gap)
        word = rest_of(word, 1);
    else if (!take_offset(&word, offset))
        return false;
    if (word.len > 0 && *word.ptr != 'x' && !take_offset(&word, step))
        return false;
    if (word.len > 0 && !repetition(&word, times))
        return false;
    *times += !*is_gap || *times == 0;
    return word.len == 0;
}

bool series_line_starts(struct series_line *s, struct str line)
{
    size_t at = 0, n = metric_length(line);

    line = trim_left(rest_of(line, n));
    if (str_starts_with(line, STR("@st")))
        line = trim_left(rest_of(line, 3));
    for (; line.len > 0; line = trim_left(line)) {
        int64_t offset, step, times;
        bool is_gap;

        for (n = 0; n < line.len && !is_blank(line.ptr[n]);)
            n++;
        if (!parse_offset((struct str){ line.ptr, n }, &offset, &step, &times, &is_gap))
            return false;
        for (int64_t i = 0; i < times; i++, at++, offset += step) {
            if (at >= s->n)
                return false;
            s->values[at].has_start = !is_gap;
            s->values[at].start_offset_ms = offset;
        }
        line = rest_of(line, n);
    }
    return true;
}

static int64_t start_of(const struct series_value *v, int64_t t_ms)
{
    return v->has_start ? t_ms + v->start_offset_ms : 0;
}

bool series_line_store(struct db *db, const struct series_line *s, int64_t step_ms)
{
    struct arena *a = arena_new(0);
    struct sample *samples = ARENA_NEW(a, struct sample, s->n + 1);
    int64_t *starts = ARENA_NEW(a, int64_t, s->n + 1);
    struct write_histogram *histograms = ARENA_NEW(a, struct write_histogram, s->n + 1);
    struct label *labels = ARENA_NEW(a, struct label, s->labels.n + 1);
    struct write_series series = { .labels = labels, .n_labels = s->labels.n };
    struct write_batch batch = { .series = &series,
                                 .n_series = 1,
                                 .samples = samples,
                                 .start_ms = starts,
                                 .histograms = histograms };
    struct write_result res = { 0 };
    bool ok;

    for (size_t i = 0; i < s->labels.n; i++)
        labels[i] = s->labels.items[i];
    for (size_t i = 0; i < s->n; i++) {
        const struct series_value *v = &s->values[i];
        int64_t t_ms = (int64_t)i * step_ms, start_ms = start_of(v, t_ms);

        if (v->kind == VALUE_FLOAT) {
            starts[series.n_samples] = start_ms;
            samples[series.n_samples++] = (struct sample){ t_ms, v->v };
        } else if (v->kind == VALUE_HISTOGRAM) {
            histograms[series.n_histograms++] =
                (struct write_histogram){ .t_ms = t_ms, .start_ms = start_ms, .h = *v->h };
        }
    }
    batch.n_samples = series.n_samples;
    batch.n_histograms = series.n_histograms;
    ok = series.n_samples + series.n_histograms == 0 || db_append(db, &batch, &res, NULL) == OK;
    for (int i = 0; i < DB_REJECT_COUNT; i++)
        ok = ok && res.rejected[i] == 0;
    buf_free(&res.text);
    arena_free(a);
    return ok;
}

void load_series(struct db *db, int64_t step_ms, const char *lines)
{
    struct arena *a = arena_new(0);
    struct str starts = { 0 };

    while (*lines) {
        size_t n = strcspn(lines, "\n");
        struct str line = { lines, n };
        struct series_line s;

        lines += n + (lines[n] == '\n');
        if (memmem(line.ptr, n, "@st ", 4)) {
            starts = line; /* of the next line */
            continue;
        }
        if (n == 0)
            continue;
        ASSERT(series_line_parse(line, a, &s));
        ASSERT(starts.len == 0 || series_line_starts(&s, starts));
        ASSERT(series_line_store(db, &s, step_ms));
        starts = STR("");
    }
    arena_free(a);
}
