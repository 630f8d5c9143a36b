/* promql_script.c
 *
 * Lines are trimmed, comments count as empty, a block ends at an empty line.
 */
#include "promql_script.h"

#include <ctype.h>
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/duration.h"
#include "base/number.h"
#include "db_tools.h"
#include "promql_load.h"
#include "promql_nhcb.h"
#include "query/histogram_buckets.h"
#include "query/query.h"

#include "base/banned.h"

enum { MINUTE_MS = 60000, MAX_EXPECTED = 4096, MAX_SERIES = 4096, MAX_TEXTS = 16 };

struct script {
    const char *path;
    FILE *report;
    struct script_counts *counts;
    struct arena *arena;
    struct str *lines;
    size_t n_lines, at;
    struct db *db;
};

/* `expect fail`, `expect warn` and so on, with what the text must be. */
struct text_check {
    enum { ANY_TEXT, TEXT_EQUALS, TEXT_MATCHES } how;
    struct str text;
};

struct text_checks {
    struct text_check items[MAX_TEXTS];
    size_t n;
};

struct eval {
    size_t line;
    struct str query;
    bool is_range;
    int64_t at_ms, start_ms, end_ms, step_ms;
    bool ordered, fail, no_warn, no_info;
    bool is_samples; /* expect range vector */
    struct text_checks fail_texts, warns, infos;
    bool has_scalar, has_string;
    double scalar;
    struct str string;
    struct series_line *expected;
    size_t n_expected;
};

/* ---- words ---- */

static struct str trim(struct str s)
{
    while (s.len > 0 && isspace((unsigned char)*s.ptr))
        s = (struct str){ s.ptr + 1, s.len - 1 };
    while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Takes the next word off *s. */
static struct str word(struct str *s)
{
    struct str w = trim(*s);
    size_t n = 0;

