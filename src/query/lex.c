/* lex.c
 *
 *   place                 entered by   left by            words are
 *   plain text            the start                       keywords or names
 *   braces                {            }                  label names, whatever they spell
 *   duration to come      [            first number       step, range, min_of, max_of only
 *   rest of the brackets  a number     ]                  the same
 *
 * The last two differ in the words of their errors and in comments, which the third refuses.
 */
#include "query/lex.h"

#include <stdarg.h>
#include <string.h>

#include "base/arena.h"
#include "query/ast.h"
#include "storage/labels.h"

#include "base/banned.h"

enum { END_OF_TEXT = -1, REPLACEMENT = 0xfffd };

static const struct word {
    const char *text;
    uint8_t kind, value;
} words[] = {
    { "and", TOK_OPERATOR, OP_AND },
    { "or", TOK_OPERATOR, OP_OR },
    { "unless", TOK_OPERATOR, OP_UNLESS },
    { "atan2", TOK_OPERATOR, OP_ATAN2 },
    { "sum", TOK_AGGREGATOR, AGG_SUM },
    { "avg", TOK_AGGREGATOR, AGG_AVG },
    { "count", TOK_AGGREGATOR, AGG_COUNT },
    { "min", TOK_AGGREGATOR, AGG_MIN },
    { "max", TOK_AGGREGATOR, AGG_MAX },
    { "group", TOK_AGGREGATOR, AGG_GROUP },
    { "stddev", TOK_AGGREGATOR, AGG_STDDEV },
    { "stdvar", TOK_AGGREGATOR, AGG_STDVAR },
    { "topk", TOK_AGGREGATOR, AGG_TOPK },
    { "bottomk", TOK_AGGREGATOR, AGG_BOTTOMK },
    { "count_values", TOK_AGGREGATOR, AGG_COUNT_VALUES },
    { "quantile", TOK_AGGREGATOR, AGG_QUANTILE },
    { "limitk", TOK_AGGREGATOR, AGG_LIMITK },
    { "limit_ratio", TOK_AGGREGATOR, AGG_LIMIT_RATIO },
    { "offset", TOK_OFFSET, 0 },
    { "anchored", TOK_ANCHORED, 0 },
    { "smoothed", TOK_SMOOTHED, 0 },
    { "by", TOK_BY, 0 },
    { "without", TOK_WITHOUT, 0 },
    { "on", TOK_ON, 0 },
    { "ignoring", TOK_IGNORING, 0 },
    { "group_left", TOK_GROUP_LEFT, 0 },
    { "group_right", TOK_GROUP_RIGHT, 0 },
    { "bool", TOK_BOOL, 0 },
    { "fill", TOK_FILL, 0 },
    { "fill_left", TOK_FILL_LEFT, 0 },
    { "fill_right", TOK_FILL_RIGHT, 0 },
    { "start", TOK_START, 0 },
    { "end", TOK_FINISH, 0 },
    { "step", TOK_STEP, 0 },
    { "range", TOK_RANGE, 0 },
    { "min_of", TOK_MIN_OF, 0 },
    { "max_of", TOK_MAX_OF, 0 },
    { "inf", TOK_NUMBER, 0 },
    { "nan", TOK_NUMBER, 0 },
};

/* Operators and punctuation of plain text, longer ones first. */
static const struct sign {
    const char *text;
    uint8_t kind, value;
} signs[] = {
    { "==", TOK_OPERATOR, OP_EQ },
    { "!=", TOK_OPERATOR, OP_NE },
    { "<=", TOK_OPERATOR, OP_LE },
    { ">=", TOK_OPERATOR, OP_GE },
    { "</", TOK_OPERATOR, OP_TRIM_UPPER },
    { ">/", TOK_OPERATOR, OP_TRIM_LOWER },
    { "<", TOK_OPERATOR, OP_LT },
    { ">", TOK_OPERATOR, OP_GT },
    { "+", TOK_OPERATOR, OP_ADD },
    { "-", TOK_OPERATOR, OP_SUB },
    { "*", TOK_OPERATOR, OP_MUL },
    { "/", TOK_OPERATOR, OP_DIV },
    { "%", TOK_OPERATOR, OP_MOD },
    { "^", TOK_OPERATOR, OP_POW },
    { "@", TOK_AT, 0 },
    { ",", TOK_COMMA, 0 },
    { "=", TOK_EQUAL, 0 },
};

