/*
 * What a process does to files below log.dirs, late or not at all. Which descriptors are of such files is noted when they are opened
 * and forgotten when they are closed, so that nothing is looked up while nothing is ordered.
 *
 * Not seen: what goes through memory that is mapped (Kafka's index files, once they are open), and what the C library does inside
 * itself (fopen and its kin), which no broker uses for its logs.
 */
#define _GNU_SOURCE
#include "page.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ULL
/* How often somebody who waits looks whether he still has to. */
#define SLICE_NS 20000000ULL
/* As many as the kernel gives by default (fs.nr_open). Those beyond are left alone. */
#define FDS_MAX (1 << 20)

/* Per descriptor, whether it is of a file or directory below log.dirs. Memory that is never touched costs none. */
static _Atomic unsigned char below[FDS_MAX];

static bool is_below(int fd)
{
    return fd >= 0 && fd < FDS_MAX && atomic_load_explicit(&below[fd], memory_order_relaxed) != 0;
}

static int noted(int fd, bool is)
{
    if (fd >= 0 && fd < FDS_MAX)
        atomic_store_explicit(&below[fd], is, memory_order_relaxed);
    return fd;
}

static bool is_path_below(int dir, const char *path)
{
    if (path[0] != '/' && dir != AT_FDCWD)
        return is_below(dir);
    return is_below_log_dirs(path);
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

struct order {
    uint32_t generation;
    int32_t error;
    uint64_t latency_ns;
};

static bool is_in_force(const struct order *order)
{
    return atomic_load_explicit(&shim_page->generation, memory_order_acquire) == order->generation;
}

/* What is ordered for an operation, if anything is. */
static bool ordered_for(unsigned operation, struct order *order)
{
    uint32_t operations;

    order->generation = atomic_load_explicit(&shim_page->generation, memory_order_acquire);
    if (order->generation == 0)
        return false;
    operations = atomic_load_explicit(&shim_page->operations, memory_order_relaxed);
    order->error = atomic_load_explicit(&shim_page->error, memory_order_relaxed);
    order->latency_ns = atomic_load_explicit(&shim_page->latency_ns, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return (operations & operation) != 0 && is_in_force(order);
}

/* Waits for as long as is ordered, signals or not. False: the order was taken back meanwhile. */
static bool waited(const struct order *order)
{
    uint64_t until_ns = monotonic_ns() + order->latency_ns;

    for (;;) {
        uint64_t now_ns = monotonic_ns(), slice_ns;
        struct timespec slice;

        if (!is_in_force(order))
            return false;
        if (now_ns >= until_ns)
            return true;
        slice_ns = until_ns - now_ns < SLICE_NS ? until_ns - now_ns : SLICE_NS;
        slice.tv_sec = 0;
        slice.tv_nsec = (long)slice_ns;
        /* Interrupted or not: the clock says whether it is over. */
        nanosleep(&slice, NULL);
    }
}

static void count(_Atomic uint64_t *what)
{
    uint64_t never = 0;

    atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
    atomic_compare_exchange_strong(&shim_page->first_acted_ns, &never, monotonic_ns());
}

/* Does to an operation what is ordered. True: it fails, errno says how. */
static bool struck(unsigned operation)
{
    int before = errno;
    struct order order;

    if (!ordered_for(operation, &order))
        return false;
    if (order.latency_ns > 0 && waited(&order))
        count(&shim_page->delayed);
    errno = before;
    if (order.error == 0 || !is_in_force(&order))
        return false;
    count(&shim_page->failed);
    errno = order.error;
    return true;
}

/* As struck, for an operation on a descriptor. */
static bool fd_struck(int fd, unsigned operation)
{
    int before = errno;
    struct stat status;
    bool is_file;

    if (!is_ordered() || !is_below(fd))
        return false;
    /* A close that we have not seen (inside the C library) may have left us a socket under this number. */
    is_file = fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
    errno = before;
    return is_file && struck(operation);
}

static bool path_struck(int dir, const char *path, unsigned operation)
{
    return is_ordered() && is_path_below(dir, path) && struck(operation);
}

/* Opening is an operation of its own if it changes something, or is about to. */
static bool open_struck(int dir, const char *path, int flags)
{
    int before = errno;
    bool is_there;

    if (!is_ordered() || !is_path_below(dir, path))
        return false;
    is_there = faccessat(dir, path, F_OK, 0) == 0;
    errno = before;
    if (!is_there)
        return (flags & O_CREAT) != 0 && struck(OPERATION_CREATE);
    return ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) && struck(OPERATION_OPEN);
}

/* A file that gets another length. */
static unsigned resize(int64_t from, int64_t to)
{
    return to > from ? OPERATION_WRITE : OPERATION_CHANGE;
}

/* Opening and closing. */

#define MODE_OF(flags, mode)                                                                               \
    mode_t mode = 0;                                                                                       \
    if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) {                                  \
        va_list more;                                                                                      \
        va_start(more, flags);                                                                             \
        mode = va_arg(more, mode_t);                                                                       \
        va_end(more);                                                                                      \
    }

