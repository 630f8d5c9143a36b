#include "data_tools.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/http_client.h"
#include "base/json.h"
#include "storage/db_verify.h"
#include "storage/manifest.h"

#include "base/banned.h"

enum { COPY_BYTES = 1 << 20, SNAPSHOT_TIMEOUT_MS = 3600 * 1000 };

/* A file that is opened for reading is mapped whole, however large it is. */
#define MAP_BYTES ((size_t)1 << 30)

/* ---- verify ---- */

struct report {
    bool json, tty, quiet;
    uint64_t faults;
    size_t n_files;
    struct buf files, texts; /* of the JSON */
    int shown_percent;
};

static void clear_progress(const struct report *r)
{
    if (r->tty)
        fprintf(stderr, "\r\033[K");
}

static void on_fault(void *ctx, const char *text)
{
    struct report *r = ctx;

    clear_progress(r);
    fprintf(stderr, "%s\n", text);
    buf_text(&r->texts, r->faults++ ? "," : "");
    json_string(&r->texts, str_from(text));
}

static void on_file(void *ctx, const struct verify_file *f)
{
    struct report *r = ctx;

    clear_progress(r);
    r->shown_percent = -1;
    buf_text(&r->files, r->n_files++ ? ",{\"name\":" : "{\"name\":");
    json_string(&r->files, str_from(f->name));
    buf_printf(&r->files,
               ",\"bytes\":%" PRIu64 ",\"values\":%" PRIu64 ",\"series\":%" PRIu64
               ",\"samples\":%" PRIu64 ",\"faults\":%" PRIu64 "}",
               f->file_bytes, f->values, f->series, f->samples, f->faults);
    if (r->json || r->quiet)
        return;
    printf("%-32s %12" PRIu64 " bytes", f->name, f->file_bytes);
    if (f->samples)
        printf(" %9" PRIu64 " series %12" PRIu64 " samples", f->series, f->samples);
    if (f->faults)
        printf("  %" PRIu64 " FAULTS\n", f->faults);
    else
        printf("  ok\n");
}

static bool on_progress(void *ctx, const char *name, uint64_t bytes, uint64_t file_bytes)
{
    struct report *r = ctx;
    int percent = file_bytes > bytes ? (int)(bytes * 100 / file_bytes) : 99;

    if (r->tty && percent != r->shown_percent) {
        fprintf(stderr, "\r\033[K%s %d %%", name, percent);
        r->shown_percent = percent;
    }
    return true;
}

static void print_json(const struct report *r, const char *dir, const struct verify_result *res)
{
    struct buf b = { 0 };

    buf_text(&b, "{\"dir\":");
    json_string(&b, str_from(dir));
    buf_printf(&b, ",\"ok\":%s,\"samples\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"files\":[%.*s],",
               res->faults ? "false" : "true", res->samples, res->faults,
               STR_ARG(buf_as_str(&r->files)));
    buf_printf(&b, "\"texts\":[%.*s]}\n", STR_ARG(buf_as_str(&r->texts)));
    printf("%.*s", STR_ARG(buf_as_str(&b)));
    buf_free(&b);
}

/* ERR_CORRUPT when there are faults. */
static enum errc verify(const char *dir, bool json, bool quiet, struct err *err)
{
    struct report r = { .json = json, .quiet = quiet, .tty = isatty(STDERR_FILENO) };
    struct db_verify v = { .dir = dir,
                           .map_bytes = MAP_BYTES,
                           .fault = on_fault,
                           .file = on_file,
                           .go_on = on_progress,
                           .ctx = &r };
    struct verify_result res = { 0 };
    enum errc rc = db_verify(&v, &res, err);

    clear_progress(&r);
    if (rc == OK && json)
        print_json(&r, dir, &res);
    else if (rc == OK && !quiet)
        printf("%s: %" PRIu64 " files, %" PRIu64 " samples, %" PRIu64 " faults\n", dir, res.files,
               res.samples, res.faults);
    if (rc == OK && res.faults)
        rc = err_set(err, ERR_CORRUPT, 0, "%s is damaged: %" PRIu64 " faults", dir, res.faults);
    buf_free(&r.files);
    buf_free(&r.texts);
    return rc;
}

/* A server must not change it meanwhile. A snapshot has no LOCK: nobody serves from it. */
static enum errc lock_dir(const char *dir, int *fd, struct err *err)
{
    char path[PATH_MAX];
    enum errc rc;

