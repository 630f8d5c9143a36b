/* kv.c
 *
 * MDB_NOTLS: a read transaction belongs to its owner, not to a thread. MDB_NORDAHEAD: packs are
 * read in no order, and the file may be larger than memory. Never MDB_WRITEMAP (a full disk becomes
 * SIGBUS), MDB_NOSYNC or MDB_NOMETASYNC (lose acknowledged commits), nor MDB_DUPSORT (the part of
 * LMDB where the bugs were).
 */
#include "storage/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fs.h"

#include "base/banned.h"

/* LMDB's own tables: of free pages (mdb_stat -f reads it the same way), and of the others' names. */
enum { FREE_TABLE = 0, MAIN_TABLE = 1, MAX_FREE_BYTES = 1 << 20 };

struct kv {
    MDB_env *env;
    char *path;
    size_t map_bytes, page_bytes;
    MDB_dbi *tables;
    size_t n_tables;
};

enum { NO_TABLE = UINT32_MAX }; /* in kv.tables: one that a file opened for reading lacks */

struct kv_txn {
    struct kv *kv;
    MDB_txn *mdb;
    bool
        writes; /* then what it has changed is in memory of LMDB's, which is not aligned to pages */
};

/* ---- errors ---- */

static const struct {
    int mdb;
    enum errc code;
    const char *text;
} errors[] = {
    { ENOENT, ERR_NOT_FOUND, "no such file" },
    { ENOMEM, ERR_NOMEM, "out of memory" },
    { ENOSPC, ERR_UNAVAILABLE, "no space left on the device" },
    { EDQUOT, ERR_UNAVAILABLE, "the disk quota is used up" },
    { EFBIG, ERR_UNAVAILABLE, "the file has reached the largest size allowed" },
    { MDB_MAP_FULL, ERR_FULL, "the file has reached its reserved map size" },
    { MDB_TXN_FULL, ERR_FULL, "the transaction changes too many pages" },
    { MDB_READERS_FULL, ERR_UNAVAILABLE, "too many transactions are reading it" },
    { MDB_KEYEXIST, ERR_CONFLICT, "the key is not above all others" },
    { MDB_INVALID, ERR_CORRUPT, "not an LMDB file, or its header is damaged" },
    { MDB_VERSION_MISMATCH, ERR_CORRUPT, "not an LMDB file of this version" },
    { MDB_CORRUPTED, ERR_CORRUPT, "a page is damaged" },
    { MDB_PAGE_NOTFOUND, ERR_CORRUPT, "a page is missing" },
    { MDB_CURSOR_FULL, ERR_CORRUPT, "the tree of pages is damaged" },
    { MDB_INCOMPATIBLE, ERR_CORRUPT, "a table is of another kind" },
    { MDB_PANIC, ERR_IO, "a write has failed before: it must be opened again" },
};

static enum errc fail(struct err *err, const char *path, const char *what, int mdb)
{
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].mdb == mdb)
            return err_set(err, errors[i].code, 0, "%s %s: %s", what, path, errors[i].text);
    return err_set(err, ERR_IO, 0, "%s %s: %s", what, path, mdb_strerror(mdb));
}

static enum errc lookup_failed(const struct kv *kv, int mdb, struct err *err)
{
    return mdb == MDB_NOTFOUND ? ERR_NOT_FOUND : fail(err, kv->path, "read", mdb);
}

/* ---- damage ---- */

/* LMDB trusts its pages: a damaged one makes it fail an assertion, or read where nothing is. When it
 * reads on our behalf that becomes an error. */
static void on_assert(MDB_env *env, const char *text)
{
    (void)env;
    (void)text;
    fault_raise();
}

static int guarded_get(struct kv_txn *t, MDB_dbi table, MDB_val *k, MDB_val *v)
{
    struct fault_guard g;
    int mdb;

    if (sigsetjmp(fault_begin(&g)->env, 0))
        return MDB_CORRUPTED;
    mdb = mdb_get(t->mdb, table, k, v);
    fault_end(&g);
    return mdb;
}

static int guarded_move(MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
    struct fault_guard g;
    int mdb;

    if (sigsetjmp(fault_begin(&g)->env, 0))
        return MDB_CORRUPTED;
    mdb = mdb_cursor_get(c, k, v, op);
    fault_end(&g);
    return mdb;
}

