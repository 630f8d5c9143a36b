/* fuzz_remote_write2.c -- reads the input as a Request of remote write 2.0, with and without Snappy
 * around it, and checks that what comes out is consistent: every text inside the input, what series
 * have inside the batch, nothing left after an error, and histograms as they were after encoding. */
#include "base/arena.h"
#include "ingest/remote_write2.h"
#include "ingest/snappy.h"

#include "base/banned.h"

static void check_inside(struct bytes outer, struct str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;

    if (s.len == 0)
        return;
    ASSERT(p >= outer.ptr && s.len <= (size_t)(outer.ptr + outer.len - p));
}

static void check_batch(const struct write_batch *b, struct bytes in)
{
    size_t n_samples = 0, n_histograms = 0, n_exemplars = 0;

    for (size_t i = 0; i < b->n_series; i++) {
        const struct write_series *s = &b->series[i];

        for (size_t k = 0; k < s->n_labels; k++) {
            check_inside(in, s->labels[k].name);
            check_inside(in, s->labels[k].value);
        }
        ASSERT(s->first_sample == n_samples && s->first_histogram == n_histograms
               && s->first_exemplar == n_exemplars);
        n_samples += s->n_samples;
        n_histograms += s->n_histograms;
        n_exemplars += s->n_exemplars;
    }
    ASSERT(n_samples == b->n_samples && n_histograms == b->n_histograms
           && n_exemplars == b->n_exemplars);
    for (size_t i = 0; i < b->n_metadata; i++) {
        const struct metric_metadata *m = &b->metadata[i];

        ASSERT(m->family.len && m->type < METRIC_TYPE_COUNT);
        check_inside(in, m->family);
        check_inside(in, m->help);
        check_inside(in, m->unit);
    }
}

/* What the store would accept comes back from its encoding. */
static void check_histograms(const struct write_batch *b, struct arena *arena)
{
    struct buf encoding = { 0 };

    for (size_t i = 0; i < b->n_histograms; i++) {
        const struct histogram *h = &b->histograms[i].h;
        struct histogram again;
        struct reader r;

        if (histogram_check(h, NULL) != OK)
            continue;
        buf_clear(&encoding);
        histogram_encode(&encoding, h);
        r = reader_on(buf_as_bytes(&encoding));
        ASSERT(histogram_decode(&r, arena, &again, NULL) == OK && reader_left(&r) == 0);
        ASSERT(histogram_identical(h, &again));
    }
    buf_free(&encoding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct bytes in = { data, size };
    struct remote_write2 rw = { 0 };
    struct buf block = { 0 };
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    enum errc rc = remote_write2_parse(&rw, in, &err);
    struct write_batch first = rw.batch;

    ASSERT(rc == OK || rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE);
    ASSERT(rc != ERR_BAD_DATA || (err.pos < size && strstr(err_text(&err), " at byte ")));
    check_batch(&rw.batch, in);
    check_histograms(&rw.batch, arena);

    ASSERT(snappy_encode(in, &block, NULL) == OK);
    ASSERT(remote_write2_read(&rw, buf_as_bytes(&block), NULL) == rc);
    ASSERT(rw.batch.n_series == first.n_series && rw.batch.n_samples == first.n_samples
           && rw.batch.n_histograms == first.n_histograms
           && rw.batch.n_metadata == first.n_metadata);

    remote_write2_recycle(&rw);
    rc = remote_write2_read(&rw, in, NULL);
    ASSERT(rc == OK || rc == ERR_BAD_DATA || rc == ERR_TOO_LARGE);
    check_batch(&rw.batch, buf_as_bytes(&rw.body));

    remote_write2_free(&rw);
    buf_free(&block);
    arena_free(arena);
    return 0;
}
