/* codec_check.c -- the codecs and packs on another processor: run by scripts/test-arm64, which
 * compares what this prints with what it prints on the machine it runs on.
 *
 * Usage: codec_check VALUES PACK...: random columns of every kind go through the codecs and back
 * until there are VALUES of them, and a checksum of all encodings is printed; each PACK is a file of
 * which every chunk is read, and a checksum of the samples is printed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "columns.h"
#include "random.h"
#include "storage/codec_float.h"
#include "storage/kernels.h"
#include "storage/pack.h"

#include "base/banned.h"

static double v[INTS_MAX], got[INTS_MAX];
static int64_t ints[INTS_MAX], work[INTS_MAX], got_ints[INTS_MAX];
static struct floats_scratch scratch;

static void fail(const char *what, unsigned kind)
{
    printf("%s %u does not come back\n", what, kind);
    exit(1);
}

static uint32_t check_floats(struct buf *b, uint64_t *rng, unsigned kind, size_t n, uint32_t crc)
{
    struct reader r;

    random_floats(rng, kind, v, n);
    buf_clear(b);
    floats_encode(b, v, n, &scratch);
    r = reader_on(buf_as_bytes(b));
    if (!floats_decode(&r, got, n) || memcmp(got, v, n * sizeof *v) != 0)
        fail("floats of kind", kind);
    return crc32c(crc, b->ptr, b->len);
}

static uint32_t check_ints(struct buf *b, uint64_t *rng, unsigned kind, size_t n, uint32_t crc)
{
    struct reader r;

    random_ints(rng, kind, ints, n);
    memcpy(work, ints, n * sizeof *ints);
    buf_clear(b);
    ints_encode(b, work, n);
    r = reader_on(buf_as_bytes(b));
    if (!ints_decode(&r, got_ints, n) || memcmp(got_ints, ints, n * sizeof *ints) != 0)
        fail("integers of kind", kind);
    return crc32c(crc, b->ptr, b->len);
}

static void check_codecs(uint64_t n_values)
{
    struct buf b = { 0 };
    uint64_t rng = 1, done = 0;
    uint32_t crc = 0;

    for (unsigned round = 0; done < n_values; round++) {
        size_t n = 1 + random_below(&rng, round % 10 ? 500 : INTS_MAX);

        crc = check_floats(&b, &rng, round % FLOAT_KINDS, n, crc);
        crc = check_ints(&b, &rng, round % INT_KINDS, n, crc);
        done += 2 * n;
    }
    buf_free(&b);
    printf("codecs %08x\n", crc);
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    uint8_t block[4096];
    size_t n;

    while (f && (n = fread(block, 1, sizeof block, f)) > 0)
        buf_add(out, block, n);
    if (f)
        fclose(f);
    return f;
}

static void check_pack(const char *path)
{
    struct column c = { 0 };
    struct buf file = { 0 };
    uint32_t crc = 0;
    struct pack p;

    if (!read_file(path, &file) || pack_open(buf_as_bytes(&file), false, &p, NULL) != OK)
        fail(path, 0);
    for (size_t i = 0; i < p.n_chunks; i++) {
        struct pack_chunk chunk = pack_chunk(&p, i);

        c.n = 0;
        if (pack_read(&p, &chunk, NULL, &c, NULL) != OK)
            fail(path, (unsigned)i);
        crc = crc32c(crc, c.t_ms, c.n * sizeof *c.t_ms);
        crc = crc32c(crc, c.v, c.n * sizeof *c.v);
    }
    printf("pack %08x\n", crc);
    column_free(&c);
    buf_free(&file);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: codec_check VALUES PACK...\n");
        return 2;
    }
    check_codecs(strtoull(argv[1], NULL, 10));
    for (int i = 2; i < argc; i++)
        check_pack(argv[i]);
    return 0;
}
