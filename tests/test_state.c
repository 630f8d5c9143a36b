#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "storage/kv.h"
#include "storage/state.h"
#include "temp_dir.h"

#include "base/banned.h"

enum { MAP_BYTES = 64 << 20, MAX_SEEN = 64 };

struct seen {
    struct metric_metadata items[MAX_SEEN];
    size_t n, stop_at;
    struct arena *arena;
};

static bool note(void *ctx, const struct metric_metadata *m)
{
    struct seen *s = ctx;

    assert_true(s->n < MAX_SEEN);
    s->items[s->n++] =
        (struct metric_metadata){ str_copy(s->arena, m->family), m->type,
                                  str_copy(s->arena, m->help), str_copy(s->arena, m->unit) };
    return s->n != s->stop_at;
}

static void read_all(struct state *s, struct seen *seen)
{
    seen->n = 0;
    assert_int_equal(state_each_metadata(s, note, seen, NULL), OK);
}

static const struct metric_metadata *find(const struct seen *seen, struct str family)
{
    for (size_t i = 0; i < seen->n; i++)
        if (str_equal(seen->items[i].family, family))
            return &seen->items[i];
    return NULL;
}

static struct state *must_open(const char *path)
{
    struct state *s = NULL;

    assert_int_equal(state_open(path, MAP_BYTES, &s, NULL), OK);
    return s;
}

static void metadata_survives_reopening(void **state)
{
    char long_name[2000], long_help[20000];
    char *path = temp_dir_file(*state, "state.mdb");
    struct seen seen = { .arena = arena_new(0) };
    struct state *s = must_open(path);

    memset(long_name, 'n', sizeof long_name);
    memset(long_help, 'h', sizeof long_help);
    const struct metric_metadata m[] = {
        { STR("up"), METRIC_GAUGE, STR("1 when the target answers"), STR("") },
        { { long_name, sizeof long_name },
          METRIC_COUNTER,
          { long_help, sizeof long_help },
          STR("s") },
        { STR("twice"), METRIC_GAUGE, STR("first"), STR("") },
        { STR("twice"), METRIC_SUMMARY, STR("second"), STR("") },
    };

    read_all(s, &seen);
    assert_int_equal(seen.n, 0);
    assert_int_equal(state_put_metadata(s, m, ARRAY_LEN(m), NULL), OK);
    state_close(s);
    s = must_open(path);
    read_all(s, &seen);
    assert_int_equal(seen.n, 3);
    const struct metric_metadata *up = find(&seen, STR("up")), *twice = find(&seen, STR("twice"));
    const struct metric_metadata *large = find(&seen, m[1].family);

    assert_non_null(up);
    assert_non_null(twice);
    assert_non_null(large);
    assert_int_equal(up->type, METRIC_GAUGE);
    assert_true(str_equal(up->help, m[0].help));
    assert_true(str_equal(twice->help, STR("second")));
    assert_true(str_equal(large->help, m[1].help) && str_equal(large->unit, STR("s")));
    state_close(s);
    arena_free(seen.arena);
    free(path);
}

static void newer_metadata_replaces_older(void **state)
{
    char *path = temp_dir_file(*state, "state.mdb");
    struct seen seen = { .arena = arena_new(0) };
    struct state *s = must_open(path);
    const struct metric_metadata old = { STR("up"), METRIC_GAUGE, STR("old"), STR("") };
    const struct metric_metadata new = { STR("up"), METRIC_COUNTER, STR("new, and longer"),
                                         STR("") };

    assert_int_equal(state_put_metadata(s, &old, 1, NULL), OK);
    assert_int_equal(state_put_metadata(s, &new, 1, NULL), OK);
    read_all(s, &seen);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.items[0].type, METRIC_COUNTER);
    assert_true(str_equal(seen.items[0].help, new.help));
    state_close(s);
    arena_free(seen.arena);
    free(path);
}

static void a_walk_ends_when_told_to(void **state)
{
    char *path = temp_dir_file(*state, "state.mdb");
    struct seen seen = { .arena = arena_new(0), .stop_at = 1 };
    struct state *s = must_open(path);
    const struct metric_metadata m[] = { { .family = STR("a") }, { .family = STR("b") } };

    assert_int_equal(state_put_metadata(s, m, ARRAY_LEN(m), NULL), OK);
    read_all(s, &seen);
    assert_int_equal(seen.n, 1);
    state_close(s);
    arena_free(seen.arena);
    free(path);
}

