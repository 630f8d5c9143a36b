#include "promql_histogram.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/number.h"

#include "base/banned.h"

enum { MAX_NUMBERS = 4096 };

/* What the fields of the notation say. */
struct fields {
    struct arena *arena;
    double schema, sum, count, zero_count, zero_threshold, offset, negative_offset;
    double *buckets, *negative, *custom;
    size_t n_buckets, n_negative, n_custom;
    enum histogram_hint hint;
};

static struct str skip(struct str s, size_t n)
{
    return (struct str){ s.ptr + n, s.len - n };
}

static struct str skip_blanks(struct str s)
{
    while (s.len > 0 && isspace((unsigned char)*s.ptr))
        s = skip(s, 1);
    return s;
}

/* The text up to one of the ends, or all of it; *s goes on behind it. */
static struct str take(struct str *s, const char *ends)
{
    size_t n = 0;
    struct str out;

    while (n < s->len && !strchr(ends, s->ptr[n]))
        n++;
    out = (struct str){ s->ptr, n };
    *s = skip(*s, n);
    return out;
}

/* [1 2 3] at the start of *s. */
static bool take_list(struct fields *f, struct str *s, double **items, size_t *n)
{
    struct str list;

    if (s->len == 0 || *s->ptr != '[')
        return false;
    *s = skip(*s, 1);
    list = take(s, "]");
    if (s->len == 0)
        return false;
    *s = skip(*s, 1);
    *items = ARENA_NEW(f->arena, double, MAX_NUMBERS);
    *n = 0;
    for (list = skip_blanks(list); list.len > 0; list = skip_blanks(list))
        if (*n == MAX_NUMBERS || !number_parse(take(&list, " \t"), false, &(*items)[(*n)++], NULL))
            return false;
    return true;
}

static bool take_hint(struct fields *f, struct str *s)
{
    static const char *const names[] = { "unknown", "reset", "not_reset", "gauge" };
    struct str name = take(s, " \t");

    _Static_assert(ARRAY_LEN(names) == HINT_COUNT, "every hint has a name");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_is(name, names[i])) {
            f->hint = (enum histogram_hint)i;
            return true;
        }
    }
    return false;
}

static bool take_field(struct fields *f, struct str name, struct str *s)
{
    const struct {
        const char *name;
        double *to;
    } numbers[] = {
        { "schema", &f->schema },
        { "sum", &f->sum },
        { "count", &f->count },
        { "z_bucket", &f->zero_count },
        { "z_bucket_w", &f->zero_threshold },
        { "offset", &f->offset },
        { "n_offset", &f->negative_offset },
    };

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (str_is(name, numbers[i].name))
            return number_parse(take(s, " \t"), false, numbers[i].to, NULL);
    if (str_is(name, "buckets"))
        return take_list(f, s, &f->buckets, &f->n_buckets);
    if (str_is(name, "n_buckets"))
        return take_list(f, s, &f->negative, &f->n_negative);
    if (str_is(name, "custom_values"))
        return take_list(f, s, &f->custom, &f->n_custom);
    return str_is(name, "counter_reset_hint") && take_hint(f, s);
}

static struct histogram_side one_span(struct arena *a, double offset, const double *counts,
                                      size_t n)
{
    struct histogram_span *span = ARENA_NEW(a, struct histogram_span, 1);

    *span = (struct histogram_span){ (int32_t)offset, (uint32_t)n };
    return (struct histogram_side){ span, counts, n > 0, (uint32_t)n };
}

bool histogram_text_parse(struct str text, struct arena *a, struct histogram *out)
{
    struct fields f = { .arena = a };

    for (text = skip_blanks(text); text.len > 0; text = skip_blanks(text)) {
        struct str name = take(&text, ":");

        if (text.len == 0)
            return false;
        text = skip(text, 1);
        if (!take_field(&f, name, &text))
            return false;
    }
    *out = (struct histogram){ .schema = (int32_t)f.schema,
                               .hint = f.hint,
                               .count = f.count,
                               .sum = f.sum,
                               .zero_threshold = f.zero_threshold,
                               .zero_count = f.zero_count,
                               .positive = one_span(a, f.offset, f.buckets, f.n_buckets),
                               .negative = one_span(a, f.negative_offset, f.negative, f.n_negative),
                               .custom = f.custom,
                               .n_custom = (uint32_t)f.n_custom };
    return true;
}

/* ---- adding ---- */

/* The index that bucket i has when the schema is k lower. */
static int32_t lower(int32_t i, int32_t k)
{
    return ((i - 1) >> k) + 1;
}

/* Widens *min..*max to hold the buckets of a side, k schemas lower. */
static void widen(const struct histogram_side *s, int32_t k, int32_t *min, int32_t *max)
{
    int32_t at = 0;

    for (uint32_t i = 0; i < s->n_spans; i++) {
        at += s->spans[i].offset;
        if (s->spans[i].length > 0) {
            int32_t first = lower(at, k), last = lower(at + (int32_t)s->spans[i].length - 1, k);

            *min = first < *min ? first : *min;
            *max = last > *max ? last : *max;
        }
        at += (int32_t)s->spans[i].length;
    }
}

static void add_buckets(const struct histogram_side *s, int32_t k, int sign, int32_t min,
                        double *counts)
{
    int32_t at = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n_spans; i++) {
        at += s->spans[i].offset;
        for (uint32_t j = 0; j < s->spans[i].length; j++)
            counts[lower(at++, k) - min] += sign * s->counts[n++];
    }
}

static bool add_sides(struct arena *a, const struct histogram_side *x,
                      const struct histogram_side *y, int32_t k, int sign,
                      struct histogram_side *out)
{
    int32_t min = INT32_MAX, max = INT32_MIN;
    double *counts;

    *out = (struct histogram_side){ 0 };
    widen(x, 0, &min, &max);
    widen(y, k, &min, &max);
    if (min > max)
        return true;
    if (max - min >= MAX_NUMBERS)
        return false;
    counts = ARENA_NEW(a, double, (size_t)(max - min) + 1);
    add_buckets(x, 0, 1, min, counts);
    add_buckets(y, k, sign, min, counts);
    *out = one_span(a, min, counts, (size_t)(max - min) + 1);
    return true;
}

/* The hint of a sum. */
static enum histogram_hint add_hints(enum histogram_hint x, enum histogram_hint y)
{
    if (x == HINT_GAUGE || y == HINT_GAUGE)
        return HINT_GAUGE;
    return x == y ? x : HINT_UNKNOWN;
}

bool histogram_text_add(struct arena *a, const struct histogram *x, const struct histogram *y,
                        int sign, struct histogram *out)
{
    bool custom = x->schema == HISTOGRAM_CUSTOM_SCHEMA;
    int32_t k = custom ? 0 : y->schema - x->schema;

    if (custom != (y->schema == HISTOGRAM_CUSTOM_SCHEMA) || k < 0 || x->n_custom != y->n_custom
        || (custom && memcmp(x->custom, y->custom, x->n_custom * sizeof *x->custom) != 0)
        || (x->zero_threshold != y->zero_threshold && y->zero_count != 0))
        return false;
    *out = *x;
    out->hint = add_hints(x->hint, y->hint);
    out->count += sign * y->count;
    out->sum += sign * y->sum;
    out->zero_count += sign * y->zero_count;
    return add_sides(a, &x->positive, &y->positive, k, sign, &out->positive)
           && add_sides(a, &x->negative, &y->negative, k, sign, &out->negative);
}
