/* otlp_names.c
 *
 * With suffixes and underscores a name is a list of tokens, the runs of [A-Za-z0-9:] in it; unit
 * and suffix are further tokens, added unless they are among them. With UTF-8 the ends of the text
 * are compared instead.
 */
#include "ingest/otlp_names.h"

#include "base/banned.h"

static const char *const strategy_names[] = {
    [OTLP_UNDERSCORES_SUFFIXES] = "UnderscoreEscapingWithSuffixes",
    [OTLP_UNDERSCORES] = "UnderscoreEscapingWithoutSuffixes",
    [OTLP_UTF8_SUFFIXES] = "NoUTF8EscapingWithSuffixes",
    [OTLP_UTF8] = "NoTranslation",
};
_Static_assert(ARRAY_LEN(strategy_names) == OTLP_STRATEGY_COUNT, "every strategy has a name");

const char *otlp_strategy_name(enum otlp_strategy strategy)
{
    ASSERT(strategy < OTLP_STRATEGY_COUNT);
    return strategy_names[strategy];
}

bool otlp_strategy_parse(struct str name, enum otlp_strategy *out)
{
    for (size_t i = 0; i < OTLP_STRATEGY_COUNT; i++)
        if (str_is(name, strategy_names[i])) {
            *out = (enum otlp_strategy)i;
            return true;
        }
    return false;
}

/* ---- units (UCUM, as OpenTelemetry uses it) ---- */

struct unit {
    const char *ucum, *word;
};

static const struct unit units[] = {
    { "d", "days" },
    { "h", "hours" },
    { "min", "minutes" },
    { "s", "seconds" },
    { "ms", "milliseconds" },
    { "us", "microseconds" },
    { "ns", "nanoseconds" },
    { "By", "bytes" },
    { "KiBy", "kibibytes" },
    { "MiBy", "mebibytes" },
    { "GiBy", "gibibytes" },
    { "TiBy", "tibibytes" },
    { "KBy", "kilobytes" },
    { "MBy", "megabytes" },
    { "GBy", "gigabytes" },
    { "TBy", "terabytes" },
    { "m", "meters" },
    { "V", "volts" },
    { "A", "amperes" },
    { "J", "joules" },
    { "W", "watts" },
    { "g", "grams" },
    { "Cel", "celsius" },
    { "Hz", "hertz" },
    { "1", "" },
    { "%", "percent" },
};

static const struct unit per_units[] = {
    { "s", "second" }, { "m", "minute" }, { "h", "hour" }, { "d", "day" },
    { "w", "week" },   { "mo", "month" }, { "y", "year" },
};

static struct str trim_blanks(struct str s)
{
    while (s.len && (*s.ptr == ' ' || *s.ptr == '\t'))
        s = (struct str){ s.ptr + 1, s.len - 1 };
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* The word for a unit, itself when it is unknown, nothing for an annotation such as {token}. */
static struct str unit_word(struct str unit, const struct unit *table, size_t n)
{
    unit = trim_blanks(unit);
    if (unit.len && (memchr(unit.ptr, '{', unit.len) || memchr(unit.ptr, '}', unit.len)))
        return STR("");
    for (size_t i = 0; i < n; i++)
        if (str_is(unit, table[i].ucum))
            return str_from(table[i].word);
    return unit;
}

struct unit_words {
    struct str main, per; /* empty: none */
};

static struct unit_words unit_words(struct str unit)
{
    const char *slash = unit.len ? memchr(unit.ptr, '/', unit.len) : NULL;
    struct unit_words w = { STR(""), STR("") };

    if (slash) {
        size_t at = (size_t)(slash - unit.ptr);

        w.per = unit_word((struct str){ slash + 1, unit.len - at - 1 }, per_units,
                          ARRAY_LEN(per_units));
        unit.len = at;
    }
    w.main = unit_word(unit, units, ARRAY_LEN(units));
    return w;
}

/* ---- characters ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool in_token(char c)
{
    return is_alnum(c) || c == ':';
}

static bool in_name(char c)
{
    return in_token(c) || c == '_';
}

/* Takes the next run of characters off s; empty at the end. */
static struct str next_run(struct str *s, bool (*in)(char))
{
    struct str run;

