/* template_lex.c
 *
 * Text outside {{ and }} is one token; inside, a run of spaces is one, for it tells `$x .a` from
 * `$x.a`. Comments vanish. "{{- " and " -}}" trim the text beside them.
 *
 * The first fault ends the list with a TPL_ERROR, which the parser reports when it gets there.
 */
#include <stdarg.h>
#include <string.h>

#include "alert/template_private.h"
#include "base/arena.h"
#include "storage/labels.h"

#include "base/banned.h"

enum { TRIM_MARKER = 2, NOT_A_RUNE = -1 };

struct lexer {
    struct str text;
    struct arena *arena;
    uint32_t pos, start;
    uint32_t line, start_line;
    int parens;
    bool in_action;
    struct tpl_token *tokens;
    size_t n, cap;
    bool failed; /* the arena is full */
    bool stop;
};

static struct str rest(const struct lexer *l)
{
    return (struct str){ l->text.ptr + l->pos, l->text.len - l->pos };
}

static bool starts(const struct lexer *l, const char *literal)
{
    return str_starts_with(rest(l), str_from(literal));
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void add_token(struct lexer *l, struct tpl_token t)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 32;
        struct tpl_token *grown =
            arena_grow(l->arena, l->tokens, l->cap * sizeof *grown, cap * sizeof *grown);

        if (!grown) {
            l->failed = l->stop = true;
            return;
        }
        l->tokens = grown;
        l->cap = cap;
    }
    l->tokens[l->n++] = t;
}

/* Everything up to pos has been used or is to be forgotten. */
static void skip(struct lexer *l)
{
    for (uint32_t i = l->start; i < l->pos; i++)
        l->line += l->text.ptr[i] == '\n';
    l->start = l->pos;
    l->start_line = l->line;
}

static void emit(struct lexer *l, enum tpl_token_kind kind)
{
    struct str text = { l->text.ptr + l->start, l->pos - l->start };

    add_token(l, (struct tpl_token){ kind, l->start, l->start_line, text });
    skip(l);
}