#define OPEN(name)                                                                                         \
    REAL(int, name, (const char *, int, ...))                                                              \
    int name(const char *path, int flags, ...)                                                             \
    {                                                                                                      \
        MODE_OF(flags, mode)                                                                               \
        if (open_struck(AT_FDCWD, path, flags))                                                            \
            return -1;                                                                                     \
        return noted(CALL(name)(path, flags, mode), is_path_below(AT_FDCWD, path));                        \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                       \
    REAL(int, name, (int, const char *, int, ...))                                                         \
    int name(int dir, const char *path, int flags, ...)                                                    \
    {                                                                                                      \
        MODE_OF(flags, mode)                                                                               \
        bool is;                                                                                           \
        if (open_struck(dir, path, flags))                                                                 \
            return -1;                                                                                     \
        is = is_path_below(dir, path);                                                                     \
        return noted(CALL(name)(dir, path, flags, mode), is);                                              \
    }
OPENAT(openat)
OPENAT(openat64)

/* What a program calls that was built with _FORTIFY_SOURCE and opens without a mode. */
#define OPEN_2(name)                                                                                       \
    int name(const char *path, int flags);                                                                 \
    REAL(int, name, (const char *, int))                                                                   \
    int name(const char *path, int flags)                                                                  \
    {                                                                                                      \
        if (open_struck(AT_FDCWD, path, flags))                                                            \
            return -1;                                                                                     \
        return noted(CALL(name)(path, flags), is_path_below(AT_FDCWD, path));                              \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define CREAT(name)                                                                                        \
    REAL(int, name, (const char *, mode_t))                                                                \
    int name(const char *path, mode_t mode)                                                                \
    {                                                                                                      \
        if (open_struck(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC))                                     \
            return -1;                                                                                     \
        return noted(CALL(name)(path, mode), is_path_below(AT_FDCWD, path));                               \
    }
CREAT(creat)
CREAT(creat64)

REAL(int, close, (int))
int close(int fd)
{
    /* Before: afterwards another thread may have got the same number. */
    noted(fd, false);
    return CALL(close)(fd);
}

REAL(int, dup, (int))
int dup(int fd)
{
    return noted(CALL(dup)(fd), is_below(fd));
}

REAL(int, dup2, (int, int))
int dup2(int from, int to)
{
    return noted(CALL(dup2)(from, to), is_below(from));
}

REAL(int, dup3, (int, int, int))
int dup3(int from, int to, int flags)
{
    return noted(CALL(dup3)(from, to, flags), is_below(from));
}

/* Bytes. HOOK(type, name, what is done, parameters, arguments). */

#define HOOK(type, name, operation, parameters, arguments)                                                 \
    REAL(type, name, parameters)                                                                           \
    type name parameters                                                                                   \
    {                                                                                                      \
        return fd_struck(fd, operation) ? -1 : CALL(name) arguments;                                       \
    }

HOOK(ssize_t, read, OPERATION_READ, (int fd, void *to, size_t bytes), (fd, to, bytes))
HOOK(ssize_t, pread, OPERATION_READ, (int fd, void *to, size_t bytes, off_t at), (fd, to, bytes, at))
HOOK(ssize_t, pread64, OPERATION_READ, (int fd, void *to, size_t bytes, off64_t at), (fd, to, bytes, at))
HOOK(ssize_t, readv, OPERATION_READ, (int fd, const struct iovec *to, int n), (fd, to, n))
HOOK(ssize_t, preadv, OPERATION_READ, (int fd, const struct iovec *to, int n, off_t at), (fd, to, n, at))
HOOK(ssize_t, preadv64, OPERATION_READ, (int fd, const struct iovec *to, int n, off64_t at), (fd, to, n, at))

HOOK(ssize_t, write, OPERATION_WRITE, (int fd, const void *from, size_t bytes), (fd, from, bytes))
HOOK(ssize_t, pwrite, OPERATION_WRITE, (int fd, const void *from, size_t bytes, off_t at), (fd, from, bytes, at))
HOOK(ssize_t, pwrite64, OPERATION_WRITE, (int fd, const void *from, size_t bytes, off64_t at), (fd, from, bytes, at))
HOOK(ssize_t, writev, OPERATION_WRITE, (int fd, const struct iovec *from, int n), (fd, from, n))
HOOK(ssize_t, pwritev, OPERATION_WRITE, (int fd, const struct iovec *from, int n, off_t at), (fd, from, n, at))
HOOK(ssize_t, pwritev64, OPERATION_WRITE, (int fd, const struct iovec *from, int n, off64_t at), (fd, from, n, at))
HOOK(int, fallocate, OPERATION_WRITE, (int fd, int mode, off_t at, off_t bytes), (fd, mode, at, bytes))
HOOK(int, fallocate64, OPERATION_WRITE, (int fd, int mode, off64_t at, off64_t bytes), (fd, mode, at, bytes))

HOOK(int, fsync, OPERATION_SYNC, (int fd), (fd))
HOOK(int, fdatasync, OPERATION_SYNC, (int fd), (fd))
HOOK(int, sync_file_range, OPERATION_SYNC, (int fd, off64_t at, off64_t bytes, unsigned flags), (fd, at, bytes, flags))

/* These give the error instead of setting it. */
#define POSIX_FALLOCATE(name, offset)                                                                      \
    REAL(int, name, (int, offset, offset))                                                                 \
    int name(int fd, offset at, offset bytes)                                                              \
    {                                                                                                      \
        int before = errno, error;                                                                         \
        if (!fd_struck(fd, OPERATION_WRITE))                                                               \
            return CALL(name)(fd, at, bytes);                                                              \
        error = errno;                                                                                     \
        errno = before;                                                                                    \
        return error;                                                                                      \
    }
POSIX_FALLOCATE(posix_fallocate, off_t)
POSIX_FALLOCATE(posix_fallocate64, off64_t)

#define FTRUNCATE(name, offset)                                                                            \
    REAL(int, name, (int, offset))                                                                         \
    int name(int fd, offset length)                                                                        \
    {                                                                                                      \
        struct stat status;                                                                                \
        if (is_ordered() && is_below(fd) && fstat(fd, &status) == 0 &&                                     \
            fd_struck(fd, resize(status.st_size, length)))                                                 \
            return -1;                                                                                     \
        return CALL(name)(fd, length);                                                                     \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

/* What consumers and followers are sent goes from the file to the socket without passing through the broker. */
#define SENDFILE(name, offset)                                                                             \
    REAL(ssize_t, name, (int, int, offset *, size_t))                                                      \
    ssize_t name(int to, int from, offset *at, size_t bytes)                                               \
    {                                                                                                      \
        if (fd_struck(from, OPERATION_READ) || fd_struck(to, OPERATION_WRITE))                             \
            return -1;                                                                                     \
        return CALL(name)(to, from, at, bytes);                                                            \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

REAL(ssize_t, copy_file_range, (int, off64_t *, int, off64_t *, size_t, unsigned))
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes, unsigned flags)
{
    if (fd_struck(from, OPERATION_READ) || fd_struck(to, OPERATION_WRITE))
        return -1;
    return CALL(copy_file_range)(from, from_at, to, to_at, bytes, flags);
}

REAL(ssize_t, splice, (int, off64_t *, int, off64_t *, size_t, unsigned))
ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes, unsigned flags)
{
    if (fd_struck(from, OPERATION_READ) || fd_struck(to, OPERATION_WRITE))
        return -1;
    return CALL(splice)(from, from_at, to, to_at, bytes, flags);
}

/* Names. */

#define TRUNCATE(name, offset)                                                                             \
    REAL(int, name, (const char *, offset))                                                                \
    int name(const char *path, offset length)                                                              \
    {                                                                                                      \
        struct stat status;                                                                                \
        if (is_ordered() && stat(path, &status) == 0 &&                                                    \
            path_struck(AT_FDCWD, path, resize(status.st_size, length)))                                   \
            return -1;                                                                                     \
        return CALL(name)(path, length);                                                                   \
    }
TRUNCATE(truncate, off_t)
TRUNCATE(truncate64, off64_t)

#define NAME_HOOK(name, at, path, operation, parameters, arguments)                                        \
    REAL(int, name, parameters)                                                                            \
    int name parameters                                                                                    \
    {                                                                                                      \
        return path_struck(at, path, operation) ? -1 : CALL(name) arguments;                               \
    }

NAME_HOOK(rename, AT_FDCWD, to, OPERATION_CHANGE, (const char *from, const char *to), (from, to))
NAME_HOOK(renameat, at, to, OPERATION_CHANGE, (int from_at, const char *from, int at, const char *to), (from_at, from, at, to))
NAME_HOOK(renameat2, at, to, OPERATION_CHANGE, (int from_at, const char *from, int at, const char *to, unsigned flags), (from_at, from, at, to, flags))
NAME_HOOK(unlink, AT_FDCWD, path, OPERATION_CHANGE, (const char *path), (path))
NAME_HOOK(unlinkat, at, path, OPERATION_CHANGE, (int at, const char *path, int flags), (at, path, flags))
NAME_HOOK(remove, AT_FDCWD, path, OPERATION_CHANGE, (const char *path), (path))
NAME_HOOK(rmdir, AT_FDCWD, path, OPERATION_CHANGE, (const char *path), (path))
NAME_HOOK(mkdir, AT_FDCWD, path, OPERATION_CREATE, (const char *path, mode_t mode), (path, mode))
NAME_HOOK(mkdirat, at, path, OPERATION_CREATE, (int at, const char *path, mode_t mode), (at, path, mode))
NAME_HOOK(link, AT_FDCWD, to, OPERATION_CREATE, (const char *from, const char *to), (from, to))
NAME_HOOK(symlink, AT_FDCWD, to, OPERATION_CREATE, (const char *from, const char *to), (from, to))
NAME_HOOK(linkat, at, to, OPERATION_CREATE, (int from_at, const char *from, int at, const char *to, int flags), (from_at, from, at, to, flags))
NAME_HOOK(symlinkat, at, to, OPERATION_CREATE, (const char *from, int at, const char *to), (from, at, to))
