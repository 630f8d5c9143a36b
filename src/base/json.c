#include "base/json.h"

#include <time.h>

#include "base/number.h"

#include "base/banned.h"

/* What a byte becomes inside quotes: itself, \ and a letter, \u00XX, or it starts a sequence. */
static void escape(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        buf_u8(b, '\\');
        buf_u8(b, c);
        break;
    case '\n':
        buf_text(b, "\\n");
        break;
    case '\r':
        buf_text(b, "\\r");
        break;
    case '\t':
        buf_text(b, "\\t");
        break;
    default:
        buf_printf(b, "\\u%04x", c);
    }
}

static bool is_plain(unsigned char c, bool html)
{
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
        return false;
    return !html || (c != '<' && c != '>' && c != '&');
}

/* Adds the code point at s.ptr[i], or U+FFFD for a byte that starts none; returns its length. */
static size_t add_code_point(struct buf *b, struct str s, size_t i)
{
    struct str rest = { s.ptr + i, s.len - i };
    char utf8[4];
    size_t n;
    uint32_t c = utf8_decode(rest, &n);

    if (c == 0x2028 || c == 0x2029) /* line separators, which end a line in old JavaScript */
        buf_printf(b, "\\u%04x", c);
    else
        buf_add(b, utf8, utf8_encode(c, utf8));
    return n;
}

static void add_string(struct buf *b, struct str s, bool html)
{
    size_t plain = 0; /* start of the run of bytes that need nothing */

    buf_u8(b, '"');
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (is_plain(c, html)) {
            i++;
            continue;
        }
        buf_add(b, s.ptr + plain, i - plain);
        if (c < 0x80) {
            escape(b, c);
            i++;
        } else {
            i += add_code_point(b, s, i);
        }
        plain = i;
    }
    if (s.len > plain)
        buf_add(b, s.ptr + plain, s.len - plain);
    buf_u8(b, '"');
}

void json_string(struct buf *b, struct str s)
{
    add_string(b, s, false);
}

void json_text(struct buf *b, struct str s)
{
    add_string(b, s, true);
}

enum { TIME_MAX = 32 }; /* longest text of a time */

/* As json_time(), to out; returns the length. */
static size_t format_time(int64_t t_ms, char out[TIME_MAX])
{
    uint64_t abs = t_ms < 0 ? 0 - (uint64_t)t_ms : (uint64_t)t_ms;
    uint64_t seconds = abs / 1000, ms = abs % 1000;
    char text[TIME_MAX];
    size_t i = sizeof text, n = 0;

    if (ms) {
        for (int k = 0; k < 3; k++, ms /= 10)
            text[--i] = (char)('0' + ms % 10);
        text[--i] = '.';
    }
    do
        text[--i] = (char)('0' + seconds % 10);
    while (seconds /= 10);
    if (t_ms < 0)
        out[n++] = '-';
    memcpy(out + n, text + i, sizeof text - i);
    return n + sizeof text - i;
}

void json_time(struct buf *b, int64_t t_ms)
{
    uint8_t *to = buf_reserve(b, TIME_MAX);

    if (to)
        b->len += format_time(t_ms, (char *)to);
}

/* Made for every point of a result, so memory is asked for once. */
void json_sample(struct buf *b, int64_t t_ms, double v)
{
    char *to = (char *)buf_reserve(b, TIME_MAX + NUMBER_MAX + 5), *p = to;

    if (!to)
        return;
    *p++ = '[';
    p += format_time(t_ms, p);
    *p++ = ',';
    *p++ = '"';
    p += number_format(v, NUMBER_JSON, p);
    *p++ = '"';
    *p++ = ']';
    b->len += (size_t)(p - to);
}

void json_time_shortest(struct buf *b, int64_t t_ms)
{
    number_print(b, (double)t_ms / 1000, NUMBER_JSON);
}

static void add_number(struct buf *b, double v, enum number_form form)
{
    buf_u8(b, '"');
    number_print(b, v, form);
    buf_u8(b, '"');
}

void json_value(struct buf *b, double v)
{
    add_number(b, v, NUMBER_JSON);
}

void json_scalar(struct buf *b, double v)
{
    add_number(b, v, NUMBER_PLAIN);
}

void json_rfc3339(struct buf *b, int64_t t_ms)
{
    static const int64_t last_ms = 253402300799999; /* of the year 9999 */
    int64_t in_range_ms = t_ms < 0 ? 0 : t_ms > last_ms ? last_ms : t_ms;
    time_t seconds = in_range_ms / 1000;
    struct tm tm;
    char text[32];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(b, "\"%s.%03dZ\"", text, (int)(in_range_ms % 1000));
}
