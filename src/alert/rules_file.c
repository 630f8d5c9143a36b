/* rules_file.c -- from the YAML of a rules file to checked rules.
 *
 *   groups:                        read_groups
 *     - name, interval, ...        read_group
 *       rules:
 *         - alert, expr, ...       read_rule
 *
 * The YAML tree lives in a scratch arena; what a rule keeps is copied into the set's. An expression
 * is parsed as it is written, so that faults have their place in the file, printed in canonical
 * form, and that form parsed again: the tree's positions are those of rule.expr.
 */
#include <stdlib.h>

#include "alert/fields.h"
#include "alert/rule.h"
#include "alert/template.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/table.h"
#include "base/yaml.h"
#include "query/parse.h"

#include "base/banned.h"

enum { MAX_FILE_BYTES = 16 << 20 };

static const char *const file_fields[] = { "groups", NULL };
static const char *const group_fields[] = {
    "name", "interval", "query_offset", "limit", "labels", "rules", NULL,
};
static const char *const rule_fields[] = {
    "record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations", NULL,
};

struct reading {
    struct fields f;
    struct rule_set *set;
    struct arena *scratch;
    size_t first_group;     /* of this file in the set */
    struct table group_ids; /* by name */
    enum errc rc;           /* ERR_NOMEM once memory ran out: nothing goes on then */
};

static bool no_memory(struct reading *r)
{
    r->rc = ERR_NOMEM;
    return false;
}

static void check_fields(const struct reading *r, const struct yaml_node *map,
                         const char *const *names, const char *type)
{
    if (!r->set->ignore_unknown)
        yaml_check_keys(map, names, type, r->f.file, r->f.d);
}

/* Text into the set. */
static bool keep(struct reading *r, struct str s, struct str *out)
{
    *out = str_copy(r->set->arena, s);
    return out->ptr || no_memory(r);
}

/* ---- labels and annotations ---- */

/* The pairs of a mapping in the set's arena. what: "label" or "annotation". */
static struct labels read_pairs(struct reading *r, const struct yaml_node *map, const char *what)
{
    struct labels ls = { 0 };

    if (map && !field_pairs(&r->f, map, what, r->set->arena, &ls))
        no_memory(r);
    return ls;
}

static bool has_name(struct labels ls, struct str name)
{
    for (size_t i = 0; i < ls.n; i++) {
        if (str_equal(ls.items[i].name, name))
            return true;
    }
    return false;
}

/* own, and what base has beside them. */
static struct labels merge_labels(struct reading *r, struct labels own, struct labels base)
{
    struct label *items;
    size_t n = own.n;

    if (base.n == 0)
        return own;
    if (own.n == 0)
        return base;
    items = ARENA_NEW(r->set->arena, struct label, own.n + base.n);
    if (!items) {
        no_memory(r);
        return own;
    }
    memcpy(items, own.items, own.n * sizeof *items);
    for (size_t i = 0; i < base.n; i++) {
        if (!has_name(own, base.items[i].name))
            items[n++] = base.items[i];
    }
    fields_sort(items, n);
    return (struct labels){ items, n };
}

/* Whether the templates among the values of a mapping parse. */
static void check_templates(struct reading *r, const struct yaml_node *map, const char *what,
                            struct str alert)
{
    const char *name = arena_printf(r->scratch, "__alert_%.*s", STR_ARG(alert));

    if (!name)
        no_memory(r);
    for (size_t i = 0; map && r->rc == OK && i < map->n; i++) {
        struct err err = err_in(r->scratch);

        if (map->items[i]->kind != YAML_SCALAR)
            continue;
        if (template_check(str_from(name), map->items[i]->text, r->scratch, &err) != OK)
            fields_fault_in(&r->f, map->items[i], err.pos, "%s \"%.*s\": %s", what,
                            STR_ARG(map->keys[i]->text), err_text(&err));
    }
}

/* ---- expressions ---- */

static void parse_fault(struct reading *r, const struct yaml_node *expr, const struct err *err)
{
    bool placed = err->code == ERR_BAD_QUERY && err->pos != PARSE_NO_POSITION;

    if (err->code == ERR_NOMEM)
        no_memory(r);
    else
        fields_fault_in(&r->f, expr, placed ? err->pos : 0, "could not parse expression: %s%s",
                        err->code == ERR_BAD_QUERY ? "parse error: " : "", err_text(err));
}

