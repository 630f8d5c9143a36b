/* regex.c -- the only file that knows PCRE2.
 *
 * A pattern becomes one of three things, cheapest first:
 *
 *   a set of literal texts     a|b, foo(bar|baz)    hash table
 *   a set of wildcard texts    foo.*, .+x|y         re2_wildcard_match()
 *   a PCRE2 program            anything else        JIT, then interpreter, then DFA matcher
 *
 * The first two get a program only when regex_replace() asks for groups. Backtracking is bounded by
 * a match limit; what exceeds it is left to the DFA matcher, whose time grows with the square of
 * its states and with the subject, so its workspace is sized by a budget.
 *
 * Groups are PCRE2's. They are RE2's too, but where a repeated group last matched nothing: in (a|b*)*
 * RE2 keeps what the group matched before.
 *
 * PCRE2's limit on a compiled program, 64 KiB, is a limit of ours as well: "expression too large".
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/regex.h"

#include <pcre2.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/re2_syntax.h"
#include "base/table.h"

#include "base/banned.h"

enum {
    PARSE_ARENA = 16 << 20, /* bytes for tree and expansion, which are thrown away */
    MATCH_LIMIT = 100000,   /* about 1 ms of interpreter */
    HEAP_LIMIT_KIB = 32 << 10,
    JIT_MAX_CODE = 32 << 10, /* larger programs cost more to translate than they save */
    MAX_FOLDED = 4 << 20,    /* code points in classes under (?i): PCRE2 walks them one by one */
    SMALL_SET = 8,           /* literals that are compared one by one */
    DFA_BUDGET = 100000000,  /* states^2 * subject bytes: some 0.1 s */
    DFA_MIN_STATES = 100,
    DFA_MAX_STATES = 1000,
    DFA_INTS_PER_STATE = 6, /* two lists, three ints a state */
    DFA_EXTRA_INTS = 64
};

struct program {
    pcre2_code *code;
    pcre2_match_context *limits;
    _Atomic(pcre2_match_data *) spare; /* kept from the last match, for whoever comes first */
};

struct regex {
    struct str *texts; /* literal or wildcard texts, sorted and unique; n_texts 0 when neither */
    size_t n_texts;
    bool literal;
    bool search;      /* for regex_search() and regex_replace_all() */
    struct table set; /* of literal texts, when there are many */
    struct str prefix;
    struct str translated; /* the pattern in PCRE2's syntax */
    struct str *group_names;
    size_t n_groups;
    _Atomic(struct program *) program;
    char strings[];
};

/* --- programs --- */

static void program_free(struct program *p)
{
    if (!p)
        return;
    pcre2_match_data_free(atomic_load(&p->spare));
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->code);
    free(p);
}

static enum errc compile_error(int number, struct err *err)
{
    PCRE2_UCHAR text[128];

    if (number == PCRE2_ERROR_HEAP_FAILED)
        return err_set(err, ERR_NOMEM, 0, "regular expression: out of memory");
    if (number == PCRE2_ERROR_PATTERN_TOO_LARGE || number == PCRE2_ERROR_PATTERN_TOO_COMPLICATED
        || number == PCRE2_ERROR_LOOKBEHIND_TOO_COMPLICATED)
        return err_set(err, ERR_TOO_LARGE, 0, "error parsing regexp: expression too large");
    pcre2_get_error_message(number, text, sizeof text);
    return err_set(err, ERR_UNSUPPORTED, 0, "error parsing regexp: %s", (const char *)text);
}

static enum errc compile_code(struct str translated, bool search, pcre2_code **out, struct err *err)
{
    const uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOTALL | PCRE2_NEVER_UCP
                             | PCRE2_NEVER_BACKSLASH_C | (search ? 0 : PCRE2_ANCHORED);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    PCRE2_SIZE at;
    int number;

    if (!context)
        return err_set(err, ERR_NOMEM, 0, "regular expression: out of memory");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, RE2_MAX_DEPTH + 8);
    *out =
        pcre2_compile((PCRE2_SPTR)translated.ptr, translated.len, options, &number, &at, context);
    pcre2_compile_context_free(context);
    return *out ? OK : compile_error(number, err);
}