    while (n < w.len && !isspace((unsigned char)w.ptr[n]))
        n++;
    *s = trim((struct str){ w.ptr + n, w.len - n });
    return (struct str){ w.ptr, n };
}

static bool word_is(struct str *s, const char *expected)
{
    return str_is(word(s), expected);
}

static bool duration_word(struct str *s, int64_t *ms)
{
    return duration_parse(word(s), ms, NULL) == OK;
}

/* ---- reading ---- */

static bool read_lines(struct script *s)
{
    FILE *f = fopen(s->path, "r");
    char *text = NULL;
    size_t cap = 0, n_cap = 0;
    ssize_t n;

    if (!f)
        return false;
    while ((n = getline(&text, &cap, f)) >= 0) {
        struct str line = trim((struct str){ text, (size_t)n });

        if (s->n_lines == n_cap) {
            size_t grown = n_cap ? 2 * n_cap : 256;

            s->lines =
                arena_grow(s->arena, s->lines, n_cap * sizeof *s->lines, grown * sizeof *s->lines);
            n_cap = grown;
        }
        s->lines[s->n_lines++] =
            line.len > 0 && *line.ptr == '#' ? STR("") : str_copy(s->arena, line);
    }
    free(text);
    fclose(f);
    return true;
}

static bool next_in_block(struct script *s, struct str *line)
{
    if (s->at == s->n_lines || s->lines[s->at].len == 0)
        return false;
    *line = s->lines[s->at++];
    return true;
}

static bool run_clear(struct script *s)
{
    struct db_options o = test_db_options(NULL);

    db_close(s->db);
    s->db = NULL;
    return db_open(&o, &s->db, NULL) == OK;
}

/* The lines of a load block; of two for the same series the later one counts. */
static bool read_load(struct script *s, struct series_line *series, size_t *n)
{
    struct str line, starts = { 0 }; /* of the next line */

    while (next_in_block(s, &line)) {
        struct series_line one;
        struct str rest = line;
        size_t at = 0;

        if (str_ends_with(word(&rest), STR("@st"))) {
            starts = line;
            continue;
        }
        if (*n == MAX_SERIES || !series_line_parse(line, s->arena, &one))
            return false;
        if (starts.len > 0 && !series_line_starts(&one, starts))
            return false;
        starts = STR("");
        while (at < *n && !labels_equal(series[at].labels, one.labels))
            at++;
        series[at] = one;
        *n += at == *n;
    }
    return true;
}

static bool run_load(struct script *s, struct str args, bool with_nhcb)
{
    struct series_line *series = ARENA_NEW(s->arena, struct series_line, MAX_SERIES);
    size_t n = 0, n_native = 0;
    int64_t step;

    if (!duration_word(&args, &step) || !read_load(s, series, &n))
        return false;
    if (with_nhcb && !nhcb_from_classic(series, n, s->arena, series + n, MAX_SERIES - n, &n_native))
        return false;
    n += n_native;
    for (size_t i = 0; i < n; i++)
        if (!series_line_store(s->db, &series[i], step))
            return false;
    return true;
}

static bool add_check(struct text_checks *c, struct str args)
{
    struct text_check check = { ANY_TEXT, { 0 } };

    if (str_starts_with(args, STR("msg:")))
        check.how = TEXT_EQUALS;
    else if (str_starts_with(args, STR("regex:")))
        check.how = TEXT_MATCHES;
    else if (args.len > 0)
        return false;
    if (check.how != ANY_TEXT) {
        size_t skip = check.how == TEXT_EQUALS ? 4 : 6;

        check.text = trim((struct str){ args.ptr + skip, args.len - skip });
    }
    if (c->n == MAX_TEXTS)
        return false;
    c->items[c->n++] = check;
    return true;
}

/* expect range vector from A to B step S */
static bool parse_expected_range(struct eval *e, struct str args)
{
    e->is_samples = true;
    return word_is(&args, "vector") && word_is(&args, "from") && duration_word(&args, &e->start_ms)
           && word_is(&args, "to") && duration_word(&args, &e->end_ms) && word_is(&args, "step")
           && duration_word(&args, &e->step_ms);
}

static bool parse_expect(struct eval *e, struct str args)
{
    struct str what = word(&args);

    if (str_is(what, "ordered"))
        return e->ordered = true;
    if (str_is(what, "no_warn"))
        return e->no_warn = true;
    if (str_is(what, "no_info"))
        return e->no_info = true;
    if (str_is(what, "warn"))
        return add_check(&e->warns, args);
    if (str_is(what, "info"))
        return add_check(&e->infos, args);
    if (str_is(what, "fail")) {
        e->fail = true;
        return add_check(&e->fail_texts, args);
    }
    if (str_is(what, "range"))
        return parse_expected_range(e, args);
    if (str_is(what, "string") && args.len >= 2) {
        e->has_string = true;
        e->string = (struct str){ args.ptr + 1, args.len - 2 };
        return true;
    }
    return false;
}

static bool parse_expectation(struct script *s, struct eval *e, struct str line)
{
    struct str rest = line;

    if (str_is(word(&rest), "expect"))
        return parse_expect(e, rest);
    if (number_parse(line, false, &e->scalar, NULL))
        return e->has_scalar = true;
    if (e->n_expected == MAX_EXPECTED)
        return false;
    return series_line_parse(line, s->arena, &e->expected[e->n_expected++]);
}

/* instant at T QUERY | range from A to B step S QUERY */
static bool parse_eval(struct script *s, struct eval *e, struct str args)
{
    struct str kind = word(&args), line;

    e->line = s->at;
    e->is_range = str_is(kind, "range");
    if (e->is_range) {
        if (!word_is(&args, "from") || !duration_word(&args, &e->start_ms) || !word_is(&args, "to")
            || !duration_word(&args, &e->end_ms) || !word_is(&args, "step")
            || !duration_word(&args, &e->step_ms))
            return false;
    } else {
        struct str rest = args;

        if (!str_is(kind, "instant"))
            return false;
        if (word_is(&rest, "at")) {
            args = rest;
            if (!duration_word(&args, &e->at_ms))
                return false;
        }
        e->start_ms = e->end_ms = e->at_ms;
        e->step_ms = 1;
    }
    e->query = args;
    e->expected = ARENA_NEW(s->arena, struct series_line, MAX_EXPECTED);
    while (next_in_block(s, &line))
        if (!parse_expectation(s, e, line))
            return false;
    return true;
}

/* ---- comparing ---- */

static bool almost_equal(double a, double b)
{
    const double tolerance = 1e-6;

    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (a == b)
        return true;
    if (a == 0 || b == 0 || fabs(a) + fabs(b) < 2.2250738585072014e-308)
        return fabs(a - b) < tolerance * 2.2250738585072014e-308;
    return fabs(a - b) / fmin(fabs(a) + fabs(b), 1.7976931348623157e308) < tolerance;
}

static bool regex_found(struct str pattern, const char *text)
{
    char *p = strndup(pattern.ptr, pattern.len);
    regex_t re;
    bool found = false;

    if (p && regcomp(&re, p, REG_EXTENDED | REG_NOSUB) == 0) {
        found = regexec(&re, text, 0, NULL, 0) == 0;
        regfree(&re);
    }
    free(p);
    return found;
}

static bool text_fits(const struct text_check *c, struct str text)
{
    char *copy;
    bool fits;

    if (c->how == ANY_TEXT)
        return true;
    if (c->how == TEXT_EQUALS)
        return str_equal(c->text, trim(text));
    copy = strndup(text.ptr, text.len);
    fits = copy && regex_found(c->text, copy);
    free(copy);
    return fits;
}

/* Every check must fit a text, and when there are checks every text some check. */
static const char *compare_texts(const struct text_checks *c, bool none, const struct str *texts,
                                 size_t n)
{
    if (none && n > 0)
        return texts[0].ptr;
    for (size_t i = 0; i < c->n; i++) {
        bool found = false;

        for (size_t j = 0; j < n; j++)
            found = found || text_fits(&c->items[i], texts[j]);
        if (!found)
            return n > 0 ? texts[0].ptr : "no annotation";
    }
    for (size_t j = 0; c->n > 0 && j < n; j++) {
        bool found = false;

        for (size_t i = 0; i < c->n; i++)
            found = found || text_fits(&c->items[i], texts[j]);
        if (!found)
            return texts[j].ptr;
    }
    return NULL;
}

static const struct result_series *find_series(const struct query_result *r, struct labels ls)
{
    for (size_t i = 0; i < r->n_series; i++)
        if (labels_equal(r->series[i].labels, ls))
            return &r->series[i];
    return NULL;
}

/* The next bucket that has counts. */
static bool next_bucket(struct bucket_walk *w, struct histogram_bucket *b)
{
    while (bucket_walk_next(w, b))
        if (b->count != 0)
            return true;
    return false;
}

/* The hint counts only where one is expected. */
static bool same_histogram(const struct histogram *expected, const struct histogram *got)
{
    struct bucket_walk x = bucket_walk(expected, false), y = bucket_walk(got, false);
    struct histogram_bucket a, b;

    if (expected->schema != got->schema || !almost_equal(expected->count, got->count)
        || !almost_equal(expected->sum, got->sum)
        || !almost_equal(expected->zero_threshold, got->zero_threshold)
        || !almost_equal(expected->zero_count, got->zero_count)
        || expected->n_custom != got->n_custom
        || (expected->hint != HINT_UNKNOWN && expected->hint != got->hint))
        return false;
    for (uint32_t i = 0; i < got->n_custom; i++)
        if (!almost_equal(expected->custom[i], got->custom[i]))
            return false;
    while (next_bucket(&x, &a))
        if (!next_bucket(&y, &b) || !almost_equal(a.lower, b.lower)
            || !almost_equal(a.upper, b.upper) || !almost_equal(a.count, b.count))
            return false;
    return !next_bucket(&y, &b);
}

static bool same_value(const struct series_value *expected, const struct result_series *got,
                       size_t point)
{
    const struct histogram *h = result_histogram(got, point);

    if (expected->kind == VALUE_HISTOGRAM)
        return h && same_histogram(expected->h, h);
    return !h && almost_equal(expected->v, got->points[point].v);
}

/* Compares one series with the expected values at start, start + step, … */
static bool same_points(const struct eval *e, const struct series_line *expected,
                        const struct result_series *got)
{
    size_t next = 0;

    for (size_t i = 0; i < expected->n; i++) {
        int64_t t_ms = e->start_ms + (int64_t)i * e->step_ms;

        if (expected->values[i].kind == VALUE_GAP)
            continue;
        if (next == got->n_points || got->points[next].t_ms != t_ms
            || !same_value(&expected->values[i], got, next))
            return false;
        next++;
    }
    return next == got->n_points;
}

/* What a series has got first. */
static const char *first_value(struct script *s, const struct result_series *got)
{
    struct buf b = { 0 };
    const char *text;

    if (!result_histogram(got, 0))
        return arena_printf(s->arena, "%g", got->points[0].v);
    histogram_print(&b, got->h[0]);
    text = arena_printf(s->arena, "%.*s of schema %d, zeros up to %g, hint %d",
                        STR_ARG(buf_as_str(&b)), got->h[0]->schema, got->h[0]->zero_threshold,
                        got->h[0]->hint);
    buf_free(&b);
    return text;
}

static bool is_empty(const struct series_line *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->values[i].kind != VALUE_GAP)
            return false;
    return true;
}

