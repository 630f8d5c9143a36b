/* fault_preload.c -- makes a chosen system call of a program fail; loaded with LD_PRELOAD.
 *
 * Counts the calls that create, change, rename, remove or sync files below FAULT_DIR, and fails call number fail_at with
 * the error that the test asks for: once, or from then on. The test steers it while the program
 * runs, through the file FAULT_CONTROL, which both have mapped:
 *
 *   offset size field
 *        0    8 armed    calls are counted and failed only when this is not 0
 *        8    8 calls    counted so far
 *       16    8 fail_at  the number of the call to fail, from 1; 0 for none
 *       24    8 error    errno of the failure; 0: a write does half of its work, other calls pass
 *       32    8 sticky   not 0: every later call fails too
 *       40    8 failed   failures so far
 *       48   16 name     of the call that failed first
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    _Atomic uint64_t armed, calls, fail_at, error, sticky, failed;
    char name[16];
};

enum verdict { PASS, FAIL, HALF };

static struct control *control;
static const char *dir;

static void *next(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);

    if (!p)
        abort();
    return p;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR) : -1;

    dir = getenv("FAULT_DIR");
    if (fd < 0 || !dir)
        return;
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        control = NULL;
}

/* Whether this call is the one. */
static enum verdict judge(const char *name)
{
    uint64_t call = atomic_fetch_add(&control->calls, 1) + 1;
    uint64_t at = atomic_load(&control->fail_at);

    if (at == 0 || call < at || (call > at && !atomic_load(&control->sticky)))
        return PASS;
    if (atomic_fetch_add(&control->failed, 1) == 0)
        strncpy(control->name, name, sizeof control->name - 1);
    errno = (int)atomic_load(&control->error);
    return errno ? FAIL : HALF;
}

static int below(const char *path)
{
    return strncmp(path, dir, strlen(dir)) == 0;
}

static enum verdict on_path(const char *name, const char *path)
{
    return control && atomic_load(&control->armed) && below(path) ? judge(name) : PASS;
}

static enum verdict on_fd(const char *name, int fd)
{
    char link[32], path[4096];
    ssize_t n;

    if (!control || !atomic_load(&control->armed))
        return PASS;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return PASS;
    path[n] = '\0';
    return below(path) ? judge(name) : PASS;
}

#define REAL(name) ((__typeof__(&name))next(#name))

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    if (flags & O_CREAT) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    if (flags & O_CREAT && faccessat(AT_FDCWD, path, F_OK, 0) != 0 && on_path("open", path) == FAIL)
        return -1;
    return REAL(open)(path, flags, mode);
}

ssize_t write(int fd, const void *p, size_t n)
{
    switch (on_fd("write", fd)) {
    case FAIL:
        return -1;
    case HALF:
        n = n > 1 ? n / 2 : n;
        break;
    case PASS:
        break;
    }
    return REAL(write)(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    switch (on_fd("pwrite", fd)) {
    case FAIL:
        return -1;
    case HALF:
        n = n > 1 ? n / 2 : n;
        break;
    case PASS:
        break;
    }
    return REAL(pwrite)(fd, p, n, offset);
}

/* A half of a vector: its first element alone. */
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    switch (on_fd("pwritev", fd)) {
    case FAIL:
        return -1;
    case HALF:
        return n > 1 ? REAL(pwritev)(fd, iov, 1, offset)
                     : REAL(pwrite)(fd, iov->iov_base, (iov->iov_len + 1) / 2, offset);
    case PASS:
        break;
    }
    return REAL(pwritev)(fd, iov, n, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    if (on_fd("writev", fd) == FAIL)
        return -1;
    return REAL(writev)(fd, iov, n);
}

int fdatasync(int fd)
{
    return on_fd("fdatasync", fd) == FAIL ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    return on_fd("fsync", fd) == FAIL ? -1 : REAL(fsync)(fd);
}

int ftruncate(int fd, off_t size)
{
    return on_fd("ftruncate", fd) == FAIL ? -1 : REAL(ftruncate)(fd, size);
}

/* Blocks that are there already can be had on a full disk too. */
int fallocate(int fd, int mode, off_t offset, off_t size)
{
    struct stat file;

    if (fstat(fd, &file) == 0 && file.st_blocks * 512 >= offset + size)
        return REAL(fallocate)(fd, mode, offset, size);
    return on_fd("fallocate", fd) == FAIL ? -1 : REAL(fallocate)(fd, mode, offset, size);
}

int rename(const char *from, const char *to)
{
    return on_path("rename", from) == FAIL ? -1 : REAL(rename)(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return on_fd("renameat", from_fd) == FAIL ? -1 : REAL(renameat)(from_fd, from, to_fd, to);
}

int unlink(const char *path)
{
    return on_path("unlink", path) == FAIL ? -1 : REAL(unlink)(path);
}

int unlinkat(int fd, const char *path, int flags)
{
    return on_fd("unlinkat", fd) == FAIL ? -1 : REAL(unlinkat)(fd, path, flags);
}

int openat(int fd, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    if (flags & O_CREAT) {
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    if (flags & O_CREAT && faccessat(fd, path, F_OK, 0) != 0 && on_fd("openat", fd) == FAIL)
        return -1;
    return REAL(openat)(fd, path, flags, mode);
}