static enum errc program_new(struct str translated, bool search, struct program **out,
                             struct err *err)
{
    struct program *p = calloc(1, sizeof *p);
    size_t size = 0;
    enum errc rc = ERR_NOMEM;

    if (!p || !(p->limits = pcre2_match_context_create(NULL)))
        goto done;
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(p->limits, HEAP_LIMIT_KIB);
    rc = compile_code(translated, search, &p->code, err);
    if (rc != OK)
        goto done;
    pcre2_pattern_info(p->code, PCRE2_INFO_SIZE, &size);
    if (size <= JIT_MAX_CODE) {
        /* Without it (no writable and executable memory, say) the interpreter does the work. */
        (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    }
    *out = p;
    p = NULL;
done:
    program_free(p);
    return rc;
}

/* The program of re, compiled when it is first needed; of two threads that do so one wins. */
static enum errc program_get(const struct regex *re, struct program **out)
{
    struct regex *shared = (struct regex *)re; /* only its atomic member changes */
    struct program *p = NULL;
    enum errc rc;

    *out = atomic_load(&shared->program);
    if (*out)
        return OK;
    rc = program_new(re->translated, re->search, &p, NULL);
    if (rc != OK)
        return rc;
    if (atomic_compare_exchange_strong(&shared->program, out, p))
        *out = p;
    else
        program_free(p);
    return OK;
}

static pcre2_match_data *take_match_data(struct program *p)
{
    pcre2_match_data *md = atomic_exchange(&p->spare, NULL);

    return md ? md : pcre2_match_data_create_from_pattern(p->code, NULL);
}

static void give_match_data(struct program *p, pcre2_match_data *md)
{
    pcre2_match_data_free(atomic_exchange(&p->spare, md));
}

static bool is_limit(int rc)
{
    return rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT
           || rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_JIT_STACKLIMIT
           || rc == PCRE2_ERROR_DFA_WSSIZE || rc == PCRE2_ERROR_DFA_RECURSE;
}

static int match_by_states(const struct program *p, struct str s, size_t from, pcre2_match_data *md)
{
    size_t states = DFA_MAX_STATES;
    size_t n_ints;
    int *workspace, rc;

    while (states > DFA_MIN_STATES && states * states * (s.len + 1) > DFA_BUDGET)
        states -= DFA_MIN_STATES;
    n_ints = states * DFA_INTS_PER_STATE + DFA_EXTRA_INTS;
    workspace = malloc(n_ints * sizeof *workspace);
    if (!workspace)
        return PCRE2_ERROR_NOMEMORY;
    rc = pcre2_dfa_match(p->code, (PCRE2_SPTR)s.ptr, s.len, from,
                         PCRE2_NO_UTF_CHECK | PCRE2_DFA_SHORTEST, md, p->limits, workspace, n_ints);
    free(workspace);
    return rc;
}

/* Runs the program on valid UTF-8, from an offset into it. With groups the DFA matcher cannot say
 * yes, only no. */
static enum errc run_from(const struct program *p, struct str s, size_t from, pcre2_match_data *md,
                          bool groups, bool *matched)
{
    PCRE2_SPTR text = (PCRE2_SPTR)(s.ptr ? s.ptr : "");
    int rc = pcre2_match(p->code, text, s.len, from, PCRE2_NO_UTF_CHECK, md, p->limits);

    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(p->code, text, s.len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, md,
                         p->limits);
    if (is_limit(rc)) {
        rc = match_by_states(p, (struct str){ (const char *)text, s.len }, from, md);
        if (groups && rc >= 0)
            return ERR_LIMIT;
    }
    *matched = rc >= 0;
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
        return OK;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return ERR_NOMEM;
    return is_limit(rc) ? ERR_LIMIT : ERR_EXECUTION;
}

static enum errc run(const struct program *p, struct str s, pcre2_match_data *md, bool groups,
                     bool *matched)
{
    return run_from(p, s, 0, md, groups, matched);
}

/* --- compiling --- */

static bool check_folded(const struct re2_node *node, size_t *left)
{
    for (size_t i = 0; node->fold && i < node->n_items; i++) {
        size_t n = node->items[i].hi - node->items[i].lo + 1;

        if (n > *left)
            return false;
        *left -= n;
    }
    for (const struct re2_node *c = node->child; c; c = c->next)
        if (!check_folded(c, left))
            return false;
    return true;
}

static int compare_texts(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static size_t sort_unique(struct str *items, size_t n)
{
    size_t kept = 0;

    qsort(items, n, sizeof *items, compare_texts);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_equal(items[i], items[kept - 1]))
            items[kept++] = items[i];
    return kept;
}

static bool is_literal(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] >= WILDCARD_ONE)
            return false;
    return true;
}

