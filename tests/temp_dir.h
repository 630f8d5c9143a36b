/* temp_dir.h -- a folder of its own for each test, removed with all files in it (not folders). */
#pragma once

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fs.h"

struct temp_dir {
    char path[PATH_MAX / 4];
};

/* cmocka's setup: *state becomes a struct temp_dir. */
static inline int temp_dir_make(void **state)
{
    const char *base = getenv("TMPDIR");
    struct temp_dir *t = calloc(1, sizeof *t);

    if (!t)
        return -1;
    snprintf(t->path, sizeof t->path, "%s/tidemark-test-XXXXXX", base && *base ? base : "/tmp");
    *state = t;
    return mkdtemp(t->path) ? 0 : -1;
}

static inline bool temp_dir_unlink(void *ctx, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    return unlink(path) == 0;
}

/* cmocka's teardown. */
static inline int temp_dir_remove(void **state)
{
    struct temp_dir *t = *state;
    int failed = fs_each(t->path, temp_dir_unlink, t->path, NULL) != OK || rmdir(t->path) != 0;

    free(t);
    return failed;
}

/* The path of a file in it; the caller frees it. */
static inline char *temp_dir_file(const struct temp_dir *t, const char *name)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", t->path, name) < 0)
        abort();
    return path;
}

/* Flips the bits of mask in the byte of a file at offset: a fault of the disk. */
static inline bool flip_in_file(const char *path, size_t offset, uint8_t mask)
{
    FILE *f = fopen(path, "r+b");
    bool ok = false;
    int c;

    if (!f)
        return false;
    if (fseek(f, (long)offset, SEEK_SET) == 0 && (c = fgetc(f)) != EOF
        && fseek(f, (long)offset, SEEK_SET) == 0)
        ok = fputc(c ^ mask, f) != EOF;
    return fclose(f) == 0 && ok;
}