/* Flips a bit in each place where the text is found in the file. */
static void damage_text(const char *path, const char *text)
{
    struct buf file = { 0 };
    bool found = false;

    assert_int_equal(fs_read_file(path, 64 << 20, &file, NULL), OK);
    for (size_t i = 0; i + strlen(text) <= file.len; i++)
        if (memcmp(file.ptr + i, text, strlen(text)) == 0)
            found = flip_in_file(path, i + 1, 0x04);
    assert_true(found);
    buf_free(&file);
}

static void a_damaged_entry_is_left_out_and_can_be_put_again(void **state)
{
    char *path = temp_dir_file(*state, "state.mdb");
    struct seen seen = { .arena = arena_new(0) };
    struct state *s = must_open(path);
    const struct metric_metadata m[] = {
        { STR("damaged"), METRIC_GAUGE, STR("find this text"), STR("") },
        { STR("sound"), METRIC_GAUGE, STR("another text"), STR("") },
    };

    assert_int_equal(state_put_metadata(s, m, ARRAY_LEN(m), NULL), OK);
    state_close(s);
    damage_text(path, "find this text");
    s = must_open(path);
    read_all(s, &seen);
    assert_int_equal(seen.n, 1);
    assert_non_null(find(&seen, STR("sound")));
    assert_int_equal(state_put_metadata(s, m, 1, NULL), OK);
    read_all(s, &seen);
    assert_int_equal(seen.n, 2);
    assert_true(str_equal(find(&seen, STR("damaged"))->help, m[0].help));
    state_close(s);
    arena_free(seen.arena);
    free(path);
}

static void a_newer_format_is_refused(void **state)
{
    static const uint8_t newer[] = { 2, 0, 0, 0, 0x0a, 0x81, 0xab, 0x69 };
    static const char *const tables[] = { "meta", "metadata" };
    char *path = temp_dir_file(*state, "state.mdb");
    struct kv_options options = {
        .path = path, .map_bytes = MAP_BYTES, .create = true, .tables = tables, .n_tables = 2
    };
    struct bytes key = { (const uint8_t *)"format", 6 };
    struct state *s = NULL;
    struct kv_txn *t;
    struct kv *kv;

    assert_int_equal(kv_open(&options, &kv, NULL), OK);
    assert_int_equal(kv_begin_write(kv, &t, NULL), OK);
    assert_int_equal(kv_put(t, 0, key, (struct bytes){ newer, sizeof newer }, NULL), OK);
    assert_int_equal(kv_commit(t, NULL), OK);
    kv_close(kv);
    assert_int_equal(state_open(path, MAP_BYTES, &s, NULL), ERR_UNSUPPORTED);
    free(path);
}

static bool join_record(void *ctx, const struct state_record *r)
{
    struct buf *b = ctx;

    buf_printf(b, "%.*s=%.*s ", (int)r->key.len, (const char *)r->key.ptr, (int)r->value.len,
               (const char *)r->value.ptr);
    return true;
}

static struct state_record record_of(const char *key, const char *value)
{
    return (struct state_record){ { (const uint8_t *)key, strlen(key) },
                                  { (const uint8_t *)value, strlen(value) } };
}

static void records_are_written_replaced_and_deleted(void **state)
{
    char *path = temp_dir_file(*state, "state.mdb");
    struct state *s = must_open(path);
    struct state_record first[] = { record_of("b", "1"), record_of("a", "2"), record_of("c", "3") };
    struct state_record second[] = { record_of("a", ""), record_of("nothing", ""),
                                     record_of("c", "four") };
    struct buf b = { 0 };

    assert_int_equal(state_write_records(s, first, 3, NULL), OK);
    assert_int_equal(state_write_records(s, second, 3, NULL), OK);
    state_close(s);
    s = must_open(path);
    assert_int_equal(state_each_record(s, join_record, &b, NULL), OK);
    assert_true(str_is(buf_as_str(&b), "b=1 c=four "));
    state_close(s);
    buf_free(&b);
    free(path);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(metadata_survives_reopening), CASE(newer_metadata_replaces_older),
        CASE(a_walk_ends_when_told_to),    CASE(a_damaged_entry_is_left_out_and_can_be_put_again),
        CASE(a_newer_format_is_refused),   CASE(records_are_written_replaced_and_deleted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
