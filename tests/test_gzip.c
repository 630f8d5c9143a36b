#include "base/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"

#include "base/banned.h"

enum { MAX = 4 << 20 };

/* `printf hello | gzip -n`, from another implementation's hand. */
static const uint8_t hello[] = { 0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86,
                                 0xa6, 0x10, 0x36, 0x05, 0x00, 0x00, 0x00 };

static void fill(struct buf *b, size_t n)
{
    uint64_t x = 1;

    buf_clear(b);
    for (size_t k = 0; k < n; k++) { /* half noise, half repetition */
        x = x * 6364136223846793005u + 1442695040888963407u;
        buf_u8(b, k & 64 ? (uint8_t)(x >> 56) : 'a');
    }
}

/* in as one member, added in pieces of at most `piece` bytes. */
static void encode(struct bytes in, size_t piece, struct buf *out)
{
    struct gzip_writer *w = gzip_writer_new();

    assert_non_null(w);
    buf_clear(out);
    for (size_t at = 0; in.len - at > piece; at += piece)
        gzip_writer_add(w, (struct bytes){ in.ptr + at, piece }, false, out);
    gzip_writer_add(w,
                    (struct bytes){ in.ptr + (in.len ? (in.len - 1) / piece * piece : 0),
                                    in.len ? (in.len - 1) % piece + 1 : 0 },
                    true, out);
    gzip_writer_free(w);
}

static void foreign_member_decodes(void **state)
{
    struct buf out = { 0 };

    (void)state;
    assert_int_equal(gzip_decode((struct bytes){ hello, sizeof hello }, MAX, &out, NULL), OK);
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.ptr, "hello", 5);
    buf_free(&out);
}

static void encoding_round_trips_at_every_size(void **state)
{
    const size_t sizes[] = { 0, 1, 2, 4095, 65535, 65536, 65537, 300000 };
    const size_t pieces[] = { 1000, 32768, 1 << 20 };
    struct buf in = { 0 }, packed = { 0 }, out = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes) * ARRAY_LEN(pieces); i++) {
        fill(&in, sizes[i / ARRAY_LEN(pieces)]);
        encode(buf_as_bytes(&in), pieces[i % ARRAY_LEN(pieces)], &packed);
        assert_int_equal(gzip_decode(buf_as_bytes(&packed), MAX, &out, NULL), OK);
        assert_int_equal(out.len, in.len);
        if (in.len)
            assert_memory_equal(out.ptr, in.ptr, in.len);
    }
    buf_free(&in);
    buf_free(&packed);
    buf_free(&out);
}

static void whole_texts_round_trip(void **state)
{
    const size_t sizes[] = { 0, 1, 1000, 100000, 3000000 };
    struct buf in = { 0 }, packed = { 0 }, out = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        fill(&in, sizes[i]);
        assert_int_equal(gzip_encode(buf_as_bytes(&in), &packed, NULL), OK);
        assert_int_equal(gzip_decode(buf_as_bytes(&packed), sizes[i], &out, NULL), OK);
        assert_int_equal(out.len, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(out.ptr, in.ptr, sizes[i]) == 0);
    }
    buf_free(&in);
    buf_free(&packed);
    buf_free(&out);
}

static void members_one_after_another_are_one_body(void **state)
{
    struct buf twice = { 0 }, out = { 0 };

    (void)state;
    buf_add(&twice, hello, sizeof hello);
    buf_add(&twice, hello, sizeof hello);
    assert_int_equal(gzip_decode(buf_as_bytes(&twice), MAX, &out, NULL), OK);
    assert_int_equal(out.len, 10);
    assert_memory_equal(out.ptr, "hellohello", 10);
    buf_free(&twice);
    buf_free(&out);
}

static void damaged_bodies_are_refused(void **state)
{
    struct err err = err_in(*state);
    struct buf out = { 0 }, bad = { 0 };

    for (size_t n = 0; n < sizeof hello; n++) { /* every cut */
        assert_int_equal(gzip_decode((struct bytes){ hello, n }, MAX, &out, &err), ERR_BAD_DATA);
        assert_string_equal(err_text(&err), "gzip: the body is cut short");
        assert_int_equal(out.len, 0);
    }
    for (size_t i = 0; i < 2; i++) { /* magic and checksum */
        buf_clear(&bad);
        buf_add(&bad, hello, sizeof hello);
        bad.ptr[i ? sizeof hello - 6 : 1] ^= 1;
        assert_int_equal(gzip_decode(buf_as_bytes(&bad), MAX, &out, &err), ERR_BAD_DATA);
    }
    buf_clear(&bad);
    buf_add(&bad, hello, sizeof hello);
    buf_text(&bad, "surplus");
    assert_int_equal(gzip_decode(buf_as_bytes(&bad), MAX, &out, &err), ERR_BAD_DATA);
    buf_free(&bad);
    buf_free(&out);
}

static void size_is_limited(void **state)
{
    struct err err = err_in(*state);
    struct buf in = { 0 }, packed = { 0 }, out = { 0 };

    fill(&in, 100000);
    encode(buf_as_bytes(&in), MAX, &packed);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), 100000, &out, NULL), OK);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), 99999, &out, &err), ERR_TOO_LARGE);
    assert_string_equal(err_text(&err),
                        "gzip: the body decodes to more than the 99999 bytes that are allowed");
    assert_int_equal(out.len, 0);
    buf_free(&in);
    buf_free(&packed);
    buf_free(&out);
}

static void bomb_is_refused_by_its_ratio(void **state)
{
    struct err err = err_in(*state);
    struct buf zeros = { 0 }, packed = { 0 }, out = { 0 };
    uint8_t *p = buf_reserve(&zeros, MAX);

    assert_non_null(p);
    memset(p, 0, MAX);
    zeros.len = MAX;
    assert_int_equal(gzip_encode(buf_as_bytes(&zeros), &packed, NULL), OK);
    assert_true(packed.len < MAX / GZIP_MAX_RATIO);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), MAX, &out, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err_text(&err), "200 times its size"));
    assert_true(out.cap <= 2 << 20); /* memory follows the limit, not the body */
    zeros.len = 1 << 20;             /* a small one may be as repetitive as it likes */
    encode(buf_as_bytes(&zeros), MAX, &packed);
    assert_int_equal(gzip_decode(buf_as_bytes(&packed), MAX, &out, NULL), OK);
    assert_int_equal(out.len, 1 << 20);
    buf_free(&zeros);
    buf_free(&packed);
    buf_free(&out);
}

static int make_arena(void **state)
{
    *state = arena_new(0);
    return *state ? 0 : -1;
}

static int free_arena(void **state)
{
    arena_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_member_decodes),
        cmocka_unit_test(encoding_round_trips_at_every_size),
        cmocka_unit_test(whole_texts_round_trip),
        cmocka_unit_test(members_one_after_another_are_one_body),
        cmocka_unit_test(damaged_bodies_are_refused),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(bomb_is_refused_by_its_ratio),
    };

    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