    while (s->len && !in(*s->ptr))
        *s = (struct str){ s->ptr + 1, s->len - 1 };
    run = (struct str){ s->ptr, 0 };
    while (run.len < s->len && in(s->ptr[run.len]))
        run.len++;
    *s = (struct str){ s->ptr + run.len, s->len - run.len };
    return run;
}

/* ---- with underscores ---- */

struct tokens {
    struct buf *b;
    size_t at; /* where the name begins */
};

static void add_token(struct tokens *t, struct str token)
{
    if (token.len == 0)
        return;
    if (t->b->len > t->at)
        buf_u8(t->b, '_');
    else if (is_digit(*token.ptr))
        buf_u8(t->b, '_'); /* a name does not begin with a digit */
    buf_str(t->b, token);
}

static bool has_token(struct str name, struct str token)
{
    struct str run;

    while ((run = next_run(&name, in_token)).len)
        if (str_equal(run, token))
            return true;
    return false;
}

/* A unit's word as a token: what may not be in a name becomes one underscore. */
static void clean_unit(struct buf *b, struct str word)
{
    struct str run;
    size_t at = b->len;

    while ((run = next_run(&word, in_token)).len) {
        if (b->len > at)
            buf_u8(b, '_');
        buf_str(b, run);
    }
}

static void add_unit_tokens(struct tokens *t, struct str name, struct str unit)
{
    struct unit_words w = unit_words(unit);
    struct buf word = { 0 };

    clean_unit(&word, w.main);
    if (!has_token(name, buf_as_str(&word)))
        add_token(t, buf_as_str(&word));
    buf_clear(&word);
    clean_unit(&word, w.per);
    if (word.len && !has_token(name, buf_as_str(&word))) {
        add_token(t, STR("per"));
        add_token(t, buf_as_str(&word));
    }
    t->b->failed |= word.failed;
    buf_free(&word);
}

static void tokens_name(struct buf *b, struct str name, struct str unit, enum otlp_kind kind)
{
    struct str suffix = kind == OTLP_COUNTER                      ? STR("total")
                        : kind == OTLP_GAUGE && str_is(unit, "1") ? STR("ratio")
                                                                  : STR("");
    struct tokens t = { b, b->len };
    struct str rest = name, run;

    while ((run = next_run(&rest, in_token)).len)
        if (suffix.len == 0 || !str_equal(run, suffix))
            add_token(&t, run);
    add_unit_tokens(&t, name, unit);
    add_token(&t, suffix);
}

static void escaped_name(struct buf *b, struct str name)
{
    struct tokens t = { b, b->len };
    struct str run;

    while ((run = next_run(&name, in_name)).len)
        add_token(&t, run);
}

/* ---- with any characters ---- */

static struct str without_suffix(struct str name, struct str suffix)
{
    if (suffix.len && name.len > suffix.len + 1 && str_ends_with(name, suffix))
        name.len -= suffix.len + 1;
    return name;
}

static void add_suffix(struct buf *b, struct str suffix)
{
    if (suffix.len == 0)
        return;
    buf_u8(b, '_');
    buf_str(b, suffix);
}

static void utf8_name(struct buf *b, struct str name, struct str unit, enum otlp_kind kind)
{
    struct unit_words w = unit_words(unit);
    struct str last = kind == OTLP_COUNTER                      ? STR("total")
                      : kind == OTLP_GAUGE && str_is(unit, "1") ? STR("ratio")
                                                                : STR("");
    char per_text[64] = "per_";
    struct str per = { per_text, 0 };

    if (w.per.len && w.per.len < sizeof per_text - 4) {
        memcpy(per_text + 4, w.per.ptr, w.per.len);
        per.len = 4 + w.per.len;
    }
    name = without_suffix(without_suffix(name, last), per);
    buf_str(b, name);
    if (!str_ends_with(name, w.main))
        add_suffix(b, w.main);
    add_suffix(b, per);
    add_suffix(b, last);
}

void otlp_metric_name(struct buf *b, struct str name, struct str unit, enum otlp_kind kind,
                      enum otlp_strategy strategy)
{
    switch (strategy) {
    case OTLP_UNDERSCORES_SUFFIXES:
        tokens_name(b, name, unit, kind);
        break;
    case OTLP_UNDERSCORES:
        escaped_name(b, name);
        break;
    case OTLP_UTF8_SUFFIXES:
        utf8_name(b, name, unit, kind);
        break;
    case OTLP_UTF8:
    case OTLP_STRATEGY_COUNT:
        buf_str(b, name);
    }
}

void otlp_unit_name(struct buf *b, struct str unit)
{
    struct unit_words w = unit_words(unit);

    clean_unit(b, w.main);
    if (w.per.len) {
        buf_text(b, w.main.len ? "_per_" : "per_");
        clean_unit(b, w.per);
    }
}

/* ---- labels ---- */

bool otlp_label_is_plain(struct str name)
{
    char before = '_'; /* so that the name does not begin with one */

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (!is_alnum(c) && (c != '_' || before == '_'))
            return false;
        before = c;
    }
    return before != '_' && !is_digit(*name.ptr);
}

/* Puts text before what was appended since at. */
static void prepend(struct buf *b, size_t at, struct str text)
{
    if (!buf_reserve(b, text.len))
        return;
    memmove(b->ptr + at + text.len, b->ptr + at, b->len - at);
    memcpy(b->ptr + at, text.ptr, text.len);
    b->len += text.len;
}

/* Appends the name with every character that may not be in a label as an underscore; false when
 * nothing else is left. */
static bool escape_label(struct buf *b, struct str name, bool keep_runs)
{
    size_t at = b->len, n;
    bool any = false;

    for (; name.len; name = (struct str){ name.ptr + n, name.len - n }) {
        utf8_decode(name, &n);
        any |= is_alnum(*name.ptr);
        if (is_alnum(*name.ptr))
            buf_u8(b, (uint8_t)*name.ptr);
        else if (keep_runs || b->len == at || b->ptr[b->len - 1] != '_')
            buf_u8(b, '_');
    }
    return any;
}

bool otlp_label_name(struct buf *b, struct str name, const struct otlp_label_rules *rules)
{
    size_t at = b->len;
    bool any = false;

    if (rules->keep_utf8) {
        buf_str(b, name);
        for (size_t i = 0; i < name.len; i++)
            any |= name.ptr[i] != '_';
        return any;
    }
    any = escape_label(b, name, rules->keep_runs);
    if (!any || b->failed)
        return any;
    if (is_digit((char)b->ptr[at]))
        prepend(b, at, STR("key_"));
    else if (rules->key_underscore && b->ptr[at] == '_' && b->ptr[at + 1] != '_')
        prepend(b, at, STR("key"));
    return true;
}
