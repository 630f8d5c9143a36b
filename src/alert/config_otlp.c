/* config_otlp.c -- how metrics that arrive by OTLP are translated. Here the keys are read and
 * checked; what they mean is known where OTLP is.
 */
#include "alert/config_private.h"
#include "base/arena.h"
#include "base/json.h"

#include "base/banned.h"

static const struct config_key otlp_keys[] = {
    { "translation_strategy", NULL },
    { "promote_resource_attributes", NULL },
    { "promote_all_resource_attributes", NULL },
    { "ignore_resource_attributes", NULL },
    { "keep_identifying_resource_attributes", NULL },
    { "promote_scope_metadata", NULL },
    { "convert_histograms_to_nhcb", NULL },
    { "label_name_underscore_sanitization", NULL },
    { "label_name_preserve_multiple_underscores", NULL },
    { "delta", NULL },
    { NULL, NULL },
};

static const char *const strategies[] = { "UnderscoreEscapingWithSuffixes",
                                          "UnderscoreEscapingWithoutSuffixes",
                                          "NoUTF8EscapingWithSuffixes", "NoTranslation", NULL };
static const char *const delta_modes[] = { "convert", "reject", "raw", NULL };

struct config_otlp config_otlp_default(void)
{
    return (struct config_otlp){ .translation_strategy = strategies[0],
                                 .delta = delta_modes[0],
                                 .label_underscore_sanitization = true,
                                 .label_preserve_underscores = true };
}

/* One of a few words; the first by default. */
static const char *read_word(struct config_reading *r, const struct yaml_node *map,
                             const char *name, const char *const *words)
{
    struct yaml_node *n = field_of(&r->f, map, name, YAML_SCALAR);
    struct buf all = { 0 };

    if (!n)
        return words[0];
    for (size_t i = 0; words[i]; i++)
        if (str_is(n->text, words[i]))
            return words[i];
    for (size_t i = 0; words[i]; i++)
        buf_printf(&all, "%s%s", i ? ", " : "", words[i]);
    fields_fault(&r->f, n, "%s is \"%.*s\", not one of %.*s", name, STR_ARG(n->text),
                 STR_ARG(buf_as_str(&all)));
    buf_free(&all);
    return words[0];
}

static bool read_bool(struct config_reading *r, const struct yaml_node *map, const char *name,
                      bool otherwise)
{
    struct yaml_node *n = field_of(&r->f, map, name, YAML_SCALAR);

    if (!n)
        return otherwise;
    if (str_is(n->text, "true") || str_is(n->text, "false"))
        return str_is(n->text, "true");
    fields_fault(&r->f, n, "%s is \"%.*s\", not true or false", name, STR_ARG(n->text));
    return otherwise;
}

static struct config_texts read_texts(struct config_reading *r, const struct yaml_node *map,
                                      const char *name)
{
    struct yaml_node *list = field_of(&r->f, map, name, YAML_SEQUENCE);
    struct config_texts out = { 0 };
    struct str *items;

    if (!list)
        return out;
    items = ARENA_NEW(r->c->arena, struct str, list->n);
    if (!items)
        r->rc = ERR_NOMEM;
    for (size_t i = 0; i < list->n && r->rc == OK; i++) {
        const struct yaml_node *n = list->items[i];

        if (!fields_is(&r->f, n, YAML_SCALAR, "an attribute"))
            continue;
        if (n->text.len == 0)
            fields_fault(&r->f, n, "an attribute without a name in %s", name);
        for (size_t k = 0; k < out.n; k++)
            if (str_equal(items[k], n->text))
                fields_fault(&r->f, n, "attribute \"%.*s\" stands twice in %s", STR_ARG(n->text),
                             name);
        items[out.n++] = (struct str){ config_keep(r, n->text), n->text.len };
    }
    out.items = items;
    return out;
}

void config_read_otlp(struct config_reading *r, const struct yaml_node *map)
{
    struct config_otlp *o = &r->c->otlp;
    struct yaml_node *at;

    config_check_keys(r, map, otlp_keys, "config.OTLPConfig");
    o->translation_strategy = read_word(r, map, "translation_strategy", strategies);
    o->delta = read_word(r, map, "delta", delta_modes);
    o->promote = read_texts(r, map, "promote_resource_attributes");
    o->ignore = read_texts(r, map, "ignore_resource_attributes");
    o->promote_all = read_bool(r, map, "promote_all_resource_attributes", false);
    o->keep_identifying = read_bool(r, map, "keep_identifying_resource_attributes", false);
    o->promote_scope = read_bool(r, map, "promote_scope_metadata", false);
    o->convert_to_nhcb = read_bool(r, map, "convert_histograms_to_nhcb", false);
    o->label_underscore_sanitization =
        read_bool(r, map, "label_name_underscore_sanitization", true);
    o->label_preserve_underscores =
        read_bool(r, map, "label_name_preserve_multiple_underscores", true);
    if (o->promote_all && o->promote.n && (at = field_any(map, "promote_resource_attributes")))
        fields_fault(&r->f, at,
                     "promote_all_resource_attributes and promote_resource_attributes cannot both "
                     "be given");
    if (!o->promote_all && o->ignore.n && (at = field_any(map, "ignore_resource_attributes")))
        fields_fault(&r->f, at, "ignore_resource_attributes needs promote_all_resource_attributes");
}

/* ---- as text ---- */

static void print_texts(struct buf *b, const char *name, const struct config_texts *texts)
{
    if (texts->n == 0)
        return;
    buf_printf(b, "  %s:\n", name);
    for (size_t i = 0; i < texts->n; i++) {
        buf_text(b, "  - ");
        json_string(b, texts->items[i]); /* which YAML reads too */
        buf_u8(b, '\n');
    }
}

static void print_bool(struct buf *b, const char *name, bool value, bool otherwise)
{
    if (value != otherwise)
        buf_printf(b, "  %s: %s\n", name, value ? "true" : "false");
}

static void print_word(struct buf *b, const char *name, const char *word, const char *otherwise)
{
    if (strcmp(word, otherwise) != 0)
        buf_printf(b, "  %s: %s\n", name, word);
}

/* What differs from the defaults. */
void config_print_otlp(struct buf *b, const struct config_otlp *o)
{
    size_t begin = b->len, body;

    buf_text(b, "otlp:\n");
    body = b->len;
    print_word(b, "translation_strategy", o->translation_strategy, strategies[0]);
    print_word(b, "delta", o->delta, delta_modes[0]);
    print_texts(b, "promote_resource_attributes", &o->promote);
    print_texts(b, "ignore_resource_attributes", &o->ignore);
    print_bool(b, "promote_all_resource_attributes", o->promote_all, false);
    print_bool(b, "keep_identifying_resource_attributes", o->keep_identifying, false);
    print_bool(b, "promote_scope_metadata", o->promote_scope, false);
    print_bool(b, "convert_histograms_to_nhcb", o->convert_to_nhcb, false);
    print_bool(b, "label_name_underscore_sanitization", o->label_underscore_sanitization, true);
    print_bool(b, "label_name_preserve_multiple_underscores", o->label_preserve_underscores, true);
    if (b->len == body)
        b->len = begin;
}