/* What is known of a pattern before its regex is made; all of it in the parse arena or a buffer. */
struct draft {
    struct re2_tree tree;
    struct str *texts;
    size_t n_texts;
    bool literal;
    bool search;
    struct buf prefix, translated;
};

/* Go's default for a search is that '.' does not match \n. The pattern is read as it is too, for the
 * texts of errors. */
static enum errc parse_search(struct draft *d, struct str pattern, struct arena *a, struct err *err)
{
    static const char flags[] = "(?-s)";
    enum errc rc = re2_parse(pattern, a, &d->tree, err);
    char *text;

    if (rc != OK)
        return rc;
    text = arena_alloc(a, sizeof flags - 1 + pattern.len);
    if (!text)
        return err_set(err, ERR_NOMEM, 0, "regular expression needs too much memory");
    memcpy(text, flags, sizeof flags - 1);
    if (pattern.len)
        memcpy(text + sizeof flags - 1, pattern.ptr, pattern.len);
    return re2_parse((struct str){ text, sizeof flags - 1 + pattern.len }, a, &d->tree, err);
}

static enum errc draft_fill(struct draft *d, struct str pattern, struct arena *a, struct err *err)
{
    enum errc rc =
        d->search ? parse_search(d, pattern, a, err) : re2_parse(pattern, a, &d->tree, err);
    size_t foldable = MAX_FOLDED;
    const struct str *texts;

    if (rc != OK)
        return rc;
    if (!check_folded(d->tree.root, &foldable))
        return err_set(err, ERR_TOO_LARGE, 0, "error parsing regexp: expression too large");
    if (d->search) {
        re2_emit_search(d->tree.root, &d->translated);
        return d->translated.failed
                   ? err_set(err, ERR_NOMEM, 0, "regular expression: out of memory")
                   : OK;
    }
    if (re2_expand(d->tree.root, a, &texts, &d->n_texts)) {
        d->texts = ARENA_NEW(a, struct str, d->n_texts);
        if (!d->texts)
            return err_set(err, ERR_NOMEM, 0, "regular expression needs too much memory");
        memcpy(d->texts, texts, d->n_texts * sizeof *texts);
        d->n_texts = sort_unique(d->texts, d->n_texts);
        d->literal = true;
        for (size_t i = 0; i < d->n_texts && d->literal; i++)
            d->literal = is_literal(d->texts[i]);
    }
    re2_prefix(d->tree.root, &d->prefix);
    re2_emit(d->tree.root, &d->translated);
    if (d->prefix.failed || d->translated.failed)
        return err_set(err, ERR_NOMEM, 0, "regular expression: out of memory");
    return OK;
}

static size_t total_length(const struct str *items, size_t n)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += items[i].len;
    return total;
}

static struct str keep(char **to, struct str s)
{
    struct str kept = { *to, s.len };

    if (s.len)
        memcpy(*to, s.ptr, s.len);
    *to += s.len;
    return kept;
}

static struct str *keep_all(struct str *array, char **to, const struct str *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        array[i] = keep(to, items[i]);
    return array;
}

/* One block holds the struct, its arrays and all texts. */
static struct regex *regex_from(const struct draft *d)
{
    const struct re2_tree *tree = &d->tree;
    size_t n_arrays = d->n_texts + tree->n_groups;
    size_t n_bytes = total_length(d->texts, d->n_texts)
                     + total_length(tree->group_names, tree->n_groups) + d->prefix.len
                     + d->translated.len;
    struct regex *re = calloc(1, sizeof *re + n_arrays * sizeof(struct str) + n_bytes);
    struct str *arrays;
    char *to;

