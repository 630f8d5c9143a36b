#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "storage/kv.h"
#include "temp_dir.h"

#include "base/banned.h"

enum { MAP_BYTES = 64 << 20 };
enum { ALPHA, BETA, N_TABLES };

static const char *const tables[] = { "alpha", "beta" };

#define BYTES(literal) ((struct bytes){ (const uint8_t *)(literal), sizeof(literal) - 1 })

struct fixture {
    char *path;
    struct kv_options options;
    struct arena *arena;
    struct err err;
};

static struct fixture open_fixture(void **state)
{
    struct fixture f = { .path = temp_dir_file(*state, "kv.mdb"), .arena = arena_new(0) };

    assert_non_null(f.arena);
    f.err = err_in(f.arena);
    f.options = (struct kv_options){ .path = f.path,
                                     .map_bytes = MAP_BYTES,
                                     .create = true,
                                     .tables = tables,
                                     .n_tables = N_TABLES };
    return f;
}

static void close_fixture(struct fixture *f)
{
    arena_free(f->arena);
    free(f->path);
}

static void assert_ok(const struct fixture *f, enum errc rc)
{
    if (rc != OK)
        fail_msg("%s", err_text(&f->err));
}

static struct kv *must_open(struct fixture *f)
{
    struct kv *kv = NULL;

    assert_ok(f, kv_open(&f->options, &kv, &f->err));
    return kv;
}

static struct kv_txn *must_write(struct fixture *f, struct kv *kv)
{
    struct kv_txn *t = NULL;

    assert_ok(f, kv_begin_write(kv, &t, &f->err));
    return t;
}

static struct kv_txn *must_read(struct fixture *f, struct kv *kv)
{
    struct kv_txn *t = NULL;

    assert_ok(f, kv_begin_read(kv, &t, &f->err));
    return t;
}

static void assert_bytes(struct bytes got, struct bytes want)
{
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
}

