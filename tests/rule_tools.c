#include "rule_tools.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/number.h"
#include "query/parse.h"

enum { MAX_RULES = 8 };

/* ---- rules ---- */

static struct labels parse_pairs(struct arena *a, const char *text)
{
    struct label *items = ARENA_NEW(a, struct label, 8);
    size_t n = 0;

    while (text && *text) {
        size_t len = strcspn(text, ";"), name = strcspn(text, "=");

        assert_true(n < 8 && name < len);
        items[n].name = str_copy(a, (struct str){ text, name });
        items[n++].value = str_copy(a, (struct str){ text + name + 1, len - name - 1 });
        text += len + (text[len] == ';');
    }
    return (struct labels){ items, n };
}

static void make_rule(struct arena *a, const struct rule_spec *spec, struct rule *rule)
{
    struct err err = err_in(a);
    struct buf canonical = { 0 };

    if (parse_query(str_from(spec->expr), a, &rule->tree, &err) != OK)
        fail_msg("%s: %s", spec->expr, err_text(&err));
    node_print(&canonical, rule->tree);
    rule->expr = str_copy(a, buf_as_str(&canonical));
    buf_free(&canonical);
    rule->kind = spec->alert ? RULE_ALERTING : RULE_RECORDING;
    rule->name = str_copy(a, str_from(spec->alert ? spec->alert : spec->record));
    rule->for_ms = spec->for_ms;
    rule->keep_firing_for_ms = spec->keep_firing_for_ms;
    rule->labels = parse_pairs(a, spec->labels);
    rule->annotations = parse_pairs(a, spec->annotations);
}

struct rule_group *test_group_add(struct rule_set *set, const char *name,
                                  const struct rule_spec *specs)
{
    struct rule_group *g;

    if (!set->groups)
        set->groups = ARENA_NEW(set->arena, struct rule_group, TEST_MAX_GROUPS);
    assert_true(set->n_groups < TEST_MAX_GROUPS);
    g = &set->groups[set->n_groups++];
    g->file = STR("rules.yml");
    g->name = str_copy(set->arena, str_from(name));
    g->query_offset_ms = -1;
    g->rules = ARENA_NEW(set->arena, struct rule, MAX_RULES);
    for (; g->n_rules < MAX_RULES && specs[g->n_rules].expr; g->n_rules++)
        make_rule(set->arena, &specs[g->n_rules], &g->rules[g->n_rules]);
    return g;
}

/* ---- listening ---- */

static void note(void *ctx, const struct notification *items, size_t n)
{
    struct test_listener *l = ctx;

    for (size_t i = 0; i < n; i++) {
        buf_text(&l->told, items[i].resolved ? "resolved " : "firing ");
        labels_print(&l->told, items[i].labels);
        if (items[i].annotations.n > 0)
            labels_print(&l->told, items[i].annotations);
        buf_printf(&l->told, " %" PRId64 "-%" PRId64 " %.*s\n", items[i].starts_ms / 1000,
                   items[i].ends_ms / 1000, STR_ARG(items[i].generator_url));
        l->last_id = items[i].id;
    }
}

static bool is_pending(void *ctx, uint64_t id)
{
    (void)id;
    return ((struct test_listener *)ctx)->pending;
}

void test_listener_init(struct test_listener *l)
{
    *l = (struct test_listener){ .listener = { note, is_pending, l } };
}

const char *test_listener_take(struct test_listener *l)
{
    buf_u8(&l->told, 0);
    assert_false(l->told.failed);
    l->told.len = 0; /* the bytes stay */
    return (const char *)l->told.ptr;
}

void test_listener_free(struct test_listener *l)
{
    buf_free(&l->told);
}

/* ---- reading back ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *line_of(struct db_view *v, const struct series *s, int64_t t_ms, struct arena *a)
{
    struct column c = { 0 };
    struct buf b = { 0 };
    char *line = NULL;

    assert_int_equal(db_read(v, s, t_ms, t_ms, &c, NULL), OK);
    if (c.n > 0) {
        labels_print_metric(&b, s->labels);
        buf_u8(&b, ' ');
        if (is_stale(c.v[0]))
            buf_text(&b, "stale");
        else
            number_print(&b, c.v[0], NUMBER_JSON);
        line = arena_strndup(a, (const char *)b.ptr, b.len);
    }
    buf_free(&b);
    column_free(&c);
    return line;
}

char *test_samples_at(struct db *db, const char *name, int64_t t_ms)
{
    struct arena *a = arena_new(0);
    struct err err = err_in(a);
    struct matcher m;
    struct series_list list;
    struct db_view *v;
    struct buf out = { 0 };
    char **lines;
    size_t n = 0;

    assert_int_equal(matcher_init(&m, MATCH_EQ, METRIC_NAME, str_from(name), a, &err), OK);
    assert_int_equal(db_view_open(db, t_ms, t_ms, &v, &err), OK);
    assert_int_equal(db_select(v, &m, 1, t_ms, t_ms, a, &list, &err), OK);
    lines = ARENA_NEW(a, char *, list.n);
    for (size_t i = 0; i < list.n; i++)
        if ((lines[n] = line_of(v, &list.items[i], t_ms, a)))
            n++;
    if (n > 1)
        qsort(lines, n, sizeof *lines, compare_lines);
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "%s\n", lines[i]);
    buf_u8(&out, 0);
    db_view_close(v);
    matcher_free(&m);
    arena_free(a);
    assert_false(out.failed);
    return (char *)out.ptr;
}