/* The same inside braces. */
static const struct sign brace_signs[] = {
    { "=~", TOK_MATCH_REGEX, 0 },  { "!~", TOK_NOT_MATCH_REGEX, 0 },
    { "!=", TOK_OPERATOR, OP_NE }, { "=", TOK_EQUAL, 0 },
    { ",", TOK_COMMA, 0 },
};

/* ---- characters ---- */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(int c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(int c)
{
    return is_alpha(c) || is_digit(c);
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int to_lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static bool is_word(struct str s, const char *lower)
{
    if (s.len != strlen(lower))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (to_lower(s.ptr[i]) != lower[i])
            return false;
    return true;
}

/* The byte at distance ahead, or END_OF_TEXT. */
static int peek_at(const struct lexer *lx, size_t ahead)
{
    size_t i = lx->pos + ahead;

    return i < lx->text.len ? (unsigned char)lx->text.ptr[i] : END_OF_TEXT;
}

static int peek(const struct lexer *lx)
{
    return peek_at(lx, 0);
}

/* The code point at the cursor, REPLACEMENT for an invalid byte. Moves on. */
static int next_rune(struct lexer *lx)
{
    struct str rest = { lx->text.ptr + lx->pos, lx->text.len - lx->pos };
    size_t n;

    if (rest.len == 0)
        return END_OF_TEXT;
    int rune = (int)utf8_decode(rest, &n);

    lx->pos += (uint32_t)n;
    return rune;
}

/* Takes the next byte if it is one of set. */
static bool accept(struct lexer *lx, const char *set)
{
    int c = peek(lx);

    if (c <= 0 || !strchr(set, c))
        return false;
    lx->pos++;
    return true;
}

static bool accept_run(struct lexer *lx, const char *set)
{
    uint32_t from = lx->pos;

    while (accept(lx, set))
        ;
    return lx->pos > from;
}

/* ---- results ---- */

static struct token emit(struct lexer *lx, int kind, uint8_t value)
{
    struct token t = { (enum token_kind)kind, value, lx->start, lx->pos, NULL };

    lx->start = lx->pos;
    return t;
}

static struct token fail(struct lexer *lx, const char *fmt, ...) PRINTF_LIKE(2, 3);
static struct token fail(struct lexer *lx, const char *fmt, ...)
{
    struct token t = { TOK_ERROR, 0, lx->start, lx->pos, NULL };
    va_list ap;

    va_start(ap, fmt);
    t.error = arena_vprintf(lx->arena, fmt, ap);
    va_end(ap);
    return t;
}

/* What fmt says with its %s replaced by rune as Go's %q shows one: 'x', '\n', '\u00a0'. */
static struct token fail_at_rune(struct lexer *lx, const char *before, int rune, const char *after)
{
    char utf8[4];
    struct buf b = { 0 };
    size_t n = utf8_encode(rune < 0 ? REPLACEMENT : (uint32_t)rune, utf8);
    struct token t;

    if (rune == '\'')
        buf_text(&b, "'\\''");
    else if (rune == '"')
        buf_text(&b, "'\"'");
    else
        print_quoted(&b, (struct str){ utf8, n });
    if (b.failed || b.len < 2) {
        t = fail(lx, "unexpected character");
    } else {
        b.ptr[0] = b.ptr[b.len - 1] = '\'';
        t = fail(lx, "%s: %.*s%s", before, STR_ARG(buf_as_str(&b)), after);
    }
    buf_free(&b);
    return t;
}

/* U+0063 'c', as Go's %#U; the character itself only when it is printable. */
static struct token fail_in_escape(struct lexer *lx, const char *before, int rune,
                                   const char *after)
{
    char utf8[4];
    struct buf b = { 0 };
    size_t n = utf8_encode((uint32_t)rune, utf8);
    struct token t;

    print_quoted(&b, (struct str){ utf8, n });
    bool plain = b.len == n + 2 || rune == '"' || rune == '\\';

    if (plain)
        t = fail(lx, "%s U+%04X '%.*s'%s", before, (unsigned)rune, (int)n, utf8, after);
    else
        t = fail(lx, "%s U+%04X%s", before, (unsigned)rune, after);
    buf_free(&b);
    return t;
}

/* ---- strings ---- */

static int digit_value(int c)
{
    if (is_digit(c))
        return c - '0';
    c = to_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Reads an escape sequence after its backslash. False: *t is the error. */
static bool lex_escape(struct lexer *lx, int quote, struct token *t)
{
    static const struct escape {
        char letter;
        uint8_t digits, base;
        uint32_t max;
    } numeric[] = { { 'x', 2, 16, 255 }, { 'u', 4, 16, 0x10ffff }, { 'U', 8, 16, 0x10ffff } };
    struct escape e = { 0, 3, 8, 255 };
    int c = next_rune(lx);
    uint32_t x = 0;
    bool found = c >= '0' && c <= '7';

    if (c == quote || (c > 0 && c < 0x80 && strchr("abfnrtv\\", c)))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(numeric) && !found; i++)
        if (c == numeric[i].letter) {
            e = numeric[i];
            c = next_rune(lx);
            found = true;
        }
    if (c == END_OF_TEXT) {
        *t = fail(lx, "escape sequence not terminated");
        return false;
    }
    if (!found) {
        *t = fail_in_escape(lx, "unknown escape sequence", c, "");
        return false;
    }
    for (unsigned n = e.digits; n > 0; n--) {
        if (c == END_OF_TEXT) {
            *t = fail(lx, "escape sequence not terminated");
            return false;
        }
        if (digit_value(c) >= e.base) {
            *t = fail_in_escape(lx, "illegal character", c, " in escape sequence");
            return false;
        }
        x = x * e.base + (uint32_t)digit_value(c);
        if (n > 1)
            c = next_rune(lx);
    }
    if (x > e.max || (x >= 0xd800 && x < 0xe000)) {
        *t = fail(lx, "escape sequence is an invalid Unicode code point");
        return false;
    }
    return true;
}

static struct token lex_string(struct lexer *lx)
{
    int quote = next_rune(lx);
    bool raw = quote == '`';
    struct token t;

    for (;;) {
        int c = next_rune(lx);

        if (c == quote)
            return emit(lx, TOK_STRING, 0);
        if (c == REPLACEMENT)
            return fail(lx, "invalid UTF-8 rune");
        if (c == END_OF_TEXT || (c == '\n' && !raw))
            return fail(lx, raw ? "unterminated raw string" : "unterminated quoted string");
        if (c == '\\' && !raw && !lex_escape(lx, quote, &t))
            return t;
    }
}

/* ---- numbers and durations ---- */

static bool next_is(const struct lexer *lx, const char *set)
{
    int c = peek(lx);

    return c > 0 && strchr(set, c);
}

/* [.] digits, then digits with single underscores, one exponent and one dot among them. Takes as
 * much as looks like a number; false when that is not one. The first dot does not count, so that
 * ".5.5" fails only when it is converted, as in Prometheus. */
static bool scan_decimal(struct lexer *lx)
{
    static const char digits[] = "0123456789";
    bool dot = false, exponent = false;

    accept(lx, ".");
    accept(lx, digits);
    for (;;) {
        if (accept(lx, ".")) {
            if (dot || accept(lx, "_."))
                return false;
            dot = true;
        } else if (accept(lx, "eE")) {
            if (exponent)
                return false;
            exponent = true;
            accept(lx, "+-");
            if (accept(lx, "._eE") || peek(lx) == END_OF_TEXT)
                return false;
        } else if (accept(lx, "_")) {
            if (accept(lx, "._eE") || peek(lx) == END_OF_TEXT)
                return false;
        } else if (!accept_run(lx, digits)) {
            return !is_alnum(peek(lx));
        }
    }
}

static bool scan_hex(struct lexer *lx)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    lx->pos += 2;
    accept(lx, "_");
    while (accept_run(lx, digits))
        if (accept(lx, "_") && !next_is(lx, digits))
            return false;
    return !is_alnum(peek(lx)) && peek(lx) != '.';
}

/* The unit after the digits and all that follows in a duration. Wrong order and unknown
 * two-letter units are found when it is converted. */
static bool scan_rest_of_duration(struct lexer *lx)
{
    if (!accept(lx, "smhdwy"))
        return false;
    accept(lx, "s");
    while (accept_run(lx, "0123456789")) {
        if (!accept(lx, "smhdw"))
            return false;
        accept(lx, "s");
    }
    if (!is_alnum(peek(lx)))
        return true;
    lx->pos++; /* shown in the message */
    return false;
}

static struct token lex_number(struct lexer *lx)
{
    bool hex = peek(lx) == '0' && (peek_at(lx, 1) == 'x' || peek_at(lx, 1) == 'X');
    struct buf b = { 0 };
    struct token t;

    if (hex ? scan_hex(lx) : scan_decimal(lx))
        return emit(lx, TOK_NUMBER, 0);
    if (scan_rest_of_duration(lx))
        return emit(lx, TOK_DURATION, 0);
    print_quoted(&b, (struct str){ lx->text.ptr + lx->start, lx->pos - lx->start });
    t = fail(lx, "bad number or duration syntax: %.*s", STR_ARG(buf_as_str(&b)));
    buf_free(&b);
    return t;
}

/* ---- the places ---- */

static void skip_spaces(struct lexer *lx, bool comments)
{
    for (;;) {
        int c = peek(lx);

        if (comments && c == '#')
            while (c != '\n' && c != '\r' && c != END_OF_TEXT) {
                lx->pos++;
                c = peek(lx);
            }
        else if (is_space(c))
            lx->pos++;
        else
            break;
    }
    lx->start = lx->pos;
}

static bool starts_number(const struct lexer *lx)
{
    return is_digit(peek(lx)) || (peek(lx) == '.' && is_digit(peek_at(lx, 1)));
}

static const struct sign *find_sign(const struct lexer *lx, const struct sign *table, size_t n)
{
    struct str rest = { lx->text.ptr + lx->pos, lx->text.len - lx->pos };

    for (size_t i = 0; i < n; i++)
        if (str_starts_with(rest, str_from(table[i].text)))
            return &table[i];
    return NULL;
}

static struct token emit_sign(struct lexer *lx, const struct sign *s)
{
    lx->pos += (uint32_t)strlen(s->text);
    return emit(lx, s->kind, s->value);
}

static const struct word *find_word(struct str s)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (is_word(s, words[i].text))
            return &words[i];
    return NULL;
}