static void fail(struct lexer *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void fail(struct lexer *l, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = arena_vprintf(l->arena, fmt, ap);
    va_end(ap);
    l->stop = true;
    l->failed |= !text;
    add_token(l, (struct tpl_token){ TPL_ERROR, l->start, l->start_line, str_from(text) });
}

/* The code point at pos, NOT_A_RUNE at the end. */
static int peek(const struct lexer *l, size_t *width)
{
    size_t n = 0;
    int rune = NOT_A_RUNE;

    if (l->pos < l->text.len)
        rune = (int)utf8_decode(rest(l), &n);
    if (width)
        *width = n;
    return rune;
}

static int next(struct lexer *l)
{
    size_t width;
    int rune = peek(l, &width);

    l->pos += (uint32_t)width;
    return rune;
}

/* Go's %#U: U+00A0, and the character if it can be printed. */
static void fail_at_rune(struct lexer *l, const char *what, int rune)
{
    struct buf shown = { 0 };
    char utf8[4];

    print_quoted(&shown, (struct str){ utf8, utf8_encode((uint32_t)rune, utf8) });
    if (!shown.failed && shown.len > 3 && shown.ptr[1] == '\\' && rune != '"' && rune != '\\')
        fail(l, "%s U+%04X", what, (unsigned)rune);
    else
        fail(l, "%s U+%04X '%.*s'", what, (unsigned)rune, (int)utf8_encode((uint32_t)rune, utf8),
             utf8);
    buf_free(&shown);
}

static bool at_trim_marker(const struct lexer *l)
{
    struct str s = rest(l);

    return s.len >= TRIM_MARKER && s.ptr[0] == '-' && is_space(s.ptr[1]);
}

/* Whether "}}" or " -}}" comes next. */
static bool at_right_delim(const struct lexer *l, bool *trim)
{
    struct str s = rest(l);

    *trim = s.len >= TRIM_MARKER + 2 && is_space(s.ptr[0]) && memcmp(s.ptr + 1, "-}}", 3) == 0;
    return *trim || starts(l, "}}");
}

static void skip_spaces(struct lexer *l)
{
    while (l->pos < l->text.len && is_space(l->text.ptr[l->pos]))
        l->pos++;
    skip(l);
}

static void lex_comment(struct lexer *l)
{
    const char *end;
    bool trim;

    skip(l);
    l->pos += 2;
    end = memmem(l->text.ptr + l->pos, l->text.len - l->pos, "*/", 2);
    if (!end) {
        fail(l, "unclosed comment");
        return;
    }
    l->pos = (uint32_t)(end - l->text.ptr) + 2;
    if (!at_right_delim(l, &trim)) {
        fail(l, "comment ends before closing delimiter");
        return;
    }
    l->pos += trim ? TRIM_MARKER + 2 : 2;
    if (trim)
        skip_spaces(l);
    skip(l);
}

static void lex_left_delim(struct lexer *l)
{
    uint32_t delim = l->pos, after;

    l->pos += 2;
    after = l->pos + (at_trim_marker(l) ? TRIM_MARKER : 0);
    l->pos = after;
    if (starts(l, "/*")) {
        lex_comment(l);
        return;
    }
    l->pos = delim + 2;
    emit(l, TPL_LEFT_DELIM);
    l->pos = after;
    skip(l);
    l->in_action = true;
    l->parens = 0;
}

static void lex_text(struct lexer *l)
{
    const char *delim = memmem(rest(l).ptr, rest(l).len, "{{", 2);
    uint32_t end = delim ? (uint32_t)(delim - l->text.ptr) : (uint32_t)l->text.len;
    uint32_t trimmed = end;

    if (delim) {
        l->pos = end + 2;
        if (at_trim_marker(l))
            while (trimmed > l->start && is_space(l->text.ptr[trimmed - 1]))
                trimmed--;
    }
    l->pos = trimmed;
    if (l->pos > l->start)
        emit(l, TPL_TEXT);
    l->pos = end;
    skip(l);
    if (delim) {
        lex_left_delim(l);
    } else {
        emit(l, TPL_EOF);
        l->stop = true;
    }
}

static void lex_right_delim(struct lexer *l, bool trim)
{
    if (trim) {
        l->pos += TRIM_MARKER;
        skip(l);
    }
    l->pos += 2;
    emit(l, TPL_RIGHT_DELIM);
    if (trim)
        skip_spaces(l);
    l->in_action = false;
}

/* The space before a trim marker belongs to the marker. */
static void lex_space(struct lexer *l)
{
    bool trim = false;

    while (l->pos < l->text.len && is_space(l->text.ptr[l->pos]) && !at_right_delim(l, &trim))
        l->pos++;
    if (l->pos > l->start)
        emit(l, TPL_SPACE);
}

/* Whether what follows may stand right behind a word. */
static bool at_terminator(const struct lexer *l)
{
    int c = peek(l, NULL);

    return c == NOT_A_RUNE || is_space(c) || (c < 0x80 && strchr(".,|:)(", c)) || starts(l, "}}");
}

static enum tpl_token_kind word_kind(struct str word)
{
    static const struct {
        const char *text;
        enum tpl_token_kind kind;
    } words[] = {
        { "true", TPL_BOOL },   { "false", TPL_BOOL },        { "block", TPL_BLOCK },
        { "break", TPL_BREAK }, { "continue", TPL_CONTINUE }, { "define", TPL_DEFINE },
        { "else", TPL_ELSE },   { "end", TPL_END },           { "if", TPL_IF },
        { "nil", TPL_NIL },     { "range", TPL_RANGE },       { "template", TPL_TEMPLATE },
        { "with", TPL_WITH },
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_is(word, words[i].text))
            return words[i].kind;
    return TPL_IDENTIFIER;
}

/* A word, or one behind the '.' or '$' that has been read. */
static void lex_word(struct lexer *l, enum tpl_token_kind kind)
{
    size_t width;

    for (int rune; (rune = peek(l, &width)) >= 0 && rune_is_word((uint32_t)rune);)
        l->pos += (uint32_t)width;
    if (!at_terminator(l)) {
        fail_at_rune(l, "bad character", peek(l, NULL));
        return;
    }
    if (kind == TPL_FIELD && l->pos == l->start + 1)
        kind = TPL_DOT;
    if (kind == TPL_IDENTIFIER)
        kind = word_kind((struct str){ l->text.ptr + l->start, l->pos - l->start });
    emit(l, kind);
}

static void lex_quoted(struct lexer *l, int quote, enum tpl_token_kind kind, const char *what)
{
    for (;;) {
        int c = next(l);

        if (c == '\\' && quote != '`') {
            c = next(l);
            if (c != NOT_A_RUNE && c != '\n')
                continue;
        }
        if (c == NOT_A_RUNE || (c == '\n' && quote != '`')) {
            fail(l, "unterminated %s", what);
            return;
        }
        if (c == quote)
            break;
    }
    emit(l, kind);
}

static bool accept(struct lexer *l, const char *set)
{
    if (l->pos >= l->text.len || !strchr(set, l->text.ptr[l->pos]) || !l->text.ptr[l->pos])
        return false;
    l->pos++;
    return true;
}

static void accept_run(struct lexer *l, const char *set)
{
    while (accept(l, set))
        ;
}

/* Not exact: what it lets through by mistake, the parser refuses. */
static void lex_number(struct lexer *l)
{
    const char *digits = "0123456789_";
    bool decimal = true, hex = false;
    struct buf shown = { 0 };
    int after;

    accept(l, "+-");
    if (accept(l, "0")) {
        hex = accept(l, "xX");
        decimal = !hex && !accept(l, "oO") && !accept(l, "bB");
        digits = hex ? "0123456789abcdefABCDEF_" : digits;
    }
    accept_run(l, digits);
    if (accept(l, "."))
        accept_run(l, digits);
    if ((decimal && accept(l, "eE")) || (hex && accept(l, "pP"))) {
        accept(l, "+-");
        accept_run(l, "0123456789_");
    }
    accept(l, "i"); /* complex numbers are Go's, not ours */
    after = peek(l, NULL);
    if (after == NOT_A_RUNE || !(after == '+' || after == '-' || rune_is_word((uint32_t)after))) {
        emit(l, TPL_NUMBER);
        return;
    }
    next(l);
    print_quoted(&shown, (struct str){ l->text.ptr + l->start, l->pos - l->start });
    fail(l, "bad number syntax: %.*s", STR_ARG(buf_as_str(&shown)));
    buf_free(&shown);
}

static void lex_paren(struct lexer *l, int c)
{
    l->parens += c == '(' ? 1 : -1;
    if (l->parens < 0)
        fail(l, "unexpected right paren");
    else
        emit(l, c == '(' ? TPL_LEFT_PAREN : TPL_RIGHT_PAREN);
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void lex_punctuation(struct lexer *l, int c)
{
    switch (c) {
    case NOT_A_RUNE:
        fail(l, "unclosed action");
        break;
    case '=':
        emit(l, TPL_ASSIGN);
        break;
    case ':':
        if (next(l) == '=')
            emit(l, TPL_DECLARE);
        else
            fail(l, "expected :=");
        break;
    case '|':
        emit(l, TPL_PIPE);
        break;
    case '(':
    case ')':
        lex_paren(l, c);
        break;
    default:
        if (c > ' ' && c < 0x7f)
            emit(l, TPL_CHAR);
        else
            fail_at_rune(l, "unrecognized character in action:", c);
    }
}

static void lex_action(struct lexer *l)
{
    bool trim;
    int c;

    if (at_right_delim(l, &trim)) {
        if (l->parens == 0)
            lex_right_delim(l, trim);
        else
            fail(l, "unclosed left paren");
        return;
    }
    c = next(l);
    if (is_space(c)) {
        l->pos--;
        lex_space(l);
    } else if (c == '"') {
        lex_quoted(l, c, TPL_STRING, "quoted string");
    } else if (c == '`') {
        lex_quoted(l, c, TPL_RAW_STRING, "raw quoted string");
    } else if (c == '\'') {
        lex_quoted(l, c, TPL_CHAR_CONSTANT, "character constant");
    } else if (c == '$') {
        lex_word(l, TPL_VARIABLE);
    } else if (c == '.' && !is_digit(peek(l, NULL))) {
        lex_word(l, TPL_FIELD);
    } else if (c == '.' || c == '+' || c == '-' || is_digit(c)) {
        l->pos--;
        lex_number(l);
    } else if (c != NOT_A_RUNE && rune_is_word((uint32_t)c)) {
        lex_word(l, TPL_IDENTIFIER);
    } else {
        lex_punctuation(l, c);
    }
}

struct tpl_token *tpl_lex(struct str text, struct arena *a, size_t *n)
{
    struct lexer l = { .text = text, .arena = a, .line = 1, .start_line = 1 };

    if (!text.ptr)
        l.text = STR("");
    while (!l.stop) {
        if (l.in_action)
            lex_action(&l);
        else
            lex_text(&l);
    }
    *n = l.n;
    return l.failed ? NULL : l.tokens;
}