    *fd = -1;
    if (snprintf(path, sizeof path, "%s/LOCK", dir) >= (int)sizeof path)
        return err_set(err, ERR_BAD_CONFIG, 0, "path too long: %s", dir);
    if (access(path, F_OK) != 0)
        return OK;
    rc = fs_lock(path, fd, err);
    if (rc == ERR_CONFLICT)
        return err_set(err, rc, 0,
                       "%s is in use by a running server: stop it, or use a snapshot (tidemark "
                       "backup --url)",
                       dir);
    return rc;
}

static enum errc verify_command(char **args, bool json, const char *url, struct err *err)
{
    int fd;
    enum errc rc = lock_dir(args[0], &fd, err);

    (void)url;
    if (rc == OK)
        rc = verify(args[0], json, false, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* ---- copying directories ---- */

struct copy {
    const char *from, *to;
    struct err *err;
    enum errc rc;
    const char *folder; /* being listed */
};

static enum errc fail(struct err *err, const char *what, const char *path)
{
    return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, 0, "%s %s: %s", what, path,
                   strerror(errno));
}

static enum errc copy_bytes(int in, int out, const char *from, const char *to, struct err *err)
{
    uint8_t *piece = malloc(COPY_BYTES);
    uint64_t at = 0;
    enum errc rc = piece ? OK : err_set(err, ERR_NOMEM, 0, "out of memory");
    ssize_t n = 1;

    while (rc == OK && (n = read(in, piece, COPY_BYTES)) > 0) {
        rc = fs_pwrite(out, piece, (size_t)n, at, to, err);
        at += (uint64_t)n;
    }
    if (rc == OK && n < 0)
        rc = fail(err, "read", from);
    if (rc == OK && fsync(out) != 0)
        rc = fail(err, "sync", to);
    free(piece);
    return rc;
}

static enum errc copy_file(const struct copy *c, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    int in, out;
    enum errc rc;

    if (snprintf(from, sizeof from, "%s/%s", c->from, name) >= (int)sizeof from
        || snprintf(to, sizeof to, "%s/%s", c->to, name) >= (int)sizeof to)
        return err_set(c->err, ERR_BAD_CONFIG, 0, "path too long: %s", name);
    in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return fail(c->err, "open", from);
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    rc = out < 0 ? fail(c->err, "create", to) : copy_bytes(in, out, from, to, c->err);
    close(in);
    if (out >= 0)
        close(out);
    return rc;
}

static bool copy_listed(void *ctx, const char *name)
{
    struct copy *c = ctx;
    char path[PATH_MAX];
    struct str s = str_from(name);

    if (!str_ends_with(s, STR(".mdb")) && !str_ends_with(s, STR(".log")))
        return true;
    snprintf(path, sizeof path, "%s/%s", c->folder, name);
    c->rc = copy_file(c, path);
    return c->rc == OK;
}

static enum errc copy_folder(struct copy *c, const char *folder)
{
    char from[PATH_MAX], to[PATH_MAX];
    enum errc rc;

    if (snprintf(from, sizeof from, "%s/%s", c->from, folder) >= (int)sizeof from
        || snprintf(to, sizeof to, "%s/%s", c->to, folder) >= (int)sizeof to)
        return err_set(c->err, ERR_BAD_CONFIG, 0, "path too long: %s", folder);
    if (access(from, F_OK) != 0)
        return OK;
    c->folder = folder;
    rc = fs_make_dirs(to, c->err);
    if (rc == OK)
        rc = fs_each(from, copy_listed, c, c->err);
    if (rc == OK)
        rc = c->rc;
    return rc == OK ? fs_sync_dir(to, c->err) : rc;
}

/* VERSION comes last: without it a copy that was not finished is no data directory. */
static enum errc copy_dir(const char *from, const char *to, struct err *err)
{
    static const char *const names[] = { "state.mdb", "MANIFEST", "VERSION" };
    struct copy c = { .from = from, .to = to, .err = err };
    enum errc rc = fs_make_dirs(to, err);

    if (rc == OK)
        rc = copy_folder(&c, "days");
    if (rc == OK)
        rc = copy_folder(&c, "log");
    for (size_t i = 0; rc == OK && i < ARRAY_LEN(names); i++)
        rc = copy_file(&c, names[i]);
    return rc == OK ? fs_sync_dir(to, err) : rc;
}

static bool count_entry(void *ctx, const char *name)
{
    (void)name;
    ++*(size_t *)ctx;
    return false;
}

static enum errc check_empty(const char *dir, struct err *err)
{
    size_t n = 0;
    enum errc rc = fs_each(dir, count_entry, &n, err);