    if (!re)
        return NULL;
    arrays = (struct str *)(void *)re->strings;
    to = (char *)(arrays + n_arrays);
    re->n_texts = d->n_texts;
    re->texts = keep_all(arrays, &to, d->texts, d->n_texts);
    re->n_groups = tree->n_groups;
    re->group_names = keep_all(arrays + d->n_texts, &to, tree->group_names, tree->n_groups);
    re->prefix = keep(&to, buf_as_str(&d->prefix));
    re->translated = keep(&to, buf_as_str(&d->translated));
    re->literal = d->literal;
    re->search = d->search;
    return re;
}
_Static_assert(offsetof(struct regex, strings) % _Alignof(struct str) == 0, "arrays come first");

static uint64_t hash_of_text(const void *ctx, uint32_t id)
{
    const struct regex *re = ctx;

    return hash64(re->texts[id].ptr, re->texts[id].len);
}

static bool is_text(const void *ctx, uint32_t id, const void *key)
{
    const struct regex *re = ctx;

    return str_equal(re->texts[id], *(const struct str *)key);
}

static bool build_set(struct regex *re)
{
    if (!re->literal || re->n_texts <= SMALL_SET)
        return true;
    for (uint32_t i = 0; i < re->n_texts; i++)
        if (!table_add(&re->set, hash_of_text(re, i), i, hash_of_text, re))
            return false;
    return true;
}

static enum errc compile(struct str pattern, bool search, struct regex **out, struct err *err)
{
    struct draft d = { .search = search };
    struct arena *a = NULL;
    struct regex *re = NULL;
    struct program *program = NULL;
    enum errc rc;

    if (pattern.len > REGEX_MAX_PATTERN)
        return err_set(err, ERR_TOO_LARGE, 0,
                       "regular expression of %zu bytes is longer than the limit of %d",
                       pattern.len, REGEX_MAX_PATTERN);
    a = arena_new(PARSE_ARENA);
    rc = a ? draft_fill(&d, pattern, a, err) : err_set(err, ERR_NOMEM, 0, "out of memory");
    if (rc != OK)
        goto done;
    re = regex_from(&d);
    if (!re || !build_set(re)) {
        rc = err_set(err, ERR_NOMEM, 0, "regular expression: out of memory");
        goto done;
    }
    if (re->n_texts == 0) {
        rc = program_new(re->translated, re->search, &program, err);
        if (rc != OK)
            goto done;
        atomic_init(&re->program, program);
    }
    *out = re;
    re = NULL;
done:
    regex_free(re);
    buf_free(&d.prefix);
    buf_free(&d.translated);
    arena_free(a);
    return rc;
}

enum errc regex_compile(struct str pattern, struct regex **out, struct err *err)
{
    return compile(pattern, false, out, err);
}

enum errc regex_compile_search(struct str pattern, struct regex **out, struct err *err)
{
    return compile(pattern, true, out, err);
}

void regex_free(struct regex *re)
{
    if (!re)
        return;
    program_free(atomic_load(&re->program));
    table_free(&re->set);
    free(re);
}

/* --- matching --- */

/* RE2 reads an invalid byte as one U+FFFD; *fixed holds the text when s had any. */
static bool make_valid(struct str *s, struct buf *fixed)
{
    if (utf8_valid(*s))
        return true;
    for (size_t at = 0, n; at < s->len; at += n) {
        char text[4];
        uint32_t rune = utf8_decode((struct str){ s->ptr + at, s->len - at }, &n);

        buf_add(fixed, text, utf8_encode(rune, text));
    }
    *s = buf_as_str(fixed);
    return !fixed->failed;
}

static bool match_texts(const struct regex *re, struct str s)
{
    if (re->set.n)
        return table_find(&re->set, hash64(s.ptr, s.len), is_text, re, &s) != TABLE_NONE;
    for (size_t i = 0; i < re->n_texts; i++)
        if (re->literal ? str_equal(re->texts[i], s) : re2_wildcard_match(re->texts[i], s))
            return true;
    return false;
}

static enum errc match_program(const struct regex *re, struct str s, bool *matched)
{
    struct program *p;
    pcre2_match_data *md;
    enum errc rc;

