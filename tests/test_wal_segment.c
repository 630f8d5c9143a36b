/* test_wal_segment.c -- segments that a power cut, a disk or a person has damaged. */
#include "storage/wal_segment.h"
#include "wal_rig.h"

#include "base/banned.h"

/* Three records, synced one by one; returns the segment's bytes and where each begins. */
static struct buf three_records(struct rig *rig, void **state, size_t starts[4])
{
    static const size_t sizes[] = { 40, 48, 56 };

    rig_init(rig, state);
    rig_open(rig);
    append_all(rig, sizes, ARRAY_LEN(sizes));
    rig_close(rig);
    starts[0] = WAL_HEADER_BYTES;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        starts[i + 1] = starts[i] + wal_record_space(sizes[i]);
    return read_segment(rig, 2); /* the file was made under number 1, as a spare */
}

enum tear { TRUNCATED, ZEROS, GARBAGE, N_TEARS };

/* The bytes from at on never reached the disk; returns how many are there. */
static size_t tear_at(struct buf *file, size_t at, enum tear how)
{
    uint32_t x = (uint32_t)at * 2654435761u + 1;

    if (how == TRUNCATED)
        return at;
    for (size_t i = at; i < file->len; i++) {
        x = x * 1664525u + 1013904223u;
        file->ptr[i] = how == ZEROS ? 0 : (uint8_t)(file->ptr[i] ^ (x >> 24 | 1));
    }
    return file->len;
}

static void a_tail_torn_anywhere_loses_only_what_it_tore(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf whole = three_records(&rig, state, starts), file = { 0 };

    for (size_t at = starts[1]; at < starts[3]; at++) {
        for (enum tear how = 0; how < N_TEARS; how++) {
            size_t intact = at < starts[2] ? 1 : 2;

            buf_clear(&file);
            buf_add(&file, whole.ptr, whole.len);
            write_segment(&rig, 2, file.ptr, tear_at(&file, at, how));
            rig_open(&rig);
            assert_int_equal(rig.replayed.n, intact);
            for (size_t i = 0; i < intact; i++)
                assert_int_equal(rig.replayed.items[i].hash, rig.applied.items[i].hash);
            assert_int_equal(rig_stats(&rig).skipped, 0);
            rig_close(&rig);
        }
    }
    buf_free(&whole);
    buf_free(&file);
    rig_free(&rig);
}

static void appending_goes_on_after_a_torn_tail(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    write_segment(&rig, 2, file.ptr, tear_at(&file, starts[2] + 20, ZEROS));
    rig.applied.n = 2;
    rig_open(&rig);
    assert_int_equal(append(&rig, 70, 9), OK);
    rig_close(&rig);
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(rig_stats(&rig).skipped, 0); /* it was never promised */
    buf_free(&file);
    rig_free(&rig);
}

static void a_flipped_bit_loses_one_record(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    for (size_t at = starts[1]; at < starts[2]; at++) {
        uint8_t bit = (uint8_t)(1 << at % 8);

        file.ptr[at] ^= bit;
        write_segment(&rig, 2, file.ptr, file.len);
        file.ptr[at] ^= bit;
        rig_open(&rig);
        assert_int_equal(rig.replayed.n, 2);
        assert_int_equal(rig.replayed.items[0].hash, rig.applied.items[0].hash);
        assert_int_equal(rig.replayed.items[1].hash, rig.applied.items[2].hash);
        assert_int_equal(rig_stats(&rig).skipped, 1);
        rig_close(&rig);
    }
    buf_free(&file);
    rig_free(&rig);
}