static void committed_values_are_there_after_reopening(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *t = must_write(&f, kv);
    struct bytes value;

    assert_ok(&f, kv_put(t, ALPHA, BYTES("k"), BYTES("one"), &f.err));
    assert_ok(&f, kv_put(t, BETA, BYTES("k"), BYTES("two"), &f.err));
    assert_ok(&f, kv_commit(t, &f.err));
    kv_close(kv);

    f.options.create = false;
    kv = must_open(&f);
    t = must_read(&f, kv);
    assert_ok(&f, kv_get(t, ALPHA, BYTES("k"), &value, &f.err));
    assert_bytes(value, BYTES("one"));
    assert_ok(&f, kv_get(t, BETA, BYTES("k"), &value, &f.err));
    assert_bytes(value, BYTES("two"));
    assert_int_equal(kv_get(t, BETA, BYTES("l"), &value, &f.err), ERR_NOT_FOUND);
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *t = must_write(&f, kv);
    struct bytes value;

    assert_ok(&f, kv_put(t, ALPHA, BYTES("k"), BYTES("v"), &f.err));
    kv_abort(t);
    t = must_read(&f, kv);
    assert_int_equal(kv_get(t, ALPHA, BYTES("k"), &value, &f.err), ERR_NOT_FOUND);
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

static void a_reader_keeps_its_snapshot(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *w = must_write(&f, kv), *r;
    struct bytes value;

    assert_ok(&f, kv_put(w, ALPHA, BYTES("k"), BYTES("old"), &f.err));
    assert_ok(&f, kv_commit(w, &f.err));
    r = must_read(&f, kv);
    w = must_write(&f, kv);
    assert_ok(&f, kv_put(w, ALPHA, BYTES("k"), BYTES("new"), &f.err));
    assert_ok(&f, kv_commit(w, &f.err));
    assert_ok(&f, kv_get(r, ALPHA, BYTES("k"), &value, &f.err));
    assert_bytes(value, BYTES("old"));
    kv_abort(r);
    kv_close(kv);
    close_fixture(&f);
}

static void cursors_walk_in_key_order_both_ways(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *t = must_write(&f, kv);
    struct kv_cursor c = { 0 };

    assert_ok(&f, kv_put(t, ALPHA, BYTES("m"), BYTES("2"), &f.err));
    assert_ok(&f, kv_put(t, ALPHA, BYTES("c"), BYTES("1"), &f.err));
    assert_ok(&f, kv_put(t, ALPHA, BYTES("x"), BYTES("3"), &f.err));
    assert_ok(&f, kv_cursor_open(t, ALPHA, &c, &f.err));
    assert_ok(&f, kv_seek(&c, BYTES("d"), &f.err));
    assert_bytes(c.key, BYTES("m"));
    assert_ok(&f, kv_next(&c, &f.err));
    assert_bytes(c.value, BYTES("3"));
    assert_int_equal(kv_next(&c, &f.err), ERR_NOT_FOUND);
    assert_ok(&f, kv_last(&c, &f.err));
    assert_bytes(c.key, BYTES("x"));
    assert_ok(&f, kv_prev(&c, &f.err));
    assert_ok(&f, kv_prev(&c, &f.err));
    assert_bytes(c.key, BYTES("c"));
    assert_int_equal(kv_prev(&c, &f.err), ERR_NOT_FOUND);
    assert_int_equal(kv_seek(&c, BYTES("y"), &f.err), ERR_NOT_FOUND);
    assert_ok(&f, kv_seek(&c, BYTES("c"), &f.err));
    assert_ok(&f, kv_delete_at(&c, &f.err));
    assert_ok(&f, kv_seek(&c, BYTES("a"), &f.err));
    assert_bytes(c.key, BYTES("m"));
    kv_cursor_close(&c);
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

static void append_wants_the_highest_key(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *t = must_write(&f, kv);

    assert_ok(&f, kv_append(t, ALPHA, BYTES("b"), BYTES("1"), &f.err));
    assert_ok(&f, kv_append(t, ALPHA, BYTES("c"), BYTES("2"), &f.err));
    assert_int_equal(kv_append(t, ALPHA, BYTES("a"), BYTES("3"), &f.err), ERR_CONFLICT);
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

static void what_is_not_a_file_of_ours_is_refused(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = NULL;
    static const char garbage[20000] = "not an LMDB file";

    f.options.create = false;
    assert_int_equal(kv_open(&f.options, &kv, &f.err), ERR_NOT_FOUND);
    assert_non_null(strstr(f.err.msg, f.path));
    f.options.create = true;
    for (size_t n = 0; n <= sizeof garbage; n += 5000) {
        int fd = open(f.path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, garbage, n), n);
        close(fd);
        assert_int_equal(kv_open(&f.options, &kv, &f.err), ERR_CORRUPT);
    }
    close_fixture(&f);
}

static void a_missing_table_is_refused_or_created(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv;

    f.options.n_tables = 1;
    kv = must_open(&f);
    kv_close(kv);
    f.options.n_tables = N_TABLES;
    f.options.create = false;
    assert_int_equal(kv_open(&f.options, &kv, &f.err), ERR_CORRUPT);
    assert_non_null(strstr(f.err.msg, "beta"));
    f.options.create = true;
    kv = must_open(&f);
    kv_close(kv);
    close_fixture(&f);
}

static void an_unfinished_creation_is_begun_again(void **state)
{
    struct fixture f = open_fixture(state);
    char *temp = temp_dir_file(*state, "kv.mdb.tmp");
    int fd = open(temp, O_WRONLY | O_CREAT, 0600);

    assert_int_equal(write(fd, "half a page", 11), 11);
    close(fd);
    kv_close(must_open(&f));
    assert_int_equal(access(temp, F_OK), -1);
    free(temp);
    close_fixture(&f);
}

/* Fills the table with values of 3,000 bytes, then cuts the file. */
static void a_truncated_file_is_refused_and_left_as_it_is(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *t = must_write(&f, kv);
    uint8_t key[4], value[3000] = { 1 };
    struct stat st;

    for (uint32_t i = 0; i < 100; i++) {
        store_u32be(key, i);
        assert_ok(&f, kv_append(t, ALPHA, (struct bytes){ key, sizeof key },
                                (struct bytes){ value, sizeof value }, &f.err));
    }
    assert_ok(&f, kv_commit(t, &f.err));
    kv_close(kv);
    assert_int_equal(stat(f.path, &st), 0);
    for (off_t cut = 1; cut < st.st_size; cut += st.st_size / 7) {
        off_t size = st.st_size - cut;

        assert_int_equal(truncate(f.path, size), 0);
        assert_int_equal(kv_open(&f.options, &kv, &f.err), ERR_CORRUPT);
        assert_int_equal(fs_size(f.path), size);
    }
    close_fixture(&f);
}

/* A page that was taken and given back in one transaction is not written: the file may end before
 * the last page its header counts. */
static void a_file_that_lacks_only_free_pages_opens(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_txn *t = must_write(&f, kv);
    struct kv_cursor c = { 0 };
    uint8_t value[40000] = { 1 };
    struct bytes got;
    struct stat st;

    assert_ok(&f, kv_put(t, ALPHA, BYTES("a"), BYTES("1"), &f.err));
    assert_ok(&f, kv_commit(t, &f.err));
    t = must_write(&f, kv);
    assert_ok(&f, kv_put(t, ALPHA, BYTES("b"), (struct bytes){ value, sizeof value }, &f.err));
    assert_ok(&f, kv_commit(t, &f.err));
    t = must_write(&f, kv);
    assert_ok(&f, kv_cursor_open(t, ALPHA, &c, &f.err));
    assert_ok(&f, kv_seek(&c, BYTES("b"), &f.err));
    assert_ok(&f, kv_delete_at(&c, &f.err));
    kv_cursor_close(&c);
    assert_ok(&f, kv_commit(t, &f.err));
    for (int i = 0; i < 8; i++) { /* the trees move into the pages that are free now */
        t = must_write(&f, kv);
        assert_ok(&f, kv_put(t, ALPHA, BYTES("a"), BYTES("2"), &f.err));
        assert_ok(&f, kv_commit(t, &f.err));
    }
    kv_close(kv);

    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(truncate(f.path, st.st_size - 4096), 0);
    kv = must_open(&f);
    t = must_read(&f, kv);
    assert_ok(&f, kv_get(t, ALPHA, BYTES("a"), &got, &f.err));
    assert_bytes(got, BYTES("2"));
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

/* The key of entry i: in no order, as hashes are. */
static struct bytes scattered_key(uint32_t i, uint8_t key[4])
{
    store_u32be(key, i * 2654435761u);
    return (struct bytes){ key, 4 };
}

/* Pages that a transaction has changed are elsewhere in memory than those of the file. */
static void a_transaction_reads_what_it_has_changed(void **state)
{
    enum { ENTRIES = 3000, LARGE = 20000 };
    static const uint8_t text[LARGE] = { 1, 2, 3 };
    struct fixture f = open_fixture(state);
    struct kv *kv = must_open(&f);
    struct kv_cursor c;
    struct bytes value;
    uint8_t key[4];
    size_t n = 0;

    for (int round = 0; round < 2; round++) {
        struct kv_txn *t = must_write(&f, kv);

        for (uint32_t i = 0; i < ENTRIES; i++) {
            struct bytes written = { text,
                                     i % 500 == 0 ? LARGE : 100 + (i + (uint32_t)round) % 200 };

            if (round > 0)
                assert_ok(&f, kv_get(t, 0, scattered_key(i, key), &value, &f.err));
            assert_ok(&f, kv_put(t, 0, scattered_key(i, key), written, &f.err));
            assert_ok(&f, kv_get(t, 0, scattered_key(i, key), &value, &f.err));
            assert_bytes(value, written);
        }
        assert_ok(&f, kv_cursor_open(t, 0, &c, &f.err));
        n = 0;
        for (enum errc rc = kv_seek(&c, (struct bytes){ text, 1 }, &f.err); rc != ERR_NOT_FOUND;
             rc = kv_next(&c, &f.err), n++)
            assert_ok(&f, rc);
        kv_cursor_close(&c);
        assert_ok(&f, kv_commit(t, &f.err));
    }
    assert_true(n > ENTRIES / 2);
    kv_close(kv);
    close_fixture(&f);
}

static void a_full_map_says_so(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv;
    struct kv_txn *t;
    uint8_t key[4], value[4000] = { 1 };
    enum errc rc = OK;

    f.options.map_bytes = 1 << 20;
    kv = must_open(&f);
    t = must_write(&f, kv);
    for (uint32_t i = 0; i < 1000 && rc == OK; i++) {
        store_u32be(key, i);
        rc = kv_append(t, ALPHA, (struct bytes){ key, sizeof key },
                       (struct bytes){ value, sizeof value }, &f.err);
    }
    assert_int_equal(rc, ERR_FULL);
    assert_non_null(strstr(f.err.msg, "reserved map size"));
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

static void remove_takes_the_lock_file_too(void **state)
{
    struct fixture f = open_fixture(state);
    char *lock = temp_dir_file(*state, "kv.mdb-lock");

    kv_close(must_open(&f));
    assert_int_equal(access(lock, F_OK), 0);
    assert_ok(&f, kv_remove(f.path, &f.err));
    assert_int_equal(access(lock, F_OK), -1);
    assert_int_equal(access(f.path, F_OK), -1);
    assert_ok(&f, kv_remove(f.path, &f.err));
    free(lock);
    close_fixture(&f);
}

static void files_get_the_tables_that_came_after_them(void **state)
{
    struct fixture f = open_fixture(state);
    struct kv *kv;
    struct kv_txn *t;
    struct bytes value;

    f.options.n_tables = 1;
    kv_close(must_open(&f));
    f.options.create = false;
    f.options.n_tables = 2;
    assert_int_equal(kv_open(&f.options, &kv, &f.err), ERR_CORRUPT);
    f.options.n_added = 1;
    kv = must_open(&f);
    t = must_write(&f, kv);
    assert_ok(&f, kv_put(t, BETA, BYTES("k"), BYTES("v"), &f.err));
    assert_ok(&f, kv_commit(t, &f.err));
    kv_close(kv);
    f.options.n_added = 0;
    kv = must_open(&f);
    t = must_read(&f, kv);
    assert_ok(&f, kv_get(t, BETA, BYTES("k"), &value, &f.err));
    kv_abort(t);
    kv_close(kv);
    close_fixture(&f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_get_the_tables_that_came_after_them),
        CASE(committed_values_are_there_after_reopening),
        CASE(an_aborted_transaction_leaves_nothing),
        CASE(a_reader_keeps_its_snapshot),
        CASE(cursors_walk_in_key_order_both_ways),
        CASE(append_wants_the_highest_key),
        CASE(what_is_not_a_file_of_ours_is_refused),
        CASE(a_missing_table_is_refused_or_created),
        CASE(an_unfinished_creation_is_begun_again),
        CASE(a_truncated_file_is_refused_and_left_as_it_is),
        CASE(a_file_that_lacks_only_free_pages_opens),
        CASE(a_transaction_reads_what_it_has_changed),
        CASE(a_full_map_says_so),
        CASE(remove_takes_the_lock_file_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