static int guarded_put(struct kv_txn *t, MDB_dbi table, MDB_val *k, MDB_val *v, unsigned flags)
{
    struct fault_guard g;
    int mdb;

    if (sigsetjmp(fault_begin(&g)->env, 0))
        return MDB_CORRUPTED;
    mdb = mdb_put(t->mdb, table, k, v, flags);
    fault_end(&g);
    return mdb;
}

static int guarded_delete(MDB_cursor *c)
{
    struct fault_guard g;
    int mdb;

    if (sigsetjmp(fault_begin(&g)->env, 0))
        return MDB_CORRUPTED;
    mdb = mdb_cursor_del(c, 0);
    fault_end(&g);
    return mdb;
}

/* It fails before anything is written, if it fails so: the list of free pages is read first. */
static int guarded_commit(MDB_txn *t)
{
    struct fault_guard g;
    int mdb;

    if (sigsetjmp(fault_begin(&g)->env, 0)) {
        mdb_txn_abort(t);
        return MDB_CORRUPTED;
    }
    mdb = mdb_txn_commit(t);
    fault_end(&g);
    return mdb;
}

static int guarded_table(MDB_txn *t, const char *name, unsigned flags, MDB_dbi *table)
{
    struct fault_guard g;
    int mdb;

    if (sigsetjmp(fault_begin(&g)->env, 0))
        return MDB_CORRUPTED;
    mdb = mdb_dbi_open(t, name, flags, table);
    fault_end(&g);
    return mdb;
}

/* ---- opening ---- */

static MDB_val to_val(struct bytes b)
{
    return (MDB_val){ b.len, (void *)(uintptr_t)b.ptr };
}

/* Opens the tables in one transaction, creating those from first_made on that are missing. *missing
 * is the number of the table that was not there. */
static int try_tables(struct kv *kv, const struct kv_options *o, size_t first_made, size_t *missing)
{
    bool makes = first_made < o->n_tables;
    MDB_txn *txn = NULL;
    int mdb = mdb_txn_begin(kv->env, NULL, makes ? 0 : MDB_RDONLY, &txn);

    for (size_t i = 0; i < o->n_tables && mdb == 0; i++) {
        mdb = guarded_table(txn, o->tables[i], i >= first_made ? MDB_CREATE : 0, &kv->tables[i]);
        *missing = i;
    }
    if (mdb == 0)
        return guarded_commit(txn);
    mdb_txn_abort(txn);
    return mdb;
}

static enum errc open_tables(struct kv *kv, const struct kv_options *o, struct err *err)
{
    size_t missing = 0, first_added = o->n_tables - o->n_added;
    int mdb = try_tables(kv, o, o->create ? 0 : o->n_tables, &missing);

    if (mdb == MDB_NOTFOUND && missing >= first_added && o->read_only) {
        struct kv_options fewer = *o;

        fewer.n_tables = missing;
        mdb = try_tables(kv, &fewer, missing, &missing);
        for (size_t i = fewer.n_tables; i < o->n_tables; i++)
            kv->tables[i] = NO_TABLE;
    } else if (mdb == MDB_NOTFOUND && missing >= first_added) {
        mdb = try_tables(kv, o, first_added, &missing);
    }
    if (mdb == MDB_NOTFOUND)
        return err_set(err, ERR_CORRUPT, 0, "open %s: it has no table \"%s\"", kv->path,
                       o->tables[missing]);
    return mdb ? fail(err, kv->path, "open", mdb) : OK;
}

/* Whether all pages first..last are on the list of free pages. Each of its values is a count and as
 * many page numbers. */
