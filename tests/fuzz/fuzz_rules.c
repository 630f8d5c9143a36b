/* fuzz_rules.c -- any bytes as a rules file and as a configuration. Every fault has a text and a
 * place in the file, and what loads is whole. */
#include "alert/config.h"
#include "alert/rule.h"
#include "base/arena.h"
#include "query/ast.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_faults(const struct diags *d, struct str text, enum errc rc)
{
    size_t n_lines = 2; /* the end may be told as the line after */

    for (size_t i = 0; i < text.len; i++) /* NEL, LS and PS count for libyaml, seen by their ends */
        n_lines += memchr("\r\n\x85\xa8\xa9", text.ptr[i], 5) != NULL;
    ASSERT((rc == ERR_BAD_CONFIG) == (d->n_errors > 0));
    for (size_t i = 0; i < d->n; i++) {
        ASSERT(d->items[i].text[0] != '\0');
        ASSERT(d->items[i].line >= 1 && d->items[i].line <= n_lines);
        ASSERT(d->items[i].col >= 1 && d->items[i].col <= text.len + 2);
    }
}

static void check_rule(const struct rule *r)
{
    ASSERT(r->name.len > 0 && r->expr.len > 0);
    ASSERT(r->tree->type == TYPE_SCALAR || r->tree->type == TYPE_VECTOR);
    ASSERT(r->tree->end <= r->expr.len);
    ASSERT(r->kind == RULE_ALERTING || r->annotations.n == 0);
    for (size_t i = 1; i < r->labels.n; i++)
        ASSERT(str_cmp(r->labels.items[i - 1].name, r->labels.items[i].name) < 0);
}

static void read_rules(struct str text, struct arena *a)
{
    struct rule_set *set = rule_set_new();
    struct diags d = { .arena = a };
    enum errc rc = set ? rules_read(text, "f", set, &d) : ERR_NOMEM;

    check_faults(&d, text, rc);
    for (size_t i = 0; rc == OK && i < set->n_groups; i++) {
        ASSERT(set->groups[i].name.len > 0);
        for (size_t k = 0; k < set->groups[i].n_rules; k++)
            check_rule(&set->groups[i].rules[k]);
    }
    if (rc == OK)
        rc = rules_lint(set, &d);
    rule_set_free(set);
}

static void read_config(struct str text, struct arena *a)
{
    struct config *c = NULL;
    struct diags d = { .arena = a };
    enum errc rc = config_read(text, "f", &c, &d);

    check_faults(&d, text, rc);
    ASSERT((rc == OK) == (c != NULL));
    config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct arena *a = arena_new(0);

    if (a && size < 65536) {
        read_rules(text, a);
        /* Not with files: reading any path of this machine proves nothing. */
        if (!memmem(data, size, "_file", 5))
            read_config(text, a);
    }
    arena_free(a);
    return 0;
}
