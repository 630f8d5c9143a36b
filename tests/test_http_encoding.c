#include "http/encoding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/gzip.h"

#include "base/banned.h"

/* A request with one header, in the test's arena. */
static struct http_request request_with(struct arena *a, const char *name, const char *value)
{
    struct http_pair *header = ARENA_NEW(a, struct http_pair, 1);

    *header = (struct http_pair){ str_from(name), str_from(value) };
    return (struct http_request){ .arena = a, .headers = { header, 1 } };
}

static void accepted_codings_are_weighed(void **state)
{
    static const struct {
        const char *value;
        bool gzip;
    } cases[] = {
        { "gzip", true },
        { "gzip, deflate, br, zstd", true },
        { "deflate,GZIP;q=0.5", true },
        { "gzip;q=0", false },
        { "gzip; q=0.0, *", false },
        { "*", true },
        { "*;q=0", false },
        { "identity", false },
        { "br", false },
        { "gzip;q=nonsense", false },
        { "", false },
        { ",,;,=", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request rq = request_with(*state, "Accept-Encoding", cases[i].value);

        assert_int_equal(http_accepts_coding(&rq, "gzip"), cases[i].gzip);
    }
}

static void body_is_decoded_within_its_limit(void **state)
{
    static const struct {
        const char *coding;
        size_t max;
        unsigned status; /* 0: fine */
    } cases[] = {
        { "", 10, 0 },         { "", 9, 413 },        { "identity", 10, 0 }, { "gzip", 3000, 0 },
        { "gzip", 2999, 413 }, { "x-gzip", 3000, 0 }, { "br", 99, 415 },     { "zstd", 99, 415 },
    };
    uint8_t plain[3000] = { 0 };
    struct gzip_writer *w = gzip_writer_new();
    struct buf packed = { 0 };

    gzip_writer_add(w, (struct bytes){ plain, sizeof plain }, true, &packed);
    gzip_writer_free(w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool gzip = strstr(cases[i].coding, "gzip") != NULL;
        struct http_request rq = request_with(*state, "Content-Encoding", cases[i].coding);
        struct http_response rs = { .status = 200 };
        struct buf storage = { 0 };
        struct bytes body;

        rq.body = gzip ? buf_as_bytes(&packed) : (struct bytes){ plain, 10 };
        assert_int_equal(http_body_decode(&rq, cases[i].max, &storage, &body, &rs),
                         cases[i].status == 0);
        if (cases[i].status)
            assert_int_equal(rs.status, cases[i].status);
        else
            assert_int_equal(body.len, gzip ? sizeof plain : 10);
        buf_free(&storage);
        buf_free(&rs.body);
    }
    buf_free(&packed);
}

static void fill(struct http_response *rs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_u8(&rs->body, 'x');
}

static bool has_header(const struct http_response *rs, const char *name)
{
    for (size_t i = 0; i < rs->n_headers; i++)
        if (strcmp(rs->headers[i].name, name) == 0)
            return true;
    return false;
}

static void only_what_gains_by_it_is_compressed(void **state)
{
    static const struct {
        const char *type;
        size_t n;
        bool compressed;
    } cases[] = {
        { HTTP_JSON, 2000, true }, { HTTP_JSON, 1023, false }, /* fits into a packet */
        { HTTP_TEXT, 2000, true }, { "application/x-protobuf", 2000, false }, /* snappy already */
        { NULL, 0, false },
    };
    struct http_request rq = request_with(*state, "Accept-Encoding", "gzip");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_response rs = { .status = 200, .content_type = cases[i].type };
        struct buf out = { 0 };

        fill(&rs, cases[i].n);
        http_response_compress(&rq, &rs);
        assert_int_equal(has_header(&rs, "Content-Encoding"), cases[i].compressed);
        if (cases[i].compressed) {
            assert_int_equal(gzip_decode(buf_as_bytes(&rs.body), 1 << 20, &out, NULL), OK);
            assert_int_equal(out.len, cases[i].n);
        } else {
            assert_int_equal(rs.body.len, cases[i].n);
        }
        buf_free(&out);
        buf_free(&rs.body);
    }
}

static void answer_to_one_who_takes_none_still_varies(void **state)
{
    struct http_request rq = request_with(*state, "Accept", "gzip");
    struct http_response rs = { .status = 200, .content_type = HTTP_JSON };

    fill(&rs, 5000);
    http_response_compress(&rq, &rs);
    assert_int_equal(rs.body.len, 5000);
    assert_true(has_header(&rs, "Vary") && !has_header(&rs, "Content-Encoding"));
    buf_free(&rs.body);
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
        cmocka_unit_test(accepted_codings_are_weighed),
        cmocka_unit_test(body_is_decoded_within_its_limit),
        cmocka_unit_test(only_what_gains_by_it_is_compressed),
        cmocka_unit_test(answer_to_one_who_takes_none_still_varies),
    };

    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