    if (rc == ERR_NOT_FOUND)
        return OK;
    if (rc == OK && n > 0)
        return err_set(err, ERR_CONFLICT, 0, "%s is not empty: nothing is overwritten", dir);
    return rc;
}

static enum errc copy_verified(const char *from, const char *to, struct err *err)
{
    enum errc rc = check_empty(to, err);

    if (rc == OK)
        rc = copy_dir(from, to, err);
    return rc == OK ? verify(to, false, true, err) : rc;
}

/* ---- backup ---- */

/* The text of a member of a JSON object that is known to have no escapes in it. */
static bool find_member(const struct buf *json, const char *name, char out[PATH_MAX])
{
    char key[64];
    const char *at, *end;
    struct str text = buf_as_str(json);

    snprintf(key, sizeof key, "\"%s\":\"", name);
    at = text.len ? memmem(text.ptr, text.len, key, strlen(key)) : NULL;
    if (!at)
        return false;
    at += strlen(key);
    end = memchr(at, '"', text.len - (size_t)(at - text.ptr));
    if (!end || end - at >= PATH_MAX)
        return false;
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = '\0';
    return strchr(out, '\\') == NULL;
}

static enum errc ask(struct http_client *c, const char *url, const char *path, struct buf *answer,
                     struct err *err)
{
    char full[PATH_MAX];
    int64_t retry_after_s;
    int status = 0;
    size_t n = strlen(url);
    enum errc rc;

    while (n > 0 && url[n - 1] == '/')
        n--;
    snprintf(full, sizeof full, "%.*s%s", (int)n, url, path);
    buf_clear(answer);
    rc = http_client_post(c, full, "application/x-www-form-urlencoded", (struct bytes){ 0 },
                          &status, &retry_after_s, answer, err);
    if (rc == OK && status != 200)
        rc = err_set(err, ERR_UNAVAILABLE, 0, "%s answered %d: %.*s%s", full, status,
                     STR_ARG(buf_as_str(answer)),
                     status == 500 ? "\nis --web.enable-admin-api set?" : "");
    return rc;
}

/* Where the server keeps its data, as it sees it. */
static enum errc find_data_dir(struct http_client *c, const char *url, char out[PATH_MAX],
                               struct err *err)
{
    struct buf answer = { 0 };
    char dir[PATH_MAX], cwd[PATH_MAX] = "";
    enum errc rc = ask(c, url, "/api/v1/status/flags", &answer, err);

    if (rc == OK && !find_member(&answer, "storage.tsdb.path", dir))
        rc = err_set(err, ERR_BAD_DATA, 0, "%s does not tell its --storage.tsdb.path", url);
    if (rc == OK && dir[0] != '/')
        rc = ask(c, url, "/api/v1/status/runtimeinfo", &answer, err);
    if (rc == OK && dir[0] != '/' && !find_member(&answer, "CWD", cwd))
        rc = err_set(err, ERR_BAD_DATA, 0, "%s does not tell its working directory", url);
    if (rc == OK
        && snprintf(out, PATH_MAX, "%s%s%s", cwd, dir[0] == '/' ? "" : "/", dir) >= PATH_MAX)
        rc = err_set(err, ERR_BAD_DATA, 0, "path too long: %s", dir);
    buf_free(&answer);
    return rc;
}

static bool remove_entry(void *ctx, const char *name)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name) < (int)sizeof path)
        (void)!unlink(path);
    return true;
}

static void remove_snapshot(const char *dir)
{
    char days[PATH_MAX + 8];

    snprintf(days, sizeof days, "%s/days", dir);
    (void)!fs_each(days, remove_entry, days, NULL);
    (void)!rmdir(days);
    (void)!fs_each(dir, remove_entry, (void *)(uintptr_t)dir, NULL);
    if (rmdir(dir) != 0)
        fprintf(stderr, "tidemark: %s could not be removed: %s\n", dir, strerror(errno));
}

static enum errc snapshot_of(struct http_client *c, const char *url, char path[PATH_MAX],
                             struct err *err)
{
    struct buf answer = { 0 };
    char dir[PATH_MAX], name[PATH_MAX];
    enum errc rc = find_data_dir(c, url, dir, err);