/* The segment after it tells how far a closed one was durable, so a loss at its end shows. */
static void a_damaged_end_of_a_closed_segment_is_no_torn_tail(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file;
    uint64_t ended;

    rig_init(&rig, state);
    rig_open(&rig);
    assert_int_equal(append(&rig, 40, 1), OK);
    assert_int_equal(append(&rig, 40, 2), OK);
    assert_int_equal(wal_cut(rig.wal, &ended, NULL), OK);
    assert_int_equal(append(&rig, 40, 3), OK);
    rig_close(&rig);
    file = read_segment(&rig, 2);
    starts[1] = WAL_HEADER_BYTES + wal_record_space(40);
    for (size_t at = starts[1]; at < starts[1] + wal_record_space(40); at++) {
        file.ptr[at] ^= 0x10;
        write_segment(&rig, 2, file.ptr, file.len);
        file.ptr[at] ^= 0x10;
        rig_open(&rig);
        assert_int_equal(rig.replayed.n, 2);
        assert_int_equal(rig_stats(&rig).skipped, 1);
        rig_close(&rig);
    }
    buf_free(&file);
    rig_free(&rig);
}

/* Puts a record into a segment image. */
static size_t put_record(uint8_t *image, size_t at, size_t durable, size_t n, uint64_t nonce)
{
    struct wal_head head = { (uint32_t)n, (uint32_t)durable, 0 };

    memset(image + at + WAL_HEAD_BYTES, (int)n, n);
    head.payload_crc = crc32c(0, image + at + WAL_HEAD_BYTES, n);
    wal_head_encode(&head, nonce, (uint32_t)at, image + at);
    return at + wal_record_space(n);
}

static void an_unsynced_group_with_holes_is_torn_not_lost(void **state)
{
    static uint8_t image[WAL_HEADER_BYTES + 4096];
    const struct wal_header header = { .number = 1, .generation = 1, .nonce = 77 };
    size_t synced = put_record(image, WAL_HEADER_BYTES, WAL_HEADER_BYTES, 100, header.nonce);
    size_t second = put_record(image, synced, synced, 101, header.nonce);
    size_t third = put_record(image, second, synced, 102, header.nonce);
    struct wal_reader r;
    struct bytes record;

    (void)state;
    put_record(image, third, synced, 103, header.nonce);
    image[synced + 50] ^= 1; /* a payload ... */
    image[second + 2] ^= 1;  /* ... and a head of the group that the power cut met */
    r = wal_reader_on((struct bytes){ image, sizeof image }, &header, 0);
    assert_true(wal_reader_next(&r, &record));
    assert_int_equal(record.len, 100);
    assert_true(wal_reader_next(&r, &record));
    assert_int_equal(record.len, 103);
    assert_false(wal_reader_next(&r, &record));
    assert_int_equal(r.torn, 2);
    assert_int_equal(r.skipped, 0);
    image[WAL_HEADER_BYTES + 50] ^= 1; /* but the first one was durable */
    r = wal_reader_on((struct bytes){ image, sizeof image }, &header, 0);
    assert_true(wal_reader_next(&r, &record));
    assert_int_equal(record.len, 103);
    assert_false(wal_reader_next(&r, &record));
    assert_false(wal_reader_next(&r, &record));
    assert_int_equal(r.skipped, 1);
}

static void records_of_another_nonce_or_place_do_not_parse(void **state)
{
    static uint8_t image[WAL_HEADER_BYTES + 4096];
    const struct wal_header header = { .number = 1, .generation = 1, .nonce = 77 };
    size_t first = put_record(image, WAL_HEADER_BYTES, WAL_HEADER_BYTES, 100, 78);
    struct wal_reader r;
    struct bytes record;

    (void)state;
    put_record(image, first, first, 100, header.nonce);
    memmove(image + first + 8, image + first, wal_record_space(100));
    memset(image + first, 0, 8);
    r = wal_reader_on((struct bytes){ image, sizeof image }, &header, 0);
    assert_false(wal_reader_next(&r, &record));
    assert_int_equal(r.skipped + r.torn, 0);
}