/* The fill words are keywords only before an opening parenthesis. */
static bool opens_paren(const struct lexer *lx)
{
    size_t i = 0;

    while (is_space(peek_at(lx, i)))
        i++;
    return peek_at(lx, i) == '(';
}

static struct token lex_word(struct lexer *lx)
{
    bool colon = false;

    for (; is_alnum(peek(lx)) || peek(lx) == ':'; lx->pos++)
        colon |= peek(lx) == ':';
    const struct word *w = find_word((struct str){ lx->text.ptr + lx->start, lx->pos - lx->start });
    bool fill = w && w->kind >= TOK_FILL && w->kind <= TOK_FILL_RIGHT;

    if (!w || (fill && !opens_paren(lx)))
        return emit(lx, colon ? TOK_METRIC_IDENTIFIER : TOK_IDENTIFIER, 0);
    return emit(lx, w->kind, w->value);
}

/* step, range, min_of or max_of in brackets. False: no such word; the cursor is where it was. */
static bool lex_duration_word(struct lexer *lx, struct token *t)
{
    while (is_alpha(peek(lx)))
        lx->pos++;
    const struct word *w = find_word((struct str){ lx->text.ptr + lx->start, lx->pos - lx->start });

    if (!w || w->kind < TOK_STEP || w->kind > TOK_MAX_OF) {
        lx->pos = lx->start;
        return false;
    }
    *t = emit(lx, w->kind, 0);
    return true;
}

