/* template_text.c -- case, escapes and host names.
 *
 * Characters beyond ASCII are the C library's: its locale C.UTF-8 follows Unicode, one character to
 * one, as Go's functions do. Without that locale such a character counts as a letter without case.
 */
#include <arpa/inet.h>
#include <locale.h>
#include <string.h>
#include <wctype.h>

#include "alert/template_private.h"

#include "base/banned.h"

enum { ASCII_END = 0x80, MAX_HOST = 256 };

static locale_t unicode_locale(void)
{
    return newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static void free_locale(locale_t locale)
{
    if (locale)
        freelocale(locale);
}

static bool ascii_word(uint32_t c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_word_in(uint32_t rune, locale_t locale)
{
    if (rune < ASCII_END)
        return ascii_word(rune);
    return !locale || iswalnum_l((wint_t)rune, locale);
}

bool rune_is_word(uint32_t rune)
{
    locale_t locale = rune < ASCII_END ? (locale_t)0 : unicode_locale();
    bool yes = is_word_in(rune, locale);

    free_locale(locale);
    return yes;
}

/* --- case --- */

enum casing { CASE_UPPER, CASE_LOWER, CASE_TITLE };

static uint32_t to_case(uint32_t rune, enum casing casing, locale_t locale)
{
    static const char *const names[] = { "toupper", "tolower", "totitle" };
    wctrans_t mapping;

    if (rune < ASCII_END) {
        bool letter = ascii_word(rune) && rune >= 'A' && rune != '_';

        return !letter ? rune : casing == CASE_LOWER ? rune | 0x20 : rune & ~0x20u;
    }
    mapping = locale ? wctrans_l(names[casing], locale) : (wctrans_t)0;
    return mapping ? (uint32_t)towctrans_l((wint_t)rune, mapping, locale) : rune;
}

/* A title's letters are those behind no letter, digit or underscore; other spaces than ASCII's are
 * the only separators there are among the rest. */
static bool is_separator(uint32_t rune, locale_t locale)
{
    if (is_word_in(rune, locale))
        return false;
    return rune < ASCII_END || (locale && iswspace_l((wint_t)rune, locale)) || rune == 0xa0
           || rune == 0x85;
}

static bool change_case(struct tpl_call *c, enum casing casing)
{
    struct str s = c->args[0].s;
    locale_t locale = unicode_locale();
    uint32_t before = ' ';

    for (size_t at = 0, width; at < s.len; at += width) {
        uint32_t rune = utf8_decode((struct str){ s.ptr + at, s.len - at }, &width);
        char text[4];

        if (casing != CASE_TITLE || is_separator(before, locale))
            buf_add(c->text, text, utf8_encode(to_case(rune, casing, locale), text));
        else
            buf_add(c->text, text, utf8_encode(rune, text));
        before = rune;
    }
    free_locale(locale);
    return true;
}

bool fn_title(struct tpl_call *c)
{
    return change_case(c, CASE_TITLE);
}

bool fn_to_upper(struct tpl_call *c)
{
    return change_case(c, CASE_UPPER);
}

bool fn_to_lower(struct tpl_call *c)
{
    return change_case(c, CASE_LOWER);
}

/* --- escapes --- */

void tpl_escape_html(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '\0':
            buf_text(b, "\xef\xbf\xbd");
            break;
        case '"':
            buf_text(b, "&#34;");
            break;
        case '\'':
            buf_text(b, "&#39;");
            break;
        case '&':
            buf_text(b, "&amp;");
            break;
        case '<':
            buf_text(b, "&lt;");
            break;
        case '>':
            buf_text(b, "&gt;");
            break;
        default:
            buf_u8(b, (uint8_t)s.ptr[i]);
        }
    }
}

void tpl_escape_js(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c == '\\' || c == '\'' || c == '"')
            buf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == '<' || c == '>' || c == '&' || c == '=')
            buf_printf(b, "\\u%04X", c);
        else
            buf_u8(b, c);
    }
}

void tpl_escape_query(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (ascii_word(c) || c == '-' || c == '.' || c == '~')
            buf_u8(b, c);
        else if (c == ' ')
            buf_u8(b, '+');
        else
            buf_printf(b, "%%%02X", c);
    }
}

/* --- hosts --- */

/* host:port or [host]:port; false for anything else, as Go's net.SplitHostPort. */
static bool split_host_port(struct str s, struct str *host, struct str *port)
{
    const char *colon = s.len ? memrchr(s.ptr, ':', s.len) : NULL;
    size_t at, end;

    if (!colon)
        return false;
    at = (size_t)(colon - s.ptr);
    if (s.ptr[0] == '[') {
        const char *bracket = memchr(s.ptr, ']', s.len);

        end = bracket ? (size_t)(bracket - s.ptr) : 0;
        if (!bracket || end + 1 != at)
            return false;
        *host = (struct str){ s.ptr + 1, end - 1 };
        if (memchr(host->ptr, '[', host->len))
            return false;
    } else {
        *host = (struct str){ s.ptr, at };
        if (memchr(s.ptr, ':', at) || memchr(s.ptr, '[', at) || memchr(s.ptr, ']', at))
            return false;
    }
    *port = (struct str){ colon + 1, s.len - at - 1 };
    return !memchr(port->ptr, '[', port->len) && !memchr(port->ptr, ']', port->len);
}

static bool is_ip(struct str s)
{
    unsigned char address[sizeof(struct in6_addr)];
    char text[MAX_HOST];

    if (s.len >= sizeof text || (s.len && memchr(s.ptr, '\0', s.len)))
        return false;
    if (s.len)
        memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

bool fn_strip_port(struct tpl_call *c)
{
    struct str host, port;

    return call_return(c,
                       split_host_port(c->args[0].s, &host, &port) ? datum_str(host) : c->args[0]);
}

bool fn_strip_domain(struct tpl_call *c)
{
    struct str host = c->args[0].s, port = { 0 };
    const char *dot;
    bool bracket;

    if (!split_host_port(c->args[0].s, &host, &port)) {
        host = c->args[0].s;
        port.len = 0;
    }
    if (is_ip(host))
        return call_return(c, c->args[0]);
    dot = host.len ? memchr(host.ptr, '.', host.len) : NULL;
    if (dot)
        host.len = (size_t)(dot - host.ptr);
    if (port.len == 0)
        return call_return(c, datum_str(host));
    bracket = memchr(host.ptr, ':', host.len) || memchr(host.ptr, '%', host.len);
    buf_text(c->text, bracket ? "[" : "");
    buf_str(c->text, host);
    buf_text(c->text, bracket ? "]:" : ":");
    buf_str(c->text, port);
    return true;
}
