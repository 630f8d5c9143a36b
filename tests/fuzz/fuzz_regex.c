/* fuzz_regex.c -- any bytes as pattern, template and subject, which the first bytes delimit.
 *
 * Beyond not crashing: what a regex says of itself (literals, prefix) must agree with what it
 * matches, and replacing with matching.
 */
#include "base/arena.h"
#include "base/regex.h"

#include "base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str take(struct str *rest, size_t n)
{
    struct str s = { rest->ptr, n < rest->len ? n : rest->len };

    *rest = (struct str){ rest->ptr + s.len, rest->len - s.len };
    return s;
}

static void check(const struct regex *re, struct str subject, struct str template)
{
    const struct str *texts;
    struct buf out = { 0 };
    bool matched = false, replaced = false, found = false;
    size_t n;
    enum errc rc = regex_match(re, subject, &matched);

    ASSERT(rc == OK || rc == ERR_LIMIT || rc == ERR_TOO_LARGE);
    if (rc == OK && matched && utf8_valid(subject))
        ASSERT(str_starts_with(subject, regex_prefix(re)));
    if (regex_literals(re, &texts, &n) && utf8_valid(subject)) {
        ASSERT(rc == OK);
        for (size_t i = 0; i < n; i++)
            found |= str_equal(texts[i], subject);
        ASSERT(found == matched);
    }
    if (rc == OK && regex_replace(re, subject, template, &out, &replaced) == OK)
        ASSERT(replaced == matched);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = { (const char *)data, size };
    struct arena *a = arena_new(1 << 20);
    struct err err = err_in(a);
    struct regex *re = NULL;

    if (a && size >= 2) {
        struct str lengths = take(&rest, 2);
        struct str pattern = take(&rest, (unsigned char)lengths.ptr[0]);
        struct str template = take(&rest, (unsigned char)lengths.ptr[1] & 31);

        if (regex_compile(pattern, &re, &err) == OK)
            check(re, rest, template);
        else
            ASSERT(err_text(&err)[0] != '\0');
    }
    regex_free(re);
    arena_free(a);
    return 0;
}