static struct token lex_right_paren(struct lexer *lx)
{
    lx->pos++;
    struct token t = emit(lx, TOK_RIGHT_PAREN, 0);

    if (lx->paren_depth == 0)
        return fail(lx, "unexpected right parenthesis ')'");
    lx->paren_depth--;
    return t;
}

static struct token lex_left_paren(struct lexer *lx)
{
    lx->pos++;
    lx->paren_depth++;
    return emit(lx, TOK_LEFT_PAREN, 0);
}

static struct token lex_bracket(struct lexer *lx)
{
    bool left = peek(lx) == '[';

    if (left == lx->in_brackets)
        return fail(lx, "unexpected %s bracket '%c'", left ? "left" : "right", peek(lx));
    lx->in_brackets = lx->expect_duration = left;
    lx->had_colon = lx->had_duration = false;
    lx->pos++;
    return emit(lx, left ? TOK_LEFT_BRACKET : TOK_RIGHT_BRACKET, 0);
}

/* After '[' up to the first number or word. */
static struct token lex_duration_start(struct lexer *lx)
{
    static const char operators[] = "+-*/%^,";
    struct token t;

    skip_spaces(lx, false);
    int c = peek(lx);

    if (c == END_OF_TEXT)
        return fail(lx, "unexpected end of input in duration expression");
    if (c == ']')
        return lex_bracket(lx);
    if (c == '(')
        return lex_left_paren(lx);
    if (c == ')')
        return lex_right_paren(lx);
    if (c == ':') {
        lx->pos++;
        t = emit(lx, TOK_COLON, 0);
        if (!lx->had_duration)
            return fail(lx, "unexpected colon before duration in duration expression");
        if (lx->had_colon)
            return fail(lx, "unexpected repeated colon in duration expression");
        lx->had_colon = true;
        return t;
    }
    if (starts_number(lx)) {
        lx->expect_duration = false;
        lx->had_duration = true;
        return lex_number(lx);
    }
    if (c > 0 && strchr(operators, c))
        return emit_sign(lx, find_sign(lx, signs, ARRAY_LEN(signs)));
    if (is_alpha(c) && lex_duration_word(lx, &t)) {
        lx->expect_duration = false;
        lx->had_duration = true;
        return t;
    }
    return fail_at_rune(lx, "unexpected character in duration expression", next_rune(lx), "");
}

