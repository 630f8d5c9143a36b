/* bench_wal.c -- how many durable records a second the log takes, by threads and record size.
 *
 * Usage: bench_wal FOLDER [SECONDS]      FOLDER must be on the disk to measure; it is left empty
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "storage/wal.h"

#include "base/banned.h"

enum { MAX_THREADS = 32, MAX_SAMPLES = 1 << 18, CUT_EVERY_BYTES = 256 << 20 };

struct bench {
    struct wal *wal;
    size_t record_bytes;
    int64_t end_ns;
    atomic_size_t n;
    int64_t *took_ns; /* of each append */
};

static void *append_until_the_end(void *arg)
{
    struct bench *b = arg;
    uint8_t *record = malloc(b->record_bytes);

    if (!record)
        return NULL;
    memset(record, 0x5a, b->record_bytes);
    for (int64_t now = clock_mono_ns(&clock_system), start = now; now < b->end_ns; start = now) {
        enum errc rc = wal_append(b->wal, wal_generation(b->wal),
                                  (struct bytes){ record, b->record_bytes }, NULL, NULL);

        now = clock_mono_ns(&clock_system);
        if (rc == OK) {
            size_t i = atomic_fetch_add(&b->n, 1);

            if (i < MAX_SAMPLES)
                b->took_ns[i] = now - start;
        } else if (rc != ERR_CONFLICT) {
            break;
        }
    }
    free(record);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The owner's part: cuts and releases as a flusher does, so that segments are reused. */
static void recycle(struct bench *b)
{
    uint64_t last = 0, ended;
    struct wal_stats stats;

    while (clock_mono_ns(&clock_system) < b->end_ns) {
        wal_stats(b->wal, &stats);
        if (stats.bytes_written - last < CUT_EVERY_BYTES)
            usleep(10000);
        else if (wal_cut(b->wal, &ended, NULL) != OK || wal_release(b->wal, ended, NULL) != OK)
            return;
        else
            last = stats.bytes_written;
    }
}

static bool run(const char *dir, size_t record_bytes, int n_threads, int seconds)
{
    struct bench b = { .record_bytes = record_bytes };
    struct wal_options options = wal_options_default();
    pthread_t threads[MAX_THREADS];
    struct wal_stats stats;
    size_t n;

    options.dir = dir;
    b.took_ns = calloc(MAX_SAMPLES, sizeof *b.took_ns);
    if (!b.took_ns || wal_open(&options, &b.wal, NULL) != OK) {
        free(b.took_ns);
        return false;
    }
    b.end_ns = clock_mono_ns(&clock_system) + seconds * (int64_t)1000000000;
    for (int i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, append_until_the_end, &b) != 0)
            abort();
    recycle(&b);
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    wal_stats(b.wal, &stats);
    wal_close(b.wal);
    n = atomic_load(&b.n) < MAX_SAMPLES ? atomic_load(&b.n) : MAX_SAMPLES;
    qsort(b.took_ns, n, sizeof *b.took_ns, by_value);
    if (n)
        printf("%8zu %8d %11.0f %9.0f %8.0f %8.2f %8.2f %8.2f\n", record_bytes, n_threads,
               (double)stats.records / seconds, (double)stats.syncs / seconds,
               (double)stats.bytes_written / seconds / 1e6, (double)b.took_ns[n / 2] / 1e6,
               (double)b.took_ns[n - n / 100 - 1] / 1e6, (double)b.took_ns[n - 1] / 1e6);
    free(b.took_ns);
    return n > 0 && !stats.failed;
}

static bool remove_entry(void *ctx, const char *name)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    return unlink(path) == 0;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = { 4096, 65536, 1 << 20 };
    static const int threads[] = { 1, 8 };
    int seconds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;

    if (argc < 2 || seconds < 1) {
        fprintf(stderr, "Usage: %s FOLDER [SECONDS]\n", argv[0]);
        return 2;
    }
    printf("   bytes  threads   records/s   syncs/s     MB/s   p50 ms   p99 ms   max ms\n");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t j = 0; j < ARRAY_LEN(threads); j++) {
            char dir[4096];
            bool ok;

            snprintf(dir, sizeof dir, "%s/bench_wal", argv[1]);
            ok = run(dir, sizes[i], threads[j], seconds);
            if (fs_each(dir, remove_entry, dir, NULL) != OK || rmdir(dir) != 0 || !ok) {
                fprintf(stderr, "bench_wal: failed in %s\n", dir);
                return 1;
            }
        }
    }
    return 0;
}
