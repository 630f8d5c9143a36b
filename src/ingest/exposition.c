/* exposition.c -- a line at a time
 *
 *   sample   name ["{" labels "}"] value [time] ["#" "{" labels "}" value [time]]
 *            "{" "\"name\"" ["," labels] "}" value ...
 *   labels   [label ("," label)* [","]]      label   (name | "\"name\"") "=" "\"" value "\""
 *   comment  "#" ("TYPE" name type | "HELP" name text | "UNIT" name unit | "EOF" | anything)
 *
 * Blanks and tabs may stand between all of these. Times are milliseconds, in OpenMetrics seconds.
 */
#include "ingest/exposition.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/number.h"
#include "base/vec.h"

#include "base/banned.h"

enum { MAX_METADATA = 100000, SHOWN_BYTES = 40 };

/* ---- characters ---- */

enum { NAME_START = 1, NAME = 2, LABEL_START = 4, LABEL = 8, BLANK = 16, PLAIN = 32 };

static uint8_t classes[256]; /* filled by a constructor: a table of 256 numbers says less */

__attribute__((constructor)) static void fill_classes(void)
{
    for (unsigned c = 0; c < 256; c++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool digit = c >= '0' && c <= '9';

        classes[c] =
            (uint8_t)((letter || c == ':' ? NAME_START : 0)
                      | (letter || digit || c == ':' ? NAME : 0) | (letter ? LABEL_START : 0)
                      | (letter || digit ? LABEL : 0) | (c == ' ' || c == '\t' ? BLANK : 0)
                      | (c != '"' && c != '\\' && c != '\n' ? PLAIN : 0));
    }
}

static inline bool is(char c, unsigned class)
{
    return classes[(uint8_t)c] & class;
}

static inline void skip_blanks(struct exposition *x)
{
    while (x->p != x->end && is(*x->p, BLANK))
        x->p++;
}

static inline char peek(const struct exposition *x)
{
    return x->p != x->end ? *x->p : '\n';
}

/* The high bit of each byte of v that is zero; those above the lowest may be set wrongly. */
static inline uint64_t zero_bytes(uint64_t v)
{
    return (v - 0x0101010101010101u) & ~v & 0x8080808080808080u;
}

/* Behind the characters of a quoted text that stand for themselves. */
static inline const char *plain_end(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u;

    for (; end - p >= 8; p += 8) {
        uint64_t v = load_u64le(p);
        uint64_t found =
            zero_bytes(v ^ ones * '"') | zero_bytes(v ^ ones * '\\') | zero_bytes(v ^ ones * '\n');

        if (found)
            return p + __builtin_ctzll(found) / 8;
    }
    while (p != end && is(*p, PLAIN))
        p++;
    return p;
}