/* A letter or a colon in brackets, after the first number. */
static struct token lex_colon_or_word(struct lexer *lx)
{
    struct token t;

    if (peek(lx) == ':') {
        if (lx->had_colon)
            return fail(lx, "unexpected colon ':'");
        lx->had_colon = true;
        lx->pos++;
        return emit(lx, TOK_COLON, 0);
    }
    if (lex_duration_word(lx, &t))
        return t;
    return fail_at_rune(lx, "unexpected character", next_rune(lx), ", expected ':'");
}

static struct token lex_in_braces(struct lexer *lx)
{
    skip_spaces(lx, true);
    int c = peek(lx);
    const struct sign *sign = find_sign(lx, brace_signs, ARRAY_LEN(brace_signs));

    if (c == END_OF_TEXT)
        return fail(lx, "unexpected end of input inside braces");
    if (sign)
        return emit_sign(lx, sign);
    if (is_alpha(c)) {
        while (is_alnum(peek(lx)))
            lx->pos++;
        return emit(lx, TOK_IDENTIFIER, 0);
    }
    switch (c) {
    case '"':
    case '\'':
    case '`':
        return lex_string(lx);
    case '{':
        return fail(lx, "unexpected left brace '{'");
    case '}':
        lx->pos++;
        lx->in_braces = false;
        return emit(lx, TOK_RIGHT_BRACE, 0);
    case '!':
        lx->pos++;
        return fail_at_rune(lx, "unexpected character after '!' inside braces", next_rune(lx), "");
    default:
        return fail_at_rune(lx, "unexpected character inside braces", next_rune(lx), "");
    }
}

static struct token lex_end(struct lexer *lx)
{
    if (lx->paren_depth)
        return fail(lx, "unclosed left parenthesis");
    if (lx->in_brackets)
        return fail(lx, "unclosed left bracket");
    return emit(lx, TOK_END, 0);
}

static struct token lex_plain(struct lexer *lx)
{
    skip_spaces(lx, true);
    int c = peek(lx);
    const struct sign *sign = find_sign(lx, signs, ARRAY_LEN(signs));

