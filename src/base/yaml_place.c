/* yaml_place.c -- from an offset in a scalar's text back to its place in the file.
 *
 * The text of a scalar is its source without quotes, with escapes decoded and lines folded or
 * stripped of their indentation (YAML 1.1, chapter 9). Characters other than white space stand in
 * both in the same order, so source and text are walked together: one character, one escape, or
 * one run of white space with line breaks in it at a time. What the folding rules make of such a
 * run need not be known for block scalars, as the run of white space in the text is what it
 * became; for quoted and plain scalars, whose text may go on with an escaped space, it is one
 * space or the line breaks but one.
 */
#include "base/yaml.h"

#include "base/banned.h"

struct walk {
    struct str source, text; /* what is left of both */
    uint32_t line, col;      /* of source.ptr */
};

static bool is_break(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || is_break(c);
}

/* Passes one character of the source. */
static void step(struct walk *w)
{
    size_t n = 1;

    if (is_break(*w->source.ptr)) {
        n += w->source.len > 1 && w->source.ptr[0] == '\r' && w->source.ptr[1] == '\n';
        w->line++;
        w->col = 1;
    } else {
        utf8_decode(w->source, &n);
        w->col++;
    }
    w->source = (struct str){ w->source.ptr + n, w->source.len - n };
}

static void pass(struct str *s, size_t n)
{
    n = n < s->len ? n : s->len;
    *s = (struct str){ s->ptr + n, s->len - n };
}

/* The number of line breaks in the white space that the source goes on with. */
static size_t breaks_ahead(struct walk w)
{
    uint32_t first = w.line;

    while (w.source.len > 0 && is_blank(*w.source.ptr))
        step(&w);
    return w.line - first;
}

static size_t blanks_ahead(struct str s)
{
    size_t n = 0;

    while (n < s.len && is_blank(s.ptr[n]))
        n++;
    return n;
}

/* Passes white space with line breaks, unless the offset, left bytes ahead, is in it. */
static bool pass_breaks(struct walk *w, size_t n_text, size_t left)
{
    if (left < n_text)
        return false;
    while (w->source.len > 0 && is_blank(*w->source.ptr))
        step(w);
    pass(&w->text, n_text);
    return true;
}

/* The bytes of text that the escape at the source stands for, and its own length in *n. */
static size_t escape_width(struct str source, size_t *n)
{
    static const struct {
        char c;
        unsigned char digits, width;
    } escapes[] = {
        { 'x', 2, 0 }, { 'u', 4, 0 }, { 'U', 8, 0 }, { 'N', 0, 2 },
        { '_', 0, 2 }, { 'L', 0, 3 }, { 'P', 0, 3 },
    };
    char utf8[4];
    uint32_t c = 0;

    *n = 2;
    for (size_t i = 0; source.len > 1 && i < ARRAY_LEN(escapes); i++) {
        if (source.ptr[1] != escapes[i].c)
            continue;
        for (size_t k = 0; k < escapes[i].digits && *n < source.len; k++, ++*n) {
            char digit = source.ptr[*n];

            c = c << 4 | (uint32_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
        }
        return escapes[i].digits ? utf8_encode(c, utf8) : escapes[i].width;
    }
    return 1;
}

/* Passes a backslash and what it escapes, unless the offset is in it. */
static bool pass_escape(struct walk *w, size_t left)
{
    size_t n, width;

    if (w->source.len > 1 && is_break(w->source.ptr[1])) { /* stands for nothing */
        step(w);
        step(w);
        while (w->source.len > 0 && (*w->source.ptr == ' ' || *w->source.ptr == '\t'))
            step(w);
        return true;
    }
    width = escape_width(w->source, &n);
    if (left < width)
        return false;
    for (size_t i = 0; i < n && w->source.len > 0; i++)
        step(w);
    pass(&w->text, width);
    return true;
}

/* Passes a character that stands for itself, unless the offset is in it or source and text differ. */
static bool pass_same(struct walk *w, size_t left)
{
    size_t n;

    if (w->text.len == 0 || *w->source.ptr != *w->text.ptr)
        return false;
    utf8_decode(w->text, &n);
    if (left < n)
        return false;
    step(w);
    pass(&w->text, n);
    return true;
}

/* Passes a run of white space, as a whole so that long ones cost no more than their length. */
static bool pass_blanks(struct walk *w, char style, size_t left)
{
    size_t n_breaks = breaks_ahead(*w);

    if (n_breaks > 0 && (style == '|' || style == '>'))
        return pass_breaks(w, blanks_ahead(w->text), left);
    if (n_breaks > 0)
        return pass_breaks(w, n_breaks > 1 ? n_breaks - 1 : 1, left);
    for (; left > 0 && w->source.len > 0 && is_blank(*w->source.ptr); left--) {
        if (!pass_same(w, left))
            return false;
    }
    return true;
}

/* Passes one unit. False when the offset, left bytes ahead, is reached. */
static bool advance(struct walk *w, char style, size_t left)
{
    if (w->source.len == 0)
        return false;
    if (style == '"' && *w->source.ptr == '\\')
        return pass_escape(w, left);
    if (left == 0)
        return false;
    if (is_blank(*w->source.ptr))
        return pass_blanks(w, style, left);
    if (style == '\'' && *w->source.ptr == '\'')
        step(w); /* the first of two that stand for one */
    return w->source.len > 0 && pass_same(w, left);
}

/* Passes what stands before the content. */
static void begin(struct walk *w, char style, size_t left)
{
    if (style == '\'' || style == '"')
        step(w);
    if (style != '|' && style != '>')
        return;
    while (w->source.len > 0 && !is_break(*w->source.ptr))
        step(w);
    pass_breaks(w, blanks_ahead(w->text), left);
}

void yaml_place(const struct yaml_node *n, size_t offset, uint32_t *line, uint32_t *col)
{
    struct walk w = { n->source, n->text, n->line, n->col };
    struct str text = n->text;
    char style;

    while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
        text.len--;
    if (offset > text.len)
        offset = text.len;
    if (text.len > 0 && n->source.len > 0) {
        style = *n->source.ptr;
        begin(&w, style, offset);
        while (advance(&w, style, offset - (n->text.len - w.text.len)))
            ;
    }
    *line = w.line;
    *col = w.col;
}