static void a_damaged_header_sets_one_segment_aside(void **state)
{
    static const size_t places[] = { 0, 8, 16, 24, 32, 40, 63 };
    struct rig rig;

    rig_init(&rig, state);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        uint64_t number;
        char *path, *bad;

        rig.applied.n = 0;
        rig_open(&rig);
        assert_int_equal(append(&rig, 10, 1), OK);
        rig_close(&rig);
        for (number = 1; path = segment_path(&rig, number, "log"), access(path, F_OK) != 0;
             number++)
            free(path);
        bad = segment_path(&rig, number, "bad");
        assert_true(flip_in_file(path, places[i], 4));
        rig_open(&rig);
        assert_int_equal(append(&rig, 20, 1), OK);
        assert_int_equal(rig_stats(&rig).skipped, 1);
        assert_int_equal(rig_stats(&rig).replayed, 0);
        assert_int_equal(access(bad, F_OK), 0);
        rig_close(&rig);
        rig_open(&rig);
        assert_int_equal(rig_stats(&rig).skipped, 0); /* reported once */
        assert_int_equal(rig_stats(&rig).replayed, 1);
        rig.options.released = wal_generation(rig.wal) - 1;
        rig_close(&rig);
        free(path);
        free(bad);
    }
    assert_int_equal(count_files(&rig).bads, ARRAY_LEN(places));
    rig_free(&rig);
}

static void segments_too_short_or_renamed_are_set_aside(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    write_segment(&rig, 5, file.ptr, 0);
    write_segment(&rig, 6, file.ptr, WAL_HEADER_BYTES - 1);
    write_segment(&rig, 7, file.ptr, file.len); /* sound, but says that it is number 2 */
    rig_open(&rig);
    assert_same(&rig.replayed, &rig.applied);
    assert_int_equal(rig_stats(&rig).skipped, 3);
    assert_int_equal(count_files(&rig).bads, 3);
    buf_free(&file);
    rig_free(&rig);
}

static void an_unreadable_page_loses_only_what_it_held(void **state)
{
    struct rig rig;

    rig_init(&rig, state);
    rig.options.min_segment_bytes = LARGEST_SEGMENT;
    rig_open(&rig);
    for (uint8_t i = 0; i < 7; i++) /* two to a page */
        assert_int_equal(append(&rig, 2048 - WAL_HEAD_BYTES, i), OK);
    rig_close(&rig);
    rig.fault.unreadable = WAL_HEADER_BYTES + 4096 + 100;
    rig_open(&rig);
    assert_int_equal(rig.replayed.n, 5);
    assert_int_equal(rig.replayed.items[1].hash, rig.applied.items[1].hash);
    assert_int_equal(rig.replayed.items[2].hash, rig.applied.items[4].hash);
    assert_int_equal(rig_stats(&rig).skipped, 1); /* one place, two records */
    rig_close(&rig);
    rig.fault.unreadable = 1;
    rig_open(&rig);
    assert_int_equal(rig.replayed.n, 0);
    assert_int_equal(rig_stats(&rig).skipped, 1);
    assert_int_equal(count_files(&rig).bads, 1);
    rig_free(&rig);
}

static void a_newer_format_is_refused(void **state)
{
    size_t starts[4];
    struct rig rig;
    struct buf file = three_records(&rig, state, starts);

    store_u32le(file.ptr + 8, 2);
    store_u32le(file.ptr + 60, crc32c(0, file.ptr, 60));
    write_segment(&rig, 2, file.ptr, file.len);
    assert_int_equal(wal_open(&rig.options, &rig.wal, NULL), ERR_UNSUPPORTED);
    assert_int_equal(count_files(&rig).logs, 1); /* left as it was */
    buf_free(&file);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tail_torn_anywhere_loses_only_what_it_tore),
        TEST(appending_goes_on_after_a_torn_tail),
        TEST(a_flipped_bit_loses_one_record),
        TEST(a_damaged_end_of_a_closed_segment_is_no_torn_tail),
        TEST(an_unsynced_group_with_holes_is_torn_not_lost),
        TEST(records_of_another_nonce_or_place_do_not_parse),
        TEST(a_damaged_header_sets_one_segment_aside),
        TEST(segments_too_short_or_renamed_are_set_aside),
        TEST(an_unreadable_page_loses_only_what_it_held),
        TEST(a_newer_format_is_refused),
    };

    log_set_level(LOG_ERROR + 1); /* failures are wanted here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