    if (c == END_OF_TEXT)
        return lex_end(lx);
    if (starts_number(lx))
        return lex_number(lx);
    if (is_alpha(c) || c == ':')
        return lx->in_brackets ? lex_colon_or_word(lx) : lex_word(lx);
    if (c == '=' && peek_at(lx, 1) == '~')
        return fail(lx, "unexpected character after '=': '~'");
    if (sign)
        return emit_sign(lx, sign);
    switch (c) {
    case '"':
    case '\'':
    case '`':
        return lex_string(lx);
    case '(':
        return lex_left_paren(lx);
    case ')':
        return lex_right_paren(lx);
    case '{':
        lx->pos++;
        lx->in_braces = true;
        return emit(lx, TOK_LEFT_BRACE, 0);
    case '[':
    case ']':
        return lex_bracket(lx);
    case '!':
        lx->pos++;
        return fail_at_rune(lx, "unexpected character after '!'", next_rune(lx), "");
    default:
        return fail_at_rune(lx, "unexpected character", next_rune(lx), "");
    }
}

struct lexer lexer_on(struct str text, struct arena *a)
{
    ASSERT(text.len < UINT32_MAX);
    return (struct lexer){ .text = text, .arena = a };
}

struct token lex_next(struct lexer *lx)
{
    if (lx->in_braces)
        return lex_in_braces(lx);
    if (lx->expect_duration)
        return lex_duration_start(lx);
    return lex_plain(lx);
}

/* ---- tokens ---- */

struct str token_text(struct str text, const struct token *t)
{
    return (struct str){ text.ptr + t->pos, t->end - t->pos };
}

/* Go's %.10q...: at most ten characters of a longer text. */
static void print_shortened(struct buf *b, struct str s)
{
    bool longer = s.len > 10;

    for (size_t n = 0, i = 0; longer && n < 10 && i < s.len; n++) {
        size_t used;

        (void)utf8_decode((struct str){ s.ptr + i, s.len - i }, &used);
        i += used;
        if (n == 9)
            s.len = i;
    }
    print_quoted(b, s);
    if (longer)
        buf_text(b, "...");
}

void token_describe(struct buf *b, struct str text, const struct token *t)
{
    static const char *const names[TOK_COUNT] = {
        [TOK_IDENTIFIER] = "identifier", [TOK_METRIC_IDENTIFIER] = "metric identifier",
        [TOK_STRING] = "string",         [TOK_NUMBER] = "number",
        [TOK_DURATION] = "duration",
    };
    struct str s = token_text(text, t);

    switch (t->kind) {
    case TOK_END:
        buf_text(b, "end of input");
        break;
    case TOK_OPERATOR:
    case TOK_MATCH_REGEX:
    case TOK_NOT_MATCH_REGEX:
    case TOK_AT:
        buf_printf(b, "<op:%.*s>", STR_ARG(s));
        break;
    case TOK_AGGREGATOR:
        buf_printf(b, "<aggr:%.*s>", STR_ARG(s));
        break;
    case TOK_IDENTIFIER:
    case TOK_METRIC_IDENTIFIER:
        buf_printf(b, "%s ", names[t->kind]);
        print_quoted(b, s);
        break;
    case TOK_STRING:
    case TOK_NUMBER:
    case TOK_DURATION:
        buf_printf(b, "%s ", names[t->kind]);
        print_shortened(b, s);
        break;
    default:
        if (t->kind >= TOK_OFFSET && t->kind < TOK_START)
            buf_printf(b, "<%.*s>", STR_ARG(s));
        else
            print_quoted(b, s);
    }
}

static bool is_word_operator(struct str text, const struct token *t)
{
    return t->kind == TOK_OPERATOR && is_alpha(text.ptr[t->pos]);
}

bool token_is_metric_name(struct str text, const struct token *t)
{
    switch (t->kind) {
    case TOK_BOOL:
    case TOK_ON:
    case TOK_IGNORING:
    case TOK_GROUP_LEFT:
    case TOK_GROUP_RIGHT:
        return false;
    case TOK_OPERATOR:
        return is_word_operator(text, t) && t->value != OP_ATAN2;
    case TOK_IDENTIFIER:
    case TOK_METRIC_IDENTIFIER:
    case TOK_AGGREGATOR:
        return true;
    default:
        return t->kind >= TOK_OFFSET;
    }
}

bool token_is_label_name(struct str text, const struct token *t)
{
    if (t->kind == TOK_OPERATOR)
        return is_word_operator(text, t);
    return t->kind == TOK_IDENTIFIER || t->kind == TOK_METRIC_IDENTIFIER
           || t->kind == TOK_AGGREGATOR || (t->kind >= TOK_OFFSET && t->kind != TOK_WITHOUT);
}