static const char *print_labels(struct script *s, const char *what, struct labels ls)
{
    struct buf b = { 0 };
    const char *text;

    buf_text(&b, what);
    labels_print(&b, ls);
    text = arena_strndup(s->arena, (const char *)b.ptr, b.len);
    buf_free(&b);
    return text;
}

/* NULL when the series are as expected, else what differs. */
static const char *compare_series(struct script *s, const struct eval *e,
                                  const struct query_result *r)
{
    size_t n = 0;

    for (size_t i = 0; i < e->n_expected; i++) {
        const struct series_line *expected = &e->expected[i];
        const struct result_series *got = find_series(r, expected->labels);

        if (is_empty(expected))
            continue;
        n++;
        if (!got)
            return print_labels(s, "missing: ", expected->labels);
        if (!same_points(e, expected, got))
            return arena_printf(s->arena, "%s, got %s",
                                print_labels(s, "other values: ", expected->labels),
                                first_value(s, got));
        if (e->ordered && got != &r->series[i])
            return print_labels(s, "out of order: ", expected->labels);
    }
    if (n == r->n_series)
        return NULL;
    for (size_t i = 0; i < r->n_series; i++) {
        bool found = false;

        for (size_t j = 0; j < e->n_expected; j++)
            found = found || labels_equal(e->expected[j].labels, r->series[i].labels);
        if (!found)
            return print_labels(s, "unexpected: ", r->series[i].labels);
    }
    return "a series was expected to be empty";
}

