#include "storage/matcher.h"

#include "base/arena.h"
#include "base/regex.h"

#include "base/banned.h"

const char *match_op_text(enum match_op op)
{
    static const char *const texts[] = {
        [MATCH_EQ] = "=",
        [MATCH_NE] = "!=",
        [MATCH_RE] = "=~",
        [MATCH_NRE] = "!~",
    };

    ASSERT((size_t)op < ARRAY_LEN(texts));
    return texts[op];
}

enum errc matcher_init(struct matcher *m, enum match_op op, struct str name, struct str value,
                       struct arena *a, struct err *err)
{
    enum errc rc = OK;

    *m = (struct matcher){ .op = op, .name = str_copy(a, name), .value = str_copy(a, value) };
    if (!m->name.ptr || !m->value.ptr)
        return err_set(err, ERR_LIMIT, 0, "matcher on label \"%.*s\" needs too much memory",
                       STR_ARG(name));
    if (op == MATCH_RE || op == MATCH_NRE)
        rc = regex_compile(m->value, &m->regex, err);
    return rc;
}

void matcher_free(struct matcher *m)
{
    regex_free(m->regex);
    *m = (struct matcher){ 0 };
}

bool matcher_matches(const struct matcher *m, struct str value, enum errc *rc)
{
    bool matched = false;
    enum errc failed;

    if (!m->regex)
        return str_equal(m->value, value) == (m->op == MATCH_EQ);
    failed = regex_match(m->regex, value, &matched);
    if (failed != OK) {
        *rc = failed;
        return false;
    }
    return matched == (m->op == MATCH_RE);
}

bool matcher_matches_empty(const struct matcher *m)
{
    enum errc rc = OK;

    return matcher_matches(m, (struct str){ 0 }, &rc);
}

void matcher_print(struct buf *b, const struct matcher *m)
{
    if (name_is_legacy(m->name, false))
        buf_str(b, m->name);
    else
        print_quoted(b, m->name);
    buf_text(b, match_op_text(m->op));
    print_quoted(b, m->value);
}