/* Keeps a tree's canonical text and the tree of that. */
static void keep_expr(struct reading *r, const struct yaml_node *expr, const struct node *tree,
                      struct rule *rule)
{
    struct err err = err_in(r->scratch);
    struct buf b = { 0 };

    node_print(&b, tree);
    if (b.failed)
        no_memory(r);
    else if (keep(r, buf_as_str(&b), &rule->expr)
             && parse_query(rule->expr, r->set->arena, &rule->tree, &err) != OK) {
        rule->tree = NULL;
        parse_fault(r, expr, &err);
    }
    buf_free(&b);
}

static void read_expr(struct reading *r, const struct yaml_node *map, struct rule *rule)
{
    struct yaml_node *expr = field_of(&r->f, map, "expr", YAML_SCALAR),
                     *any = field_any(map, "expr");
    struct err err = err_in(r->scratch);
    struct node *tree = NULL;

    if (!expr || expr->text.len == 0) {
        if (expr || !any)
            fields_fault(&r->f, expr ? expr : map, "field 'expr' must be set in rule");
    } else if (parse_query(expr->text, r->scratch, &tree, &err) != OK) {
        parse_fault(r, expr, &err);
    } else {
        if (tree->type != TYPE_SCALAR && tree->type != TYPE_VECTOR)
            fields_fault_in(&r->f, expr, tree->pos,
                            "expression is a %s: rule result is not a vector or scalar",
                            value_type_doc(tree->type));
        keep_expr(r, expr, tree, rule);
        parse_free(tree);
    }
}

/* ---- rules ---- */

static void check_recording(struct reading *r, const struct yaml_node *map, const struct rule *rule)
{
    const struct {
        const char *field;
        bool used;
    } fields[] = {
        { "annotations", rule->annotations.n > 0 },
        { "for", rule->for_ms != 0 },
        { "keep_firing_for", rule->keep_firing_for_ms != 0 },
    };
    const struct yaml_node *record = yaml_get(map, "record", NULL);

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct yaml_node *key = NULL;

        if (fields[i].used && yaml_get(map, fields[i].field, &key))
            fields_fault(&r->f, key, "invalid field '%s' in recording rule", fields[i].field);
    }
    for (size_t i = 0; i < rule->name.len; i++) {
        if (rule->name.ptr[i] != '{' && rule->name.ptr[i] != '}')
            continue;
        fields_fault_in(&r->f, record, i,
                        "braces present in the recording rule name; should it be in expr?: %.*s",
                        STR_ARG(rule->name));
        break;
    }
}

/* Finds out what a rule is and how it is called. */
static void read_name(struct reading *r, const struct yaml_node *map, const char *group,
                      struct rule *rule)
{
    struct str record = field_str(&r->f, map, "record"), alert = field_str(&r->f, map, "alert");
    struct buf b = { 0 };
    struct yaml_node *key;

    rule->kind = alert.len > 0 ? RULE_ALERTING : RULE_RECORDING;
    keep(r, alert.len > 0 ? alert : record, &rule->name);
    buf_text(&b, group);
    print_quoted(&b, rule->name);
    buf_text(&b, ": ");
    r->f.prefix = arena_strndup(r->scratch, (const char *)b.ptr, b.len);
    if (b.failed || !r->f.prefix)
        no_memory(r);
    else if (record.len > 0 && alert.len > 0 && yaml_get(map, "alert", &key))
        fields_fault(&r->f, key, "only one of 'record' and 'alert' must be set");
    else if (record.len == 0 && alert.len == 0)
        fields_fault(&r->f, map, "one of 'record' or 'alert' must be set");
    buf_free(&b);
}

/* group: `group "g", rule 5, `. */
static void read_rule(struct reading *r, const struct yaml_node *map, const char *group,
                      struct labels group_labels, struct rule *rule)
{
    struct yaml_node *labels, *annotations;