static const char *compare_result(struct script *s, const struct eval *e,
                                  const struct query_result *r)
{
    const char *differs = compare_texts(&e->warns, e->no_warn, r->warnings, r->n_warnings);

    if (!differs)
        differs = compare_texts(&e->infos, e->no_info, r->infos, r->n_infos);
    if (differs)
        return differs;
    if (e->has_string)
        return r->type == TYPE_STRING && str_equal(r->string, e->string) ? NULL : "another string";
    if (e->has_scalar && !e->is_range) {
        if (r->type != TYPE_SCALAR || r->n_series != 1 || r->series[0].n_points != 1)
            return "not a scalar";
        if (!almost_equal(r->series[0].points[0].v, e->scalar))
            return arena_printf(s->arena, "got the scalar %g", r->series[0].points[0].v);
        return NULL;
    }
    return compare_series(s, e, r);
}

/* ---- evaluating ---- */

static const char *judge(struct script *s, const struct eval *e, enum errc rc,
                         const struct query_result *r, const struct err *err)
{
    if (rc == OK)
        return e->fail ? "should have failed" : compare_result(s, e, r);
    if (!e->fail)
        return err_text(err);
    for (size_t i = 0; i < e->fail_texts.n; i++)
        if (!text_fits(&e->fail_texts.items[i], str_from(err_text(err))))
            return err_text(err);
    return NULL;
}

static bool contains(struct str s, const char *part)
{
    return memmem(s.ptr, s.len, part, strlen(part));
}