/* Whether n bytes are the same; names are too short for a call of memcmp() to be worth it. */
static inline bool same_bytes(const char *a, const char *b, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        if (load_u64le(a + i) != load_u64le(b + i))
            return false;
    if (n >= 8) /* the last eight, some of them again */
        return load_u64le(a + n - 8) == load_u64le(b + n - 8);
    for (; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* Notes what is wrong with the line, and where: the first fault stays. */
static bool wrong(struct exposition *x, const char *fault)
{
    const char *p = x->p;

    if (x->fault)
        return false;
    while (p != x->end && *p != '\n' && p - x->p < SHOWN_BYTES)
        p++;
    x->fault = fault;
    x->fault_at = (struct str){ x->p, (size_t)(p - x->p) };
    return false;
}

static void no_memory(struct exposition *x)
{
    (void)wrong(x, "out of memory"); /* ends the line; exposition_next() sees the array */
}

/* ---- words ---- */

static inline struct str take(struct exposition *x, unsigned start, unsigned class)
{
    const char *from = x->p;

    if (x->p != x->end && is(*x->p, start))
        for (x->p++; x->p != x->end && is(*x->p, class);)
            x->p++;
    return (struct str){ from, (size_t)(x->p - from) };
}

/* The number of bytes that text between quotes means; written to out. Escapes other than those of
 * the format stay as they are. */
static size_t unescape(const char *p, const char *end, char *out)
{
    size_t n = 0;

    while (p != end) {
        char c = *p++;

        if (c == '\\' && p != end && (*p == 'n' || *p == '\\' || *p == '"')) {
            c = *p == 'n' ? '\n' : *p;
            p++;
        }
        out[n++] = c;
    }
    return n;
}

/* A text in double quotes; x stands behind the first one. */
static bool take_quoted(struct exposition *x, struct str *out)
{
    const char *from = x->p;
    bool escaped = false;

    for (;;) {
        x->p = plain_end(x->p, x->end);
        if (peek(x) == '"')
            break;
        if (peek(x) == '\n')
            return wrong(x, "a quote is not closed on its line");
        escaped = true; /* a backslash, and what follows it */
        x->p += x->end - x->p > 1 && x->p[1] != '\n' ? 2 : 1;
    }
    *out = (struct str){ from, (size_t)(x->p - from) };
    x->p++;
    if (escaped) {
        char *text = arena_alloc(x->arena, out->len);

        if (!text) {
            no_memory(x);
            return false;
        }
        out->len = unescape(from, from + out->len, text);
        out->ptr = text;
    }
    return true;
}

/* Up to a blank or the line's end. */
static struct str take_word(struct exposition *x)
{
    const char *from;

    skip_blanks(x);
    for (from = x->p; x->p != x->end && *x->p != '\n' && !is(*x->p, BLANK); x->p++)
        ;
    return (struct str){ from, (size_t)(x->p - from) };
}

/* ---- numbers ---- */

/* As Go's ParseFloat, without hexadecimal and underscores, and without what is out of range. */
static bool parse_value(struct str s, double *v)
{
    bool out_of_range;

    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == 'x' || s.ptr[i] == 'X' || s.ptr[i] == 'p' || s.ptr[i] == 'P')
            return false;
    if (!number_parse(s, false, v, &out_of_range))
        return false;
    return !out_of_range;
}

static bool read_value(struct exposition *x, double *v)
{
    const char *at = x->p;
    struct str word = take_word(x);

    if (word.len && parse_value(word, v))
        return true;
    x->p = at;
    skip_blanks(x);
    if (word.len && word.ptr[word.len - 1] == '\r')
        return wrong(x, "lines end with CR LF, LF alone is needed");
    return wrong(x, "expected a value");
}

static bool read_seconds(struct exposition *x, struct str word, int64_t *t_ms)
{
    double s;

    if (!parse_value(word, &s) || !(fabs(s) < 1e13)) {
        x->p = word.ptr;
        return wrong(x, "expected a time in seconds");
    }
    *t_ms = (int64_t)(s * 1000);
    return true;
}

static bool read_time(struct exposition *x, struct str word, int64_t *t_ms)
{
    if (x->options->openmetrics)
        return read_seconds(x, word, t_ms);
    if (number_parse_i64(word, t_ms))
        return true;
    x->p = word.ptr;
    return wrong(x, "expected a time in milliseconds");
}

/* ---- labels ---- */

/* str_cmp() for names, which are never empty and mostly begin with different letters. */
static inline int compare(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = (uint8_t)*a.ptr - (uint8_t)*b.ptr;

    if (LIKELY(c != 0))
        return c;
    c = memcmp(a.ptr, b.ptr, n);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* Puts a label at its place among those of the line; an empty value is no label. */
static bool add_label(struct exposition *x, struct str name, struct str value)
{
    size_t at = x->n_set;
    int c = 1;

    if (value.len == 0)
        return true;
    while (at > 0 && (c = compare(x->set[at - 1].name, name)) > 0)
        at--;
    if (at > 0 && c == 0)
        return wrong(x, "a label stands there twice");
    if (x->n_set == ARRAY_LEN(x->set) - 2)
        return wrong(x, "too many labels");
    memmove(&x->set[at + 1], &x->set[at], (x->n_set - at) * sizeof *x->set);
    x->set[at] = (struct label){ name, value };
    x->n_set++;
    return true;
}

/* Sets a label whatever is there; there is room for it. */
static void put_label(struct exposition *x, struct label l)
{
    for (size_t i = 0; i < x->n_set; i++) {
        if (!str_equal(x->set[i].name, l.name))
            continue;
        memmove(&x->set[i], &x->set[i + 1], (x->n_set - i - 1) * sizeof *x->set);
        x->n_set--;
        break;
    }
    if (l.value.len && x->n_set < ARRAY_LEN(x->set) - 2)
        (void)add_label(x, l.name, l.value);
}

/* One label, or the metric's name in quotes. */
static bool read_label(struct exposition *x, struct str *metric)
{
    struct str name, value;
    bool quoted = peek(x) == '"';

    if (quoted) {
        x->p++;
        if (!take_quoted(x, &name))
            return false;
    } else {
        name = take(x, LABEL_START, LABEL);
    }
    if (name.len == 0)
        return wrong(x, "expected the name of a label");
    skip_blanks(x);
    if (quoted && peek(x) != '=') {
        if (metric->len)
            return wrong(x, "expected = behind the name of a label");
        *metric = name;
        return true;
    }
    if (peek(x) != '=')
        return wrong(x, "expected = behind the name of a label");
    x->p++;
    skip_blanks(x);
    if (peek(x) != '"')
        return wrong(x, "expected the value of a label in double quotes");
    x->p++;
    return take_quoted(x, &value) && add_label(x, name, value);
}

/* Behind "{". */
static bool read_labels(struct exposition *x, struct str *metric)
{
    for (;;) {
        skip_blanks(x);
        if (peek(x) == '}')
            break;
        if (!read_label(x, metric))
            return false;
        skip_blanks(x);
        if (peek(x) == ',')
            x->p++;
        else if (peek(x) != '}')
            return wrong(x, "expected , or } behind a label");
    }
    x->p++;
    return true;
}

/* Reads labels, behind "{", that have the names of the line before and plain values. False: nothing
 * has happened. */
static bool read_same_labels(struct exposition *x)
{
    const char *p = x->p;

    if (!x->shape.known)
        return false;
    for (size_t i = 0; i < x->shape.n; i++) {
        struct str name = x->shape.names[i];
        const char *from = p + name.len;

        if ((size_t)(x->end - p) <= name.len || !same_bytes(p, name.ptr, name.len))
            return false;
        p = plain_end(from, x->end);
        if (p == from || x->end - p < 2 || *p != '"' || p[1] != (i + 1 < x->shape.n ? ',' : '}'))
            return false;
        x->shape.set[x->shape.at[i]].value = (struct str){ from, (size_t)(p - from) };
        p += 2;
    }
    x->p = p;
    x->n_set = x->shape.n + 1;
    memcpy(x->set, x->shape.set, x->n_set * sizeof *x->set);
    return true;
}

/* Notes the names of the labels between from and the line's labels' end, when they are of the plain
 * form that read_same_labels() takes. All of them are in x->set, with the metric's name. */
static void learn_shape(struct exposition *x, const char *from)
{
    size_t n = x->n_set - 1;

    x->shape.known = false;
    if (n == 0 || n > EXPOSITION_SHAPE_LABELS)
        return;
    for (size_t i = 0; i < n; i++) {
        const char *p = from;
        size_t k = 0;

        while (p != x->p && is(*p, LABEL))
            p++;
        if (x->p - p < 3 || p[0] != '=' || p[1] != '"')
            return;
        x->shape.names[i] = (struct str){ from, (size_t)(p + 2 - from) };
        while (k < x->n_set && !str_equal(x->set[k].name, (struct str){ from, (size_t)(p - from) }))
            k++;
        for (p += 2; p != x->p && is(*p, PLAIN); p++)
            ;
        if (k == x->n_set || x->p - p < 2 || p[0] != '"' || p[1] != (i + 1 < n ? ',' : '}'))
            return;
        x->shape.at[i] = (uint8_t)k;
        from = p + 2;
    }
    for (size_t i = 0; i <= n; i++)
        if (str_equal(x->set[i].name, METRIC_NAME))
            x->shape.name_at = i;
    memcpy(x->shape.set, x->set, x->n_set * sizeof *x->set);
    x->shape.n = n;
    x->shape.known = from == x->p;
}

/* ---- families ---- */

static enum metric_type family_type(const struct exposition *x)
{
    return x->family == UINT32_MAX ? METRIC_UNKNOWN : x->metadata[x->family].type;
}

/* Series whose names may end so, by the type of their family. */
static const struct suffix {
    const char *text;
    unsigned types; /* a sum of 1 << enum metric_type */
} suffixes[] = {
    { "", ~0u },
    { "_total", 1u << METRIC_COUNTER },
    { "_created", 1u << METRIC_COUNTER | 1u << METRIC_HISTOGRAM | 1u << METRIC_SUMMARY },
    { "_bucket", 1u << METRIC_HISTOGRAM | 1u << METRIC_GAUGEHISTOGRAM },
    { "_sum", 1u << METRIC_HISTOGRAM | 1u << METRIC_SUMMARY },
    { "_count", 1u << METRIC_HISTOGRAM | 1u << METRIC_SUMMARY },
    { "_gsum", 1u << METRIC_GAUGEHISTOGRAM },
    { "_gcount", 1u << METRIC_GAUGEHISTOGRAM },
    { "_info", 1u << METRIC_INFO },
};

/* The suffix that makes the family's name this one; NULL: it is of another family. */
static const char *suffix_in_family(const struct exposition *x, struct str name)
{
    struct str family;

    if (x->family == UINT32_MAX)
        return NULL;
    family = x->metadata[x->family].family;
    if (!str_starts_with(name, family))
        return NULL;
    name = (struct str){ name.ptr + family.len, name.len - family.len };
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (suffixes[i].types & 1u << family_type(x) && str_is(name, suffixes[i].text))
            return suffixes[i].text;
    return NULL;
}

/* The metadata entry of a family: that of the lines before, or a new one. */
static struct metric_metadata *family_entry(struct exposition *x, struct str name)
{
    struct str kept;

    if (x->family != UINT32_MAX && str_equal(x->metadata[x->family].family, name))
        return &x->metadata[x->family];
    if (x->n_metadata == MAX_METADATA) {
        (void)wrong(x, "too many TYPE and HELP lines");
        return NULL;
    }
    kept = str_copy(x->kept, name);
    if (!kept.ptr
        || !vec_reserve(&x->metadata, &x->cap_metadata, x->n_metadata + 1, sizeof *x->metadata)) {
        no_memory(x);
        return NULL;
    }
    x->family = (uint32_t)x->n_metadata++;
    x->metadata[x->family] =
        (struct metric_metadata){ .family = kept, .help = STR(""), .unit = STR("") };
    return &x->metadata[x->family];
}

/* ---- comments ---- */

static bool parse_type(struct str word, bool openmetrics, enum metric_type *type)
{
    if (!openmetrics && str_is(word, "untyped")) {
        *type = METRIC_UNKNOWN;
        return true;
    }
    for (int i = 0; i < METRIC_TYPE_COUNT; i++)
        if (str_is(word, metric_type_name((enum metric_type)i))) {
            *type = (enum metric_type)i;
            return true;
        }
    return false;
}

static bool read_family_name(struct exposition *x, struct str *name)
{
    skip_blanks(x);
    if (peek(x) == '"') {
        x->p++;
        return take_quoted(x, name);
    }
    *name = take(x, NAME_START, NAME);
    return name->len > 0 || wrong(x, "expected the name of a metric");
}

/* The rest of the line, without its escapes. */
static struct str read_rest(struct exposition *x)
{
    const char *from, *to;
    char *text;

    skip_blanks(x);
    from = x->p;
    while (peek(x) != '\n')
        x->p++;
    for (to = x->p; to != from && is(to[-1], BLANK); to--)
        ;
    text = arena_alloc(x->kept, (size_t)(to - from) + 1);
    if (!text) {
        no_memory(x);
        return STR("");
    }
    return (struct str){ text, unescape(from, to, text) };
}

static void read_type_line(struct exposition *x)
{
    enum metric_type type;
    struct metric_metadata *m;
    struct str name, word;

    if (!read_family_name(x, &name))
        return;
    word = take_word(x);
    if (!parse_type(word, x->options->openmetrics, &type)) {
        x->p = word.ptr;
        (void)wrong(x, "unknown type of a metric");
        return;
    }
    m = family_entry(x, name);
    if (m)
        m->type = type;
}

static void read_text_line(struct exposition *x, bool help)
{
    struct metric_metadata *m;
    struct str name, text;

    if (!read_family_name(x, &name))
        return;
    text = read_rest(x);
    if (!utf8_valid(text)) {
        (void)wrong(x, "the text is not UTF-8");
        return;
    }
    m = family_entry(x, name);
    if (m && help)
        m->help = text;
    else if (m)
        m->unit = text;
}

static void read_comment(struct exposition *x)
{
    struct str word = take_word(x);

    if (str_is(word, "TYPE"))
        read_type_line(x);
    else if (str_is(word, "HELP"))
        read_text_line(x, true);
    else if (x->options->openmetrics && str_is(word, "UNIT"))
        read_text_line(x, false);
    else if (x->options->openmetrics && str_is(word, "EOF"))
        x->ended = true;
}

/* ---- samples ---- */

static bool reserve(struct exposition *x)
{
    size_t n = x->batch.n_series + 1;

    if (LIKELY(n <= x->cap_series && n <= x->cap_samples && n <= x->cap_starts
               && n <= x->cap_families && x->n_labels + ARRAY_LEN(x->set) <= x->cap_labels))
        return true;
    if (vec_reserve(&x->series, &x->cap_series, n, sizeof *x->series)
        && vec_reserve(&x->samples, &x->cap_samples, n, sizeof *x->samples)
        && vec_reserve(&x->starts, &x->cap_starts, n, sizeof *x->starts)
        && vec_reserve(&x->families, &x->cap_families, n, sizeof *x->families)
        && vec_reserve(&x->labels, &x->cap_labels, x->n_labels + ARRAY_LEN(x->set),
                       sizeof *x->labels))
        return true;
    no_memory(x);
    return false;
}

/* The value of le or quantile as a float, "1" as "1.0". The few that there are come again and
 * again. */
static struct str as_float(struct exposition *x, struct str text)
{
    size_t slot =
        text.len ? (text.len * 31 + (uint8_t)text.ptr[text.len - 1] * 7u + (uint8_t)text.ptr[0])
                       % ARRAY_LEN(x->bounds)
                 : 0;
    char printed[NUMBER_MAX + 2];
    struct str kept = text;
    size_t n;
    double v;

    if (str_equal(x->bounds[slot].text, text))
        return x->bounds[slot].number;
    if (!parse_value(text, &v))
        return text;
    n = number_format(v, NUMBER_G, printed);
    if (isfinite(v) && !memchr(printed, '.', n) && !memchr(printed, 'e', n)) {
        memcpy(printed + n, ".0", 2);
        n += 2;
    }
    if (!str_equal(text, (struct str){ printed, n }))
        kept = str_copy(x->arena, (struct str){ printed, n });
    if (!kept.ptr) {
        no_memory(x);
        return text;
    }
    x->bounds[slot].text = text;
    x->bounds[slot].number = kept;
    return kept;
}

static void normalise_bound(struct exposition *x, struct str metric)
{
    enum metric_type type = family_type(x);
    const char *name = NULL;

    if ((type == METRIC_HISTOGRAM || type == METRIC_GAUGEHISTOGRAM)
        && str_ends_with(metric, STR("_bucket")))
        name = "le";
    else if (type == METRIC_SUMMARY)
        name = "quantile";
    for (size_t i = 0; name && i < x->n_set; i++)
        if (str_is(x->set[i].name, name))
            x->set[i].value = as_float(x, x->set[i].value);
}

/* An exemplar behind a sample: # {labels} value [time]. */
static bool read_exemplar(struct exposition *x, int64_t t_ms, struct exemplar *out)
{
    struct label own[ARRAY_LEN(x->set)];
    size_t n_own = x->n_set;
    struct str metric = STR(""), word;
    struct label *items;
    bool ok;

    memcpy(own, x->set, n_own * sizeof *own);
    x->p++; /* the # */
    skip_blanks(x);
    if (peek(x) != '{')
        return wrong(x, "expected { behind the # of an exemplar");
    x->p++;
    x->n_set = 0;
    ok = read_labels(x, &metric) && read_value(x, &out->v);
    items = ARENA_NEW(x->arena, struct label, x->n_set);
    if (items)
        memcpy(items, x->set, x->n_set * sizeof *items);
    else
        no_memory(x);
    out->labels = (struct labels){ items, x->n_set };
    out->t_ms = t_ms;
    memcpy(x->set, own, n_own * sizeof *own);
    x->n_set = n_own;
    word = take_word(x);
    return ok && items && (word.len == 0 || read_seconds(x, word, &out->t_ms));
}

/* What stands behind the value. */
static bool read_tail(struct exposition *x, int64_t *t_ms, struct exemplar *exemplar,
                      bool *has_exemplar)
{
    skip_blanks(x);
    *t_ms = x->options->default_t_ms;
    if (peek(x) != '\n' && peek(x) != '#') {
        struct str word = take_word(x);

        if (x->options->refuse_times) {
            x->p = word.ptr;
            return wrong(x, "pushed metrics must not have timestamps");
        }
        if (!read_time(x, word, t_ms))
            return false;
        skip_blanks(x);
    }
    *has_exemplar = x->options->openmetrics && peek(x) == '#';
    if (*has_exemplar && !read_exemplar(x, *t_ms, exemplar))
        return false;
    skip_blanks(x);
    return peek(x) == '\n' || wrong(x, "expected the end of the line");
}

/* The labels of series i that tell its metric point: all but name, le and quantile. */
static bool same_point(const struct exposition *x, size_t i)
{
    const struct write_series *s = &x->series[i];
    const struct label *l = x->labels + s->first_exemplar; /* see add_series() */
    size_t k = 0;

    for (size_t j = 0; j < s->n_labels; j++) {
        if (str_is(l[j].name, "__name__") || str_is(l[j].name, "le")
            || str_is(l[j].name, "quantile"))
            continue;
        while (k < x->n_set && str_is(x->set[k].name, "__name__"))
            k++;
        if (k == x->n_set || !str_equal(l[j].name, x->set[k].name)
            || !str_equal(l[j].value, x->set[k].value))
            return false;
        k++;
    }
    while (k < x->n_set && str_is(x->set[k].name, "__name__"))
        k++;
    return k == x->n_set;
}

/* A _created sample: when the series of the metric point before it began. One that has a start got
 * it from a line before, and so did those in front of it. */
static void note_start(struct exposition *x, double seconds)
{
    int64_t start_ms = seconds > 0 && seconds < 1e13 ? (int64_t)(seconds * 1000) : 0;

    for (size_t i = x->batch.n_series; start_ms && i-- > 0 && !x->starts[i];) {
        if (x->families[i] != x->family || !same_point(x, i))
            return;
        x->starts[i] = start_ms;
    }
}

/* While a part is read, first_exemplar tells where the series' labels are, since the array still
 * moves; finish_part() puts in what it is called. */
static void add_series(struct exposition *x, double v, int64_t t_ms, const char *suffix)
{
    size_t n = x->batch.n_series;

    memcpy(x->labels + x->n_labels, x->set, x->n_set * sizeof *x->labels);
    x->series[n] = (struct write_series){
        .n_labels = x->n_set, .first_sample = n, .n_samples = 1, .first_exemplar = x->n_labels
    };
    x->n_labels += x->n_set;
    x->samples[n] = (struct sample){ t_ms, v };
    x->starts[n] = 0;
    x->families[n] = suffix ? x->family : UINT32_MAX;
    x->batch.n_series = n + 1;
    x->n_samples++;
}

static void add_exemplar(struct exposition *x, const struct exemplar *exemplar)
{
    size_t n = x->batch.n_exemplars;

    if (!vec_reserve(&x->exemplars, &x->cap_exemplars, n + 1, sizeof *x->exemplars)) {
        no_memory(x);
        return;
    }
    x->exemplars[n] = *exemplar;
    x->batch.n_exemplars = n + 1;
    x->series[x->batch.n_series - 1].n_exemplars = 1;
}

/* The metric's name and the labels. */
static bool read_series(struct exposition *x, struct str *metric)
{
    const char *from;

    *metric = take(x, NAME_START, NAME);
    x->n_set = 0;
    skip_blanks(x);
    from = x->p + 1;
    if (peek(x) == '{') {
        x->p++;
        if (metric->len && read_same_labels(x)) {
            x->set[x->shape.name_at].value = *metric;
            return true;
        }
        if (!read_labels(x, metric))
            return false;
    }
    if (metric->len == 0)
        return wrong(x, "expected the name of a metric");
    if (!add_label(x, METRIC_NAME, *metric))
        return false;
    learn_shape(x, from);
    return true;
}

static void read_sample(struct exposition *x)
{
    struct exemplar exemplar;
    bool has_exemplar = false;
    const char *suffix;
    struct str metric;
    int64_t t_ms;
    double v;

    if (!read_series(x, &metric) || !read_value(x, &v)
        || !read_tail(x, &t_ms, &exemplar, &has_exemplar))
        return;
    suffix = suffix_in_family(x, metric);
    for (size_t i = 0; i < x->options->n_extra; i++)
        put_label(x, x->options->extra[i]);
    normalise_bound(x, metric);
    if (x->options->openmetrics && suffix && strcmp(suffix, "_created") == 0) {
        note_start(x, v);
        return;
    }
    if (x->fault || !reserve(x))
        return;
    add_series(x, v, t_ms, suffix);
    if (has_exemplar)
        add_exemplar(x, &exemplar);
}

/* ---- lines ---- */

static void report(struct exposition *x)
{
    if (x->n_bad_lines++ < EXPOSITION_MAX_NAMED)
        buf_printf(&x->text, "line %zu: %s%s%.*s%s\n", x->line, x->fault,
                   x->fault_at.len ? ", found \"" : "", STR_ARG(x->fault_at),
                   x->fault_at.len ? "\"" : "");
}

static void read_line(struct exposition *x)
{
    x->line++;
    x->fault = NULL;
    skip_blanks(x);
    if (x->ended && peek(x) != '\n') {
        (void)wrong(x, "more lines behind # EOF");
        x->end = x->p; /* the rest is not looked at */
    } else if (peek(x) == '#') {
        x->p++;
        read_comment(x);
    } else if (peek(x) != '\n' && !(peek(x) == '\r' && x->end - x->p > 1 && x->p[1] == '\n')) {
        read_sample(x);
    }
    if (x->fault)
        report(x);
    if (peek(x) != '\n') {
        const char *lf = memchr(x->p, '\n', (size_t)(x->end - x->p));

        x->p = lf ? lf : x->end;
    }
    if (x->p != x->end)
        x->p++;
}

/* The arrays have stopped moving: lets the batch point into them. */
static void finish_part(struct exposition *x)
{
    size_t n_exemplars = 0;

    for (size_t i = 0; i < x->batch.n_series; i++) {
        struct write_series *s = &x->series[i];

        s->labels = x->labels + s->first_exemplar;
        s->first_exemplar = n_exemplars;
        n_exemplars += s->n_exemplars;
    }
    x->batch.series = x->series;
    x->batch.samples = x->samples;
    x->batch.n_samples = x->batch.n_series;
    x->batch.start_ms = x->starts;
    x->batch.exemplars = x->exemplars;
    x->batch.n_metadata = x->n_metadata - x->n_written_metadata;
    if (x->batch.n_metadata)
        x->batch.metadata = x->metadata + x->n_written_metadata;
}

static void forget_part(struct exposition *x)
{
    x->n_written_metadata = x->n_metadata;
    x->batch = (struct write_batch){ 0 };
    x->n_labels = 0;
    memset(x->bounds, 0, sizeof x->bounds);
    if (x->arena)
        arena_reset(x->arena);
}

enum errc exposition_begin(struct exposition *x, const struct exposition_options *options,
                           struct str text, struct err *err)
{
    if ((!x->arena && !(x->arena = arena_new(0))) || (!x->kept && !(x->kept = arena_new(0))))
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    forget_part(x);
    arena_reset(x->kept);
    x->options = options;
    x->begin = x->p = text.len ? text.ptr : "";
    x->end = x->begin + text.len;
    x->line = 0;
    x->ended = false;
    x->family = UINT32_MAX;
    x->shape.known = false;
    x->n_metadata = x->n_written_metadata = 0;
    x->n_bad_lines = x->n_samples = 0;
    buf_clear(&x->text);
    return OK;
}

/* Metadata of a part whose HELP line comes in the next one would be written without it: a part does
 * not end between them. */
static bool is_full(const struct exposition *x, size_t max)
{
    return x->batch.n_series >= max && peek(x) != '#';
}

enum errc exposition_next(struct exposition *x, size_t max, struct err *err)
{
    forget_part(x);
    while (x->p != x->end && !is_full(x, max)) {
        read_line(x);
        if (x->fault && strcmp(x->fault, "out of memory") == 0)
            return err_set(err, ERR_NOMEM, 0, "out of memory");
    }
    if (x->p == x->end && x->options->openmetrics && !x->ended) {
        x->line++;
        x->fault = "the text does not end with # EOF";
        x->fault_at = STR("");
        x->ended = true;
        report(x);
    }
    finish_part(x);
    return OK;
}

struct str exposition_family(const struct exposition *x, size_t series)
{
    const struct write_series *s = &x->batch.series[series];

    if (x->families[series] != UINT32_MAX)
        return x->metadata[x->families[series]].family;
    return labels_get((struct labels){ s->labels, s->n_labels }, METRIC_NAME);
}

/* What is kept of each array for the next request. */
enum { KEEP_BYTES = 4 << 20 };

void exposition_recycle(struct exposition *x)
{
    x->n_metadata = 0;
    forget_part(x);
    if (x->kept)
        arena_reset(x->kept);
    vec_shrink(&x->labels, &x->cap_labels, sizeof *x->labels, KEEP_BYTES);
    vec_shrink(&x->series, &x->cap_series, sizeof *x->series, KEEP_BYTES);
    vec_shrink(&x->samples, &x->cap_samples, sizeof *x->samples, KEEP_BYTES);
    vec_shrink(&x->starts, &x->cap_starts, sizeof *x->starts, KEEP_BYTES);
    vec_shrink(&x->families, &x->cap_families, sizeof *x->families, KEEP_BYTES);
    vec_shrink(&x->exemplars, &x->cap_exemplars, sizeof *x->exemplars, KEEP_BYTES);
    vec_shrink(&x->metadata, &x->cap_metadata, sizeof *x->metadata, KEEP_BYTES);
}

void exposition_free(struct exposition *x)
{
    arena_free(x->arena);
    arena_free(x->kept);
    buf_free(&x->text);
    free(x->labels);
    free(x->series);
    free(x->samples);
    free(x->starts);
    free(x->families);
    free(x->exemplars);
    free(x->metadata);
    *x = (struct exposition){ 0 };
}