    rule->line = map->line;
    rule->col = map->col;
    read_name(r, map, group, rule);
    if (r->rc)
        return;
    check_fields(r, map, rule_fields, "rulefmt.Rule");
    labels = field_of(&r->f, map, "labels", YAML_MAPPING);
    annotations = field_of(&r->f, map, "annotations", YAML_MAPPING);
    rule->for_ms = field_duration(&r->f, map, "for", 0);
    rule->keep_firing_for_ms = field_duration(&r->f, map, "keep_firing_for", 0);
    rule->labels = merge_labels(r, read_pairs(r, labels, "label"), group_labels);
    rule->annotations = read_pairs(r, annotations, "annotation");
    read_expr(r, map, rule);
    if (rule->kind == RULE_RECORDING)
        check_recording(r, map, rule);
    if (rule->kind == RULE_ALERTING) {
        check_templates(r, labels, "label", rule->name);
        check_templates(r, annotations, "annotation", rule->name);
    }
}

/* The rules of a group. label_map: the group's own labels, whose templates are checked once. */
static void read_rules(struct reading *r, const struct yaml_node *list,
                       const struct yaml_node *label_map, struct rule_group *g)
{
    const char *group = r->f.prefix; /* `group "g"` and ", " or ": " */
    struct labels labels = read_pairs(r, label_map, "label");
    const struct rule *alert = NULL;

    g->rules = ARENA_NEW(r->set->arena, struct rule, list ? list->n : 0);
    if (!g->rules)
        no_memory(r);
    for (size_t i = 0; list && i < list->n && r->rc == OK; i++) {
        const char *prefix = arena_printf(r->scratch, "%.*s, rule %zu, ",
                                          (int)(strlen(group) - strlen(": ")), group, i + 1);

        if (!prefix) {
            no_memory(r);
        } else if (fields_is(&r->f, list->items[i], YAML_MAPPING, "a rule")) {
            struct rule *rule = &g->rules[g->n_rules++];

            read_rule(r, list->items[i], prefix, labels, rule);
            alert = !alert && rule->kind == RULE_ALERTING ? rule : alert;
        }
        r->f.prefix = group;
    }
    if (alert)
        check_templates(r, label_map, "label", alert->name);
}

/* ---- groups ---- */

static bool group_is(const void *ctx, uint32_t id, const void *key)
{
    const struct reading *r = ctx;

    return str_equal(r->set->groups[r->first_group + id].name, *(const struct str *)key);
}

static uint64_t group_hash(const void *ctx, uint32_t id)
{
    const struct reading *r = ctx;
    struct str name = r->set->groups[r->first_group + id].name;

    return hash64(name.ptr, name.len);
}

static void check_group_name(struct reading *r, const struct yaml_node *map, struct str name)
{
    const struct yaml_node *at = yaml_get(map, "name", NULL);
    uint64_t hash = hash64(name.ptr, name.len);
    struct buf b = { 0 };

    if (name.len == 0) {
        fields_fault(&r->f, at ? at : map, "Groupname must not be empty");
        return;
    }
    if (table_find(&r->group_ids, hash, group_is, r, &name) != TABLE_NONE) {
        print_quoted(&b, name);
        fields_fault(&r->f, at, "groupname: %.*s is repeated in the same file",
                     STR_ARG(buf_as_str(&b)));
    } else if (!table_add(&r->group_ids, hash, (uint32_t)(r->set->n_groups - 1 - r->first_group),
                          group_hash, r)) {
        no_memory(r);
    }
    buf_free(&b);
}

/* A zeroed group at the end of the set, NULL when out of memory. */
static struct rule_group *add_group(struct reading *r)
{
    struct rule_set *set = r->set;
    size_t cap = set->cap_groups ? 2 * set->cap_groups : 8;
    struct rule_group *groups;

    if (set->n_groups == set->cap_groups) {
        groups = arena_grow(set->arena, set->groups, set->cap_groups * sizeof *groups,
                            cap * sizeof *groups);
        if (!groups) {
            no_memory(r);
            return NULL;
        }
        set->groups = groups;
        set->cap_groups = cap;
    }
    set->groups[set->n_groups] = (struct rule_group){ 0 };
    return &set->groups[set->n_groups++];
}

/* The beginning of every text about a group: `group "g": `. */
static void set_group_prefix(struct reading *r, struct str name)
{
    struct buf b = { 0 };

    buf_text(&b, "group ");
    print_quoted(&b, name);
    buf_text(&b, ": ");
    r->f.prefix = arena_strndup(r->scratch, (const char *)b.ptr, b.len);
    if (b.failed || !r->f.prefix)
        no_memory(r);
    buf_free(&b);
}