/* Whether an instant query means the same at a step of a range query. */
static bool repeats_as_range(const struct eval *e)
{
    return !e->is_range && !e->is_samples && !e->has_string && !e->fail && !e->has_scalar
           && !contains(e->query, "range(") && !contains(e->query, "step(")
           && !contains(e->query, "start(") && !contains(e->query, "end(");
}

/* Leaves only the points at t_ms. */
static void cut_to(struct query_result *r, int64_t t_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n_series; i++) {
        struct result_series *s = &r->series[i];

        for (size_t p = 0; p < s->n_points; p++)
            if (s->points[p].t_ms == t_ms) {
                s->points[0] = s->points[p];
                if (s->h)
                    s->h[0] = s->h[p];
                s->n_points = 1;
                r->series[kept++] = *s;
                break;
            }
    }
    r->n_series = kept;
}

static const char *run_as_range(struct script *s, const struct query_options *o,
                                const struct eval *e)
{
    struct err err = err_in(s->arena);
    struct query_result *r = NULL;
    const char *differs;

    if (query_range(o, e->query, e->at_ms - MINUTE_MS, e->at_ms + MINUTE_MS, MINUTE_MS, &r, &err)
        != OK)
        return arena_printf(s->arena, "as a range query: %s", err_text(&err));
    struct eval middle = *e;

    middle.ordered = false;
    cut_to(r, e->at_ms);
    differs = compare_series(s, &middle, r);
    if (differs)
        differs = arena_printf(s->arena, "as a range query: %s", differs);
    query_result_free(r);
    return differs;
}

static void run_eval(struct script *s, const struct eval *e)
{
    struct query_options o = query_options_default(s->db);
    struct err err = err_in(s->arena);
    struct query_result *r = NULL;
    const char *differs;
    enum errc rc;

    if (e->is_range)
        rc = query_range(&o, e->query, e->start_ms, e->end_ms, e->step_ms, &r, &err);
    else
        rc = query_instant(&o, e->query, e->at_ms, &r, &err);
    differs = judge(s, e, rc, r, &err);
    if (!differs && rc == OK && repeats_as_range(e))
        differs = run_as_range(s, &o, e);
    query_result_free(r);
    if (!differs)
        s->counts->passed++;
    else
        s->counts->failed++;
    if (differs && s->report)
        fprintf(s->report, "%s:%zu: %.*s\n    %s\n", s->path, e->line, STR_ARG(e->query), differs);
}

/* eval, and the older eval_fail, eval_ordered, eval_warn, eval_info */
static bool run_eval_command(struct script *s, struct str command, struct str args)
{
    struct eval e = { 0 };

    if (str_is(command, "eval_fail"))
        e.fail = true;
    else if (str_is(command, "eval_ordered"))
        e.ordered = true;
    else if (str_is(command, "eval_warn"))
        (void)add_check(&e.warns, STR(""));
    else if (str_is(command, "eval_info"))
        (void)add_check(&e.infos, STR(""));
    else if (!str_is(command, "eval"))
        return false;
    if (!parse_eval(s, &e, args))
        return false;
    run_eval(s, &e);
    return true;
}

static bool run_command(struct script *s, struct str line)
{
    struct str command = word(&line);

    if (str_is(command, "clear"))
        return run_clear(s);
    if (str_is(command, "load"))
        return run_load(s, line, false);
    if (str_is(command, "load_with_nhcb"))
        return run_load(s, line, true);
    return run_eval_command(s, command, line);
}

bool promql_script_run(const char *path, FILE *report, struct script_counts *counts)
{
    struct script s = { .path = path, .report = report, .counts = counts, .arena = arena_new(0) };
    bool ok;

    ok = read_lines(&s) && run_clear(&s);

    while (ok && s.at < s.n_lines) {
        struct str line = s.lines[s.at++];

        if (line.len > 0 && !run_command(&s, line)) {
            fprintf(stderr, "%s:%zu: not understood: %.*s\n", path, s.at,
                    STR_ARG(s.lines[s.at - 1]));
            ok = false;
        }
    }
    db_close(s.db);
    arena_free(s.arena);
    return ok;
}
