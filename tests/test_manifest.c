#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <time.h>

#include "base/arena.h"
#include "base/hash.h"
#include "storage/manifest.h"
#include "temp_dir.h"

#include "base/banned.h"

static const char *dir_of(void **state)
{
    return ((struct temp_dir *)*state)->path;
}

static void write_text(void **state, const char *text, bool with_checksum)
{
    struct buf b = { 0 };

    buf_text(&b, text);
    if (with_checksum)
        buf_printf(&b, "crc32c %08" PRIx32 "\n", crc32c(0, text, strlen(text)));
    assert_int_equal(fs_write_atomic(dir_of(state), "MANIFEST", buf_as_bytes(&b), NULL), OK);
    buf_free(&b);
}

static void what_is_saved_is_loaded(void **state)
{
    static const struct manifest_day files[] = {
        { -3, 1 }, { 20000, 7 }, { 20000, 8 }, { 20001, 1 }
    };
    struct manifest m = { .begun = 7, .released = UINT64_MAX }, got = { 0 };
    struct err err = { 0 };

    assert_int_equal(manifest_load(dir_of(state), &got, &err), ERR_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_true(manifest_add(&m, files[i]));
    assert_int_equal(manifest_save(dir_of(state), &m, &err), OK);
    assert_int_equal(manifest_load(dir_of(state), &got, &err), OK);
    assert_true(got.begun == 7 && got.released == UINT64_MAX);
    assert_int_equal(got.n_days, ARRAY_LEN(files));
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_int_equal(manifest_day_cmp(got.days[i], files[i]), 0);
    manifest_free(&m);
    manifest_free(&got);
}

static void an_empty_store_is_saved_too(void **state)
{
    struct manifest m = { 0 }, got = { 0 };

    assert_int_equal(manifest_save(dir_of(state), &m, NULL), OK);
    assert_int_equal(manifest_load(dir_of(state), &got, NULL), OK);
    assert_int_equal(got.n_days, 0);
    manifest_free(&got);
}

static void the_text_is_the_documented_one(void **state)
{
    struct manifest m = { 0 };

    write_text(
        state,
        "tidemark manifest 1\nbegun 43\nreleased 42\nday 2026-11-20.3.mdb\nday 2026-11-21.1.mdb\n",
        true);
    assert_int_equal(manifest_load(dir_of(state), &m, NULL), OK);
    assert_int_equal(m.begun, 43);
    assert_int_equal(m.released, 42);
    assert_int_equal(m.n_days, 2);
    assert_int_equal(m.days[1].day, 20778);
    manifest_free(&m);
}

static void every_flipped_bit_and_cut_is_refused(void **state)
{
    struct manifest m = { .released = 9 }, got = { 0 };
    struct buf text = { 0 };
    char *path = temp_dir_file(*state, "MANIFEST");

    assert_true(manifest_add(&m, (struct manifest_day){ 20000, 7 }));
    assert_int_equal(manifest_save(dir_of(state), &m, NULL), OK);
    assert_int_equal(fs_read_file(path, 10000, &text, NULL), OK);
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        text.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(fs_write_atomic(dir_of(state), "MANIFEST", buf_as_bytes(&text), NULL), OK);
        enum errc rc = manifest_load(dir_of(state), &got, NULL);

        assert_true(rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED);
        text.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < text.len; n++) {
        assert_int_equal(
            fs_write_atomic(dir_of(state), "MANIFEST", (struct bytes){ text.ptr, n }, NULL), OK);
        assert_int_equal(manifest_load(dir_of(state), &got, NULL), ERR_CORRUPT);
    }
    assert_int_equal(got.n_days, 0);
    buf_free(&text);
    manifest_free(&m);
    free(path);
}

static void malformed_texts_are_refused_with_advice(void **state)
{
    static const struct {
        const char *text;
        enum errc rc;
    } cases[] = {
        { "", ERR_CORRUPT },
        { "something else 1\nreleased 1\n", ERR_CORRUPT },
        { "tidemark manifest 2\nanything\n", ERR_UNSUPPORTED },
        { "tidemark manifest 1\n", ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased \n", ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 01\n", ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 18446744073709551616\n", ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 1\nday 2026-13-01.1.mdb\n", ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 1\nday 2026-02-30.1.mdb\n", ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 1\nday 2026-02-20.2.mdb\nday 2026-02-20.1.mdb\n",
          ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 1\nday 2026-02-20.1.mdb\nday 2026-02-20.1.mdb\n",
          ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 1\nday 2026-02-20.1.mdb\nday 2026-02-19.2.mdb\n",
          ERR_CORRUPT },
        { "tidemark manifest 1\nbegun 1\nreleased 1\n\n", ERR_CORRUPT },
    };
    struct arena *a = arena_new(0);

    assert_non_null(a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m = { 0 };
        struct err err = err_in(a);

        write_text(state, cases[i].text, true);
        assert_int_equal(manifest_load(dir_of(state), &m, &err), cases[i].rc);
        assert_non_null(strstr(err.msg, dir_of(state)));
        if (cases[i].rc == ERR_CORRUPT)
            assert_non_null(strstr(err.msg, "restore it from a backup"));
    }
    arena_free(a);
}

static void names_agree_with_the_calendar(void **state)
{
    (void)state;
    for (int64_t day = -800000; day < 3000000; day += day < 0 || day > 40000 ? 97 : 1) {
        time_t t = (time_t)(day * 86400);
        struct manifest_day parsed;
        char want[64], got[DAY_NAME_MAX];
        struct tm tm;

        assert_non_null(gmtime_r(&t, &tm));
        snprintf(want, sizeof want, "%04d-%02d-%02d.5.mdb", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday);
        day_file_name(day, 5, got);
        assert_string_equal(got, want);
        assert_true(day_file_parse(str_from(got), &parsed));
        assert_int_equal(parsed.day, day);
        assert_int_equal(parsed.generation, 5);
    }
}

static void other_names_are_not_day_files(void **state)
{
    static const char *const names[] = {
        "",
        "2026-11-21.1.mdb-lock",
        "2026-11-21.1.mdb.tmp",
        "2026-11-21.mdb",
        "2026-11-21.01.mdb",
        "2026-11-21.-1.mdb",
        "2026-1-21.1.mdb",
        "2026-02-29.1.mdb",
        " 2026-02-28.1.mdb",
        "2026-00-10.1.mdb",
        "2026-11-21.99999999999999999999.mdb",
        "a-very-long-name-that-has-nothing-to-do-with-a-day-file-of-ours-at-all.mdb",
    };
    struct manifest_day d;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (day_file_parse(str_from(names[i]), &d))
            fail_msg("\"%s\" was taken for a day file", names[i]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_saved_is_loaded),
        CASE(an_empty_store_is_saved_too),
        CASE(the_text_is_the_documented_one),
        CASE(every_flipped_bit_and_cut_is_refused),
        CASE(malformed_texts_are_refused_with_advice),
        cmocka_unit_test(names_agree_with_the_calendar),
        cmocka_unit_test(other_names_are_not_day_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