static uint32_t read_limit(struct reading *r, const struct yaml_node *map)
{
    int64_t limit = field_integer(&r->f, map, "limit");

    if (limit > UINT32_MAX)
        fields_fault(&r->f, yaml_get(map, "limit", NULL), "field 'limit' is above %u", UINT32_MAX);
    return limit > 0 && limit <= UINT32_MAX ? (uint32_t)limit : 0; /* negative: none, as 0 */
}

static void read_group(struct reading *r, const struct yaml_node *map)
{
    struct rule_group *g = add_group(r);

    if (!g || !keep(r, str_from(r->f.file), &g->file)
        || !keep(r, field_str(&r->f, map, "name"), &g->name))
        return;
    check_group_name(r, map, g->name);
    set_group_prefix(r, g->name);
    if (r->rc == OK) {
        check_fields(r, map, group_fields, "rulefmt.RuleGroup");
        g->interval_ms = field_duration(&r->f, map, "interval", 0);
        g->query_offset_ms = field_duration(&r->f, map, "query_offset", -1);
        g->limit = read_limit(r, map);
        read_rules(r, field_of(&r->f, map, "rules", YAML_SEQUENCE),
                   field_of(&r->f, map, "labels", YAML_MAPPING), g);
    }
    r->f.prefix = "";
}

static void read_groups(struct reading *r, const struct yaml_node *root)
{
    struct yaml_node *groups;

    if (!fields_is(&r->f, root, YAML_MAPPING, "a rules file"))
        return;
    check_fields(r, root, file_fields, "rulefmt.RuleGroups");
    groups = field_of(&r->f, root, "groups", YAML_SEQUENCE);
    for (size_t i = 0; groups && i < groups->n && r->rc == OK; i++) {
        if (fields_is(&r->f, groups->items[i], YAML_MAPPING, "a group"))
            read_group(r, groups->items[i]);
    }
}

enum errc rules_read(struct str text, const char *file, struct rule_set *set, struct diags *d)
{
    struct reading r = { .f = { file, d, "" }, .set = set, .first_group = set->n_groups };
    size_t n_errors = d->n_errors;
    struct yaml_node *root;

    r.scratch = arena_new(0);
    if (!r.scratch)
        return ERR_NOMEM;
    r.rc = yaml_read(text, file, r.scratch, &root, d);
    if (r.rc == ERR_BAD_CONFIG && root)
        r.rc = OK; /* a repeated key: what else there is can be told as well */
    if (r.rc == OK && root)
        read_groups(&r, root);
    if (r.rc == OK && d->n_errors > n_errors)
        r.rc = ERR_BAD_CONFIG;
    table_free(&r.group_ids);
    arena_free(r.scratch);
    return r.rc;
}

enum errc rules_load(const char *const *paths, size_t n, struct rule_set **out, struct diags *d)
{
    struct rule_set *set = rule_set_new();
    enum errc rc = set ? OK : ERR_NOMEM;
    bool bad = false;

    for (size_t i = 0; i < n && rc == OK; i++) {
        struct err err = err_in(d->arena);
        struct buf b = { 0 };

        rc = fs_read_file(paths[i], MAX_FILE_BYTES, &b, &err);
        if (rc == OK)
            rc = rules_read(buf_as_str(&b), paths[i], set, d);
        else if (rc != ERR_NOMEM)
            diag_error(d, paths[i], 0, 0, "%s", err_text(&err));
        buf_free(&b);
        bad |= rc != OK;
        rc = rc == ERR_NOMEM ? rc : OK;
    }
    if (rc == OK)
        rc = bad ? ERR_BAD_CONFIG : rules_lint(set, d);
    if (rc == OK) {
        *out = set;
        set = NULL; /* the caller's now */
    }
    rule_set_free(set);
    return rc;
}

/* ---- sets ---- */

struct rule_set *rule_set_new(void)
{
    struct rule_set *set = calloc(1, sizeof *set);

    if (set)
        set->arena = arena_new(0);
    if (set && !set->arena) {
        free(set);
        set = NULL;
    }
    return set;
}

void rule_set_free(struct rule_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n_groups; i++) {
        for (size_t k = 0; k < set->groups[i].n_rules; k++)
            parse_free(set->groups[i].rules[k].tree);
    }
    arena_free(set->arena);
    free(set);
}