    if (!str_starts_with(s, re->prefix)) {
        *matched = false;
        return OK;
    }
    rc = program_get(re, &p);
    if (rc != OK)
        return rc;
    md = take_match_data(p);
    if (!md)
        return ERR_NOMEM;
    rc = run(p, s, md, false, matched);
    give_match_data(p, md);
    return rc;
}

enum errc regex_match(const struct regex *re, struct str s, bool *matched)
{
    struct buf fixed = { 0 };
    enum errc rc = ERR_NOMEM;

    if (!make_valid(&s, &fixed)) {
        /* no memory */
    } else if (re->n_texts) {
        *matched = match_texts(re, s);
        rc = OK;
    } else {
        rc = match_program(re, s, matched);
    }
    buf_free(&fixed);
    return rc;
}

enum errc regex_search(const struct regex *re, struct str s, bool *matched)
{
    struct buf fixed = { 0 };
    enum errc rc = ERR_NOMEM;

    ASSERT(re->search);
    if (make_valid(&s, &fixed))
        rc = match_program(re, s, matched);
    buf_free(&fixed);
    return rc;
}

bool regex_literals(const struct regex *re, const struct str **texts, size_t *n)
{
    if (!re->literal)
        return false;
    *texts = re->texts;
    *n = re->n_texts;
    return true;
}

struct str regex_prefix(const struct regex *re)
{
    return re->prefix;
}

/* --- replacing --- */

/* The groups of a match: pairs of offsets into subject. */
struct groups {
    const struct regex *re;
    struct str subject;
    const PCRE2_SIZE *offsets;
    size_t n; /* the whole match included */
};

static struct str group_text(const struct groups *g, size_t i)
{
    if (i >= g->n || g->offsets[2 * i] == PCRE2_UNSET)
        return (struct str){ 0 };
    return (struct str){ g->subject.ptr + g->offsets[2 * i],
                         g->offsets[2 * i + 1] - g->offsets[2 * i] };
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number without leading zeros, or SIZE_MAX. */
static size_t group_number(struct str name)
{
    size_t n = 0;

    if (name.len > 1 && name.ptr[0] == '0')
        return SIZE_MAX;
    for (size_t i = 0; i < name.len; i++) {
        if (!is_digit(name.ptr[i]) || n > 100000000)
            return SIZE_MAX;
        n = n * 10 + (size_t)(name.ptr[i] - '0');
    }
    return n;
}

/* Of several groups with that name, the first that took part. */
static struct str named_group(const struct groups *g, struct str name)
{
    size_t number = group_number(name);