    if (rc == OK)
        rc = ask(c, url, "/api/v1/admin/tsdb/snapshot", &answer, err);
    if (rc == OK && (!find_member(&answer, "name", name) || strchr(name, '/')))
        rc = err_set(err, ERR_BAD_DATA, 0, "%s gave no name of a snapshot", url);
    if (rc == OK && snprintf(path, PATH_MAX, "%s/snapshots/%s", dir, name) >= PATH_MAX)
        rc = err_set(err, ERR_BAD_DATA, 0, "path too long: %s", dir);
    buf_free(&answer);
    if (rc == OK && access(path, R_OK | X_OK) != 0)
        rc =
            err_set(err, ERR_NOT_FOUND, 0,
                    "the server made the snapshot %s, which cannot be read here: run backup on its "
                    "machine, as its user",
                    path);
    return rc;
}

static enum errc backup_url(const char *url, const char *out, struct err *err)
{
    struct http_client_options o = http_client_options_default();
    struct http_client *c;
    char path[PATH_MAX];
    enum errc rc = check_empty(out, err);

    if (rc != OK)
        return rc;
    o.timeout_ms = SNAPSHOT_TIMEOUT_MS;
    c = http_client_new(&o);
    if (!c)
        return err_set(err, ERR_NOMEM, 0, "out of memory");
    rc = snapshot_of(c, url, path, err);
    http_client_free(c);
    if (rc != OK)
        return rc;
    rc = copy_verified(path, out, err);
    remove_snapshot(path);
    return rc;
}

static enum errc backup_command(char **args, bool json, const char *url, struct err *err)
{
    const char *out = url ? args[0] : args[1];
    int fd = -1;
    enum errc rc;

    (void)json;
    if (url) {
        rc = backup_url(url, out, err);
    } else {
        rc = lock_dir(args[0], &fd, err);
        if (rc == OK)
            rc = copy_verified(args[0], out, err);
        if (fd >= 0)
            close(fd);
    }
    if (rc == OK)
        printf("%s: complete and verified\n", out);
    return rc;
}

/* ---- restore ---- */

static enum errc restore_command(char **args, bool json, const char *url, struct err *err)
{
    int fd;
    enum errc rc = check_empty(args[1], err);

    (void)json;
    (void)url;
    if (rc == OK)
        rc = lock_dir(args[0], &fd, err);
    if (rc != OK)
        return rc;
    rc = verify(args[0], false, true, err);
    if (rc == OK)
        rc = copy_verified(args[0], args[1], err);
    if (fd >= 0)
        close(fd);
    if (rc == OK)
        printf("%s: restored and verified; serve it with --storage.tsdb.path=%s\n", args[1],
               args[1]);
    return rc;
}

/* ---- the command line ---- */

static const struct tool {
    const char *name;
    enum errc (*run)(char **args, bool json, const char *url, struct err *err);
    int n_args; /* one less with --url */
    bool has_json, has_url;
    const char *usage;
} tools[] = {
    { "verify", verify_command, 1, true, false, "verify [--json] DIR" },
    { "backup", backup_command, 2, false, true, "backup DIR OUT | backup --url=URL OUT" },
    { "restore", restore_command, 2, false, false, "restore SNAPSHOT DIR" },
};

static const struct tool *find_tool(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        if (strcmp(tools[i].name, name) == 0)
            return &tools[i];
    return NULL;
}

bool data_tools_has(const char *command)
{
    return find_tool(command) != NULL;
}

static int usage(const struct tool *t)
{
    fprintf(stderr, "usage: tidemark %s\n", t->usage);
    return TOOLS_USAGE;
}

int data_tools_main(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' },
                                             { "url", required_argument, NULL, 'u' },
                                             { "help", no_argument, NULL, 'h' },
                                             { 0 } };
    const struct tool *t = find_tool(argv[0]);
    struct arena *arena = arena_new(0);
    struct err err = err_in(arena);
    const char *url = NULL;
    bool json = false;
    int option, status = TOOLS_GOOD;

    optind = 0; /* begins anew, in glibc */
    while (status == TOOLS_GOOD && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        json |= option == 'j';
        url = option == 'u' ? optarg : url;
        if (option == 'h' || option == '?')
            status = usage(t);
    }
    if (status == TOOLS_GOOD
        && ((json && !t->has_json) || (url && !t->has_url)
            || argc - optind != t->n_args - (url ? 1 : 0)))
        status = usage(t);
    if (status == TOOLS_GOOD && t->run(argv + optind, json, url, &err) != OK) {
        fprintf(stderr, "tidemark: %s\n", err_text(&err));
        status = TOOLS_FAILED;
    }
    arena_free(arena);
    return status;
}