static bool pages_are_free(MDB_env *env, size_t first, size_t last)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    size_t found = 0;

    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn))
        return false;
    if (mdb_cursor_open(txn, FREE_TABLE, &cursor) == 0) {
        while (guarded_move(cursor, &key, &value, MDB_NEXT) == 0) {
            const uint8_t *p = value.mv_data;
            size_t n =
                value.mv_size >= sizeof n && value.mv_size <= MAX_FREE_BYTES ? load_u64le(p) : 0;

            for (size_t i = 1; i <= n && i < value.mv_size / sizeof n; i++) {
                size_t page = load_u64le(p + i * sizeof n);

                found += page >= first && page <= last;
            }
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return found == last - first + 1;
}

/* Puts zeros where the map of a file opened for reading has no file under it. A page begins with its
 * number, which tells where the map begins. */
static bool cover_missing(struct kv *kv, uint64_t have, uint64_t need)
{
    uint64_t from = (have + kv->page_bytes - 1) / kv->page_bytes * kv->page_bytes;
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    bool ok = false;

    if (mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn))
        return false;
    if (mdb_cursor_open(txn, MAIN_TABLE, &cursor) == 0
        && guarded_move(cursor, &key, &value, MDB_FIRST) == 0) {
        uint8_t *page = (uint8_t *)((uintptr_t)key.mv_data / kv->page_bytes * kv->page_bytes);
        uint64_t at = load_u64le(page) * kv->page_bytes;

        ok = at < have
             && mmap(page - at + from, need - from, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
                    != MAP_FAILED;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return ok;
}

static enum errc truncated(const struct kv *kv, uint64_t have, uint64_t need, struct err *err)
{
    return err_set(err, ERR_CORRUPT, 0,
                   "open %s: it has %llu bytes but its header tells of %llu: it was truncated; "
                   "restore it from a backup",
                   kv->path, (unsigned long long)have, (unsigned long long)need);
}

/* A file that is too short would be SIGBUS on a later read. But a sound one may lack its last
 * pages: LMDB does not write a page that was taken and given back within one transaction. So the
 * file is extended, which makes reading the free list safe, and cut again unless it lacked free
 * pages only. */
static enum errc check_size(struct kv *kv, bool read_only, struct err *err)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    mdb_filehandle_t fd;

    if (mdb_env_info(kv->env, &info) || mdb_env_stat(kv->env, &stat) || mdb_env_get_fd(kv->env, &fd)
        || fstat(fd, &file) != 0)
        return fail(err, kv->path, "open", EIO);
    kv->page_bytes = stat.ms_psize;

    uint64_t have = (uint64_t)file.st_size;
    uint64_t need = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;

    if (have >= need)
        return OK;
    if (read_only && cover_missing(kv, have, need)
        && pages_are_free(kv->env, (size_t)(have / stat.ms_psize), info.me_last_pgno))
        return OK;
    if (read_only)
        return truncated(kv, have, need, err);
    if (ftruncate(fd, (off_t)need) != 0)
        return fail(err, kv->path, "extend", errno);
    if (pages_are_free(kv->env, (size_t)(have / stat.ms_psize), info.me_last_pgno))
        return OK;
    if (ftruncate(fd, (off_t)have) != 0)
        return fail(err, kv->path, "cut", errno);
    return truncated(kv, have, need, err);
}

/* LMDB makes its lock file sparse and writes to it through a map: on a full disk that is SIGBUS. So
 * its blocks are reserved first; LMDB uses a file that is large enough as it is. */
static enum errc reserve_lock_file(const char *path, struct err *err)
{
    enum { BYTES = (KV_MAX_READERS + 2) * 64 };
    char lock[PATH_MAX];
    int fd, failed;

    if (snprintf(lock, sizeof lock, "%s-lock", path) >= (int)sizeof lock)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s", path);
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return fail(err, lock, "create", errno);
    failed = fallocate(fd, 0, 0, BYTES) != 0 ? errno : 0;
    close(fd);
    return failed && failed != EOPNOTSUPP && failed != ENOSYS ? fail(err, lock, "reserve", failed)
                                                              : OK;
}

static enum errc open_existing(const struct kv_options *o, struct kv **out, struct err *err)
{
    struct kv *kv = calloc(1, sizeof *kv);
    unsigned flags =
        MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | (o->read_only ? MDB_RDONLY | MDB_NOLOCK : 0);
    enum errc rc = o->read_only ? OK : reserve_lock_file(o->path, err);
    int mdb = ENOMEM;

    if (rc != OK)
        goto done;

    if (!kv || !(kv->path = strdup(o->path))
        || !(kv->tables = calloc(o->n_tables, sizeof *kv->tables))
        || (mdb = mdb_env_create(&kv->env)) || (mdb = mdb_env_set_mapsize(kv->env, o->map_bytes))
        || (mdb = mdb_env_set_maxdbs(kv->env, (MDB_dbi)o->n_tables))
        || (mdb = mdb_env_set_maxreaders(kv->env, KV_MAX_READERS))
        || (mdb = mdb_env_open(kv->env, o->path, flags, 0640))) {
        rc = fail(err, o->path, "open", mdb);
        goto done;
    }
    fault_install();
    (void)!mdb_env_set_assert(kv->env, on_assert);
    kv->map_bytes = o->map_bytes;
    kv->n_tables = o->n_tables;
    rc = check_size(kv, o->read_only, err);
    if (rc == OK)
        rc = open_tables(kv, o, err);
    if (rc != OK)
        goto done;
    *out = kv;
    kv = NULL;
done:
    kv_close(kv);
    return rc;
}

/* The folder that path lies in. */
static enum errc sync_parent(const char *path, struct err *err)
{
    char dir[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');

    if (slash)
        snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return fs_sync_dir(dir, err);
}

static enum errc remove_files(const char *path, struct err *err)
{
    char lock[PATH_MAX];
    enum errc rc = fs_remove(path, err);

    if (rc != OK)
        return rc;
    if (snprintf(lock, sizeof lock, "%s-lock", path) >= (int)sizeof lock)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s", path);
    return fs_remove(lock, err);
}

/* LMDB writes the first pages of a file in several steps: they happen under another name. */
static enum errc create(const struct kv_options *o, struct err *err)
{
    char temp[PATH_MAX];
    struct kv_options under_temp = *o;
    struct kv *kv = NULL;
    enum errc rc;

    if (snprintf(temp, sizeof temp, "%s.tmp", o->path) >= (int)sizeof temp - 8)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s", o->path);
    under_temp.path = temp;
    rc = remove_files(temp, err);
    if (rc == OK)
        rc = open_existing(&under_temp, &kv, err);
    if (rc == OK && mdb_env_sync(kv->env, 1) != 0)
        rc = fail(err, temp, "sync", errno);
    kv_close(kv);
    if (rc == OK && rename(temp, o->path) != 0)
        rc = fail(err, temp, "rename", errno);
    if (rc != OK) {
        (void)!remove_files(temp, NULL); /* the first error is the one to tell */
        return rc;
    }
    rc = remove_files(temp, err); /* the lock file is left under that name */
    return rc == OK ? sync_parent(o->path, err) : rc;
}

enum errc kv_open(const struct kv_options *o, struct kv **out, struct err *err)
{
    struct stat file;

    ASSERT(o->n_tables > 0);
    if (stat(o->path, &file) == 0) {
        if (file.st_size == 0)
            return err_set(err, ERR_CORRUPT, 0, "open %s: the file is empty", o->path);
    } else if (errno != ENOENT || !o->create) {
        return fail(err, o->path, "open", errno);
    } else {
        enum errc rc = create(o, err);

        if (rc != OK)
            return rc;
    }
    return open_existing(o, out, err);
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    if (kv->env)
        mdb_env_close(kv->env);
    free(kv->tables);
    free(kv->path);
    free(kv);
}

enum errc kv_remove(const char *path, struct err *err)
{
    enum errc rc = remove_files(path, err);

    return rc == OK ? sync_parent(path, err) : rc;
}

const char *kv_path(const struct kv *kv)
{
    return kv->path;
}

uint64_t kv_file_bytes(const struct kv *kv)
{
    return fs_size(kv->path);
}

/* ---- transactions ---- */

static enum errc begin(struct kv *kv, unsigned flags, struct kv_txn **out, struct err *err)
{
    struct kv_txn *t = malloc(sizeof *t);
    int mdb = t ? mdb_txn_begin(kv->env, NULL, flags, &t->mdb) : ENOMEM;

    if (mdb) {
        free(t);
        return fail(err, kv->path, "begin a transaction on", mdb);
    }
    t->kv = kv;
    t->writes = !(flags & MDB_RDONLY);
    *out = t;
    return OK;
}

enum errc kv_begin_read(struct kv *kv, struct kv_txn **out, struct err *err)
{
    return begin(kv, MDB_RDONLY, out, err);
}

enum errc kv_begin_write(struct kv *kv, struct kv_txn **out, struct err *err)
{
    return begin(kv, 0, out, err);
}

enum errc kv_commit(struct kv_txn *t, struct err *err)
{
    struct kv *kv = t->kv;
    int mdb = guarded_commit(t->mdb);

    free(t);
    return mdb ? fail(err, kv->path, "commit to", mdb) : OK;
}

void kv_abort(struct kv_txn *t)
{
    if (!t)
        return;
    mdb_txn_abort(t->mdb);
    free(t);
}

/* ---- entries ---- */

/* Whether a key or value can lie within one page. */
static bool is_in_page(const struct kv_txn *t, MDB_val v)
{
    size_t offset = t->writes ? 0 : (uintptr_t)v.mv_data % t->kv->page_bytes;

    return v.mv_size <= t->kv->page_bytes - offset;
}

/* Whether a value has pages of its own. The first starts with a header: page number u64, two unused
 * bytes, flags u16, number of pages u32. */
static bool has_pages(const struct kv_txn *t, MDB_val v)
{
    enum { HEADER = 16, AT_FLAGS = 10, AT_PAGES = 12, OVERFLOW = 4 };
    const uint8_t *header = (const uint8_t *)v.mv_data - HEADER;
    uint64_t n_pages = load_u32le(header + AT_PAGES), page = load_u64le(header);
    uint64_t end = t->kv->map_bytes / t->kv->page_bytes;
    MDB_envinfo info;

    if (!t->writes) {
        if ((uintptr_t)header % t->kv->page_bytes != 0 || mdb_env_info(t->kv->env, &info) != 0)
            return false;
        end = info.me_last_pgno + 1;
    }
    return (header[AT_FLAGS] & OVERFLOW) && page < end && n_pages <= end - page
           && v.mv_size <= n_pages * t->kv->page_bytes - HEADER;
}

/* Takes over what LMDB found. A length that fits neither way is a damaged node, and believing it
 * would mean reading past the file. */
static enum errc take_value(const struct kv_txn *t, MDB_val v, struct bytes *value, struct err *err)
{
    *value = (struct bytes){ v.mv_data, v.mv_size };
    if (is_in_page(t, v) || has_pages(t, v))
        return OK;
    return fail(err, t->kv->path, "read", MDB_CORRUPTED);
}

enum errc kv_get(struct kv_txn *t, unsigned table, struct bytes key, struct bytes *value,
                 struct err *err)
{
    MDB_val k = to_val(key), v;
    int mdb;

    ASSERT(table < t->kv->n_tables);
    if (t->kv->tables[table] == NO_TABLE)
        return ERR_NOT_FOUND;
    mdb = guarded_get(t, t->kv->tables[table], &k, &v);
    return mdb ? lookup_failed(t->kv, mdb, err) : take_value(t, v, value, err);
}

static int put(struct kv_txn *t, unsigned table, MDB_val k, MDB_val v, unsigned flags)
{
    ASSERT(table < t->kv->n_tables && k.mv_size > 0 && k.mv_size <= KV_MAX_KEY);
    return guarded_put(t, t->kv->tables[table], &k, &v, flags);
}

enum errc kv_put(struct kv_txn *t, unsigned table, struct bytes key, struct bytes value,
                 struct err *err)
{
    int mdb = put(t, table, to_val(key), to_val(value), 0);

    return mdb ? fail(err, t->kv->path, "write to", mdb) : OK;
}

enum errc kv_append(struct kv_txn *t, unsigned table, struct bytes key, struct bytes value,
                    struct err *err)
{
    int mdb = put(t, table, to_val(key), to_val(value), MDB_APPEND);

    return mdb ? fail(err, t->kv->path, "append to", mdb) : OK;
}

/* ---- cursors ---- */

enum errc kv_cursor_open(struct kv_txn *t, unsigned table, struct kv_cursor *c, struct err *err)
{
    MDB_cursor *cursor;
    int mdb;

    ASSERT(table < t->kv->n_tables);
    *c = (struct kv_cursor){ .txn = t };
    if (t->kv->tables[table] == NO_TABLE)
        return OK;
    mdb = mdb_cursor_open(t->mdb, t->kv->tables[table], &cursor);
    if (mdb)
        return fail(err, t->kv->path, "read", mdb);
    *c = (struct kv_cursor){ .txn = t, .mdb = cursor };
    return OK;
}

void kv_cursor_close(struct kv_cursor *c)
{
    if (c->mdb)
        mdb_cursor_close(c->mdb);
    *c = (struct kv_cursor){ 0 };
}

static enum errc move(struct kv_cursor *c, struct bytes key, MDB_cursor_op op, struct err *err)
{
    MDB_val k = to_val(key), v;
    int mdb = c->mdb ? guarded_move(c->mdb, &k, &v, op) : MDB_NOTFOUND;

    if (mdb)
        return lookup_failed(c->txn->kv, mdb, err);
    c->key = (struct bytes){ k.mv_data, k.mv_size };
    if (!is_in_page(c->txn, k))
        return fail(err, c->txn->kv->path, "read", MDB_CORRUPTED);
    return take_value(c->txn, v, &c->value, err);
}

enum errc kv_seek(struct kv_cursor *c, struct bytes key, struct err *err)
{
    return move(c, key, MDB_SET_RANGE, err);
}

enum errc kv_next(struct kv_cursor *c, struct err *err)
{
    return move(c, (struct bytes){ 0 }, MDB_NEXT, err);
}

enum errc kv_prev(struct kv_cursor *c, struct err *err)
{
    return move(c, (struct bytes){ 0 }, MDB_PREV, err);
}

enum errc kv_last(struct kv_cursor *c, struct err *err)
{
    return move(c, (struct bytes){ 0 }, MDB_LAST, err);
}

enum errc kv_delete_at(struct kv_cursor *c, struct err *err)
{
    int mdb = guarded_delete(c->mdb);

    return mdb ? fail(err, c->txn->kv->path, "delete from", mdb) : OK;
}

/* ---- copying ---- */

/* LMDB never writes to a page that an open transaction can reach, except for the two first ones,
 * which it writes in turn: so these are read while nobody writes, and the rest at leisure. */
struct kv_copy {
    struct kv_txn *txn;
    int fd;
    uint64_t bytes;
    size_t n_meta; /* bytes of the first pages */
    uint8_t meta[];
};

enum { N_META_PAGES = 2, COPY_BYTES = 1 << 20 };

/* Reads exactly n bytes. */
static bool read_at(int fd, uint8_t *p, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t got = pread(fd, p, n, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return true;
}

static enum errc fix_moment(struct kv *kv, struct kv_copy *c, struct err *err)
{
    MDB_envinfo info;
    struct stat file;

    if (mdb_env_info(kv->env, &info) || fstat(c->fd, &file) != 0
        || !read_at(c->fd, c->meta, c->n_meta, 0))
        return fail(err, kv->path, "copy", errno ? errno : EIO);
    c->bytes = ((uint64_t)info.me_last_pgno + 1) * kv->page_bytes;
    if (c->bytes > (uint64_t)file.st_size) /* it may lack free pages at its end */
        c->bytes = (uint64_t)file.st_size;
    return kv_begin_read(kv, &c->txn, err);
}

enum errc kv_copy_begin(struct kv *kv, struct kv_copy **out, struct err *err)
{
    size_t n_meta = N_META_PAGES * kv->page_bytes;
    struct kv_copy *c = calloc(1, sizeof *c + n_meta);
    struct kv_txn *writer = NULL;
    mdb_filehandle_t fd;
    enum errc rc;

    if (!c || mdb_env_get_fd(kv->env, &fd)) {
        free(c);
        return fail(err, kv->path, "copy", ENOMEM);
    }
    c->n_meta = n_meta;
    c->fd = fd; /* LMDB's own: closing another one would drop its locks */
    rc = kv_begin_write(kv, &writer, err);
    if (rc == OK)
        rc = fix_moment(kv, c, err);
    kv_abort(writer);
    if (rc == OK)
        *out = c;
    else
        kv_copy_end(c);
    return rc;
}

uint64_t kv_copy_bytes(const struct kv_copy *c)
{
    return c->bytes;
}

static enum errc copy_rest(struct kv_copy *c, int to, const char *path,
                           bool (*go_on)(void *ctx, uint64_t bytes), void *ctx, struct err *err)
{
    uint8_t *piece = malloc(COPY_BYTES);
    enum errc rc = piece ? OK : fail(err, path, "write", ENOMEM);

    for (uint64_t at = c->n_meta; rc == OK && at < c->bytes; at += COPY_BYTES) {
        uint64_t left = c->bytes - at;
        size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;

        if (!read_at(c->fd, piece, n, at))
            rc = fail(err, c->txn->kv->path, "read", errno ? errno : EIO);
        else
            rc = fs_pwrite(to, piece, n, at, path, err);
        if (rc == OK && go_on && !go_on(ctx, at + n))
            rc = err_set(err, ERR_CANCELED, 0, "copy %s: interrupted", path);
    }
    free(piece);
    return rc;
}

enum errc kv_copy_run(struct kv_copy *c, const char *path, bool (*go_on)(void *ctx, uint64_t bytes),
                      void *ctx, struct err *err)
{
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    enum errc rc;

    if (to < 0)
        return fail(err, path, "create", errno);
    rc = fs_pwrite(to, c->meta, c->n_meta, 0, path, err);
    if (rc == OK)
        rc = copy_rest(c, to, path, go_on, ctx, err);
    if (rc == OK && fsync(to) != 0)
        rc = fail(err, path, "sync", errno);
    close(to);
    return rc;
}

void kv_copy_end(struct kv_copy *c)
{
    if (!c)
        return;
    kv_abort(c->txn);
    free(c);
}