    if (number != SIZE_MAX)
        return group_text(g, number);
    for (size_t i = 0; i < g->re->n_groups; i++)
        if (str_equal(g->re->group_names[i], name) && i + 1 < g->n
            && g->offsets[2 * (i + 1)] != PCRE2_UNSET)
            return group_text(g, i + 1);
    return (struct str){ 0 };
}

/* Whether a code point beyond ASCII is a letter or digit, by PCRE2's own tables. */
static bool is_word_rune(struct str text)
{
    struct str pattern = STR("[\\p{L}\\p{Nd}]");
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    pcre2_code *code = NULL;
    bool yes = false;

    if (md && compile_code(pattern, false, &code, NULL) == OK)
        yes =
            pcre2_match(code, (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_UTF_CHECK, md, NULL) > 0;
    pcre2_code_free(code);
    pcre2_match_data_free(md);
    return yes;
}

/* The length of the name that s starts with. */
static size_t name_length(struct str s)
{
    size_t i = 0, n;

    for (; i < s.len; i += n) {
        char c = s.ptr[i];
        uint32_t rune = utf8_decode((struct str){ s.ptr + i, s.len - i }, &n);

        if (rune < 0x80 ? !(c == '_' || is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
                        : n == 1 || !is_word_rune((struct str){ s.ptr + i, n }))
            break;
    }
    return i;
}

/* What stands behind a '$': how much of it is a reference (0: none), and to what. */
static size_t read_reference(struct str s, struct str *name)
{
    bool brace = s.len && s.ptr[0] == '{';
    struct str rest = { s.ptr + brace, s.len - brace };
    size_t n = name_length(rest);

    if (n == 0 || (brace && (n == rest.len || rest.ptr[n] != '}')))
        return 0;
    *name = (struct str){ rest.ptr, n };
    return n + 2 * brace;
}

static void expand_template(const struct groups *g, struct str template, struct buf *out)
{
    while (template.len) {
        const char *dollar = memchr(template.ptr, '$', template.len);
        size_t n = dollar ? (size_t)(dollar - template.ptr) : template.len;
        struct str name;

        buf_add(out, template.ptr, n);
        if (!dollar)
            return;
        template = (struct str){ dollar + 1, template.len - n - 1 };
        if (template.len && template.ptr[0] == '$') {
            n = 1;
            buf_u8(out, '$');
        } else if ((n = read_reference(template, &name)) > 0) {
            buf_str(out, named_group(g, name));
        } else {
            buf_u8(out, '$');
        }
        template = (struct str){ template.ptr + n, template.len - n };
    }
}

enum errc regex_replace(const struct regex *re, struct str s, struct str template, struct buf *out,
                        bool *matched)
{
    struct buf fixed = { 0 };
    struct program *p = NULL;
    pcre2_match_data *md = NULL;
    enum errc rc = ERR_NOMEM;

    if (!make_valid(&s, &fixed))
        goto done;
    *matched = str_starts_with(s, re->prefix) && (!re->n_texts || match_texts(re, s));
    rc = *matched ? program_get(re, &p) : OK;
    if (rc != OK || !*matched)
        goto done;
    md = take_match_data(p);
    rc = md ? run(p, s, md, true, matched) : ERR_NOMEM;
    if (rc == OK && *matched) {
        struct groups g = { re, s, pcre2_get_ovector_pointer(md), pcre2_get_ovector_count(md) };

        expand_template(&g, template, out);
        rc = out->failed ? ERR_NOMEM : OK;
    }
done:
    if (md)
        give_match_data(p, md);
    buf_free(&fixed);
    return rc;
}

/* One match from *at on: the text before it and its replacement, or the rest of the text. As in Go an
 * empty match right behind another match is none. False at the end. */
static bool replace_next(struct groups *g, size_t *at, size_t *copied, struct str template,
                         struct buf *out)
{
    size_t from = g->offsets[0], to = g->offsets[1];
    size_t width = 1;

    if (to > *copied || from == 0) {
        buf_add(out, g->subject.ptr + *copied, from - *copied);
        expand_template(g, template, out);
        *copied = to;
    }
    if (to > *at) {
        *at = to;
    } else {
        if (*at < g->subject.len)
            utf8_decode((struct str){ g->subject.ptr + *at, g->subject.len - *at }, &width);
        *at += width;
    }
    return *at <= g->subject.len;
}

enum errc regex_replace_all(const struct regex *re, struct str s, struct str template,
                            size_t max_bytes, struct buf *out)
{
    struct buf fixed = { 0 };
    struct program *p = NULL;
    pcre2_match_data *md = NULL;
    size_t at = 0, copied = 0, start = out->len;
    bool more = true;
    enum errc rc = ERR_NOMEM;

    ASSERT(re->search);
    if (!s.ptr)
        s = STR("");
    if (!make_valid(&s, &fixed))
        goto done;
    rc = program_get(re, &p);
    if (rc != OK)
        goto done;
    md = take_match_data(p);
    rc = md ? OK : ERR_NOMEM;
    while (rc == OK && more) {
        rc = run_from(p, s, at, md, true, &more);
        if (rc == OK && more) {
            struct groups g = { re, s, pcre2_get_ovector_pointer(md), pcre2_get_ovector_count(md) };

            more = replace_next(&g, &at, &copied, template, out);
        }
        if (out->failed || out->len - start > max_bytes)
            rc = out->failed ? ERR_NOMEM : ERR_LIMIT;
    }
    if (rc == OK) {
        buf_add(out, s.ptr + copied, s.len - copied);
        rc = out->failed ? ERR_NOMEM : out->len - start > max_bytes ? ERR_LIMIT : OK;
    }
done:
    if (md)
        give_match_data(p, md);
    buf_free(&fixed);
    return rc;
}
