/* Makes one call of a program fail, for tests: preloaded, it counts the calls that change what is below a folder and
 * fails the one with a number.
 *
 * FAIL_BELOW   the folder, absolute
 * FAIL_AT      the number of the call, from 1
 * FAIL_WITH    the error that it fails with, as a number; 0 kills the process instead
 * FAIL_REPORT  a file outside of the folder that gets the name of the call that failed
 *
 * Instead of all these, FAIL_LOCKS is the error with which every lock of a file fails, as on a file system that has none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long calls;

static int is_below(const char *path) {
    const char *folder = getenv("FAIL_BELOW");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

/* Whether this call is the one. */
static int fails(const char *call, const char *path) {
    const char *number = getenv("FAIL_AT"), *with = getenv("FAIL_WITH"), *report = getenv("FAIL_REPORT");
    if (!number || !with || !report || !is_below(path) || atomic_fetch_add(&calls, 1) + 1 != atol(number))
        return 0;
    int file = REAL(open)(report, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dprintf(file, "%s %s", call, path);
    close(file);
    errno = atoi(with);
    if (!errno)
        raise(SIGKILL);
    return 1;
}

static int kills(void) {
    const char *with = getenv("FAIL_WITH");
    return with && !atoi(with);
}

static int fails_on(const char *call, int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(call, path);
}

/* Looking at a file changes nothing. */
static int fails_to_open(const char *path, int flags) {
    return (flags & O_ACCMODE) != O_RDONLY && fails("open", path);
}

#define OPEN(name)                                   \
    int name(const char *path, int flags, ...) {     \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode_t mode = va_arg(rest, mode_t);          \
        va_end(rest);                                \
        if (fails_to_open(path, flags))              \
            return -1;                               \
        return REAL(name)(path, flags, mode);        \
    }
OPEN(open)
OPEN(open64)

#define ON_FILE(type, name, parameters, arguments) \
    type name parameters {                         \
        if (fails_on(#name, file))                 \
            return -1;                             \
        return REAL(name) arguments;               \
    }
ON_FILE(ssize_t, write, (int file, const void *from, size_t size), (file, from, size))
ON_FILE(ssize_t, writev, (int file, const struct iovec *from, int count), (file, from, count))
ON_FILE(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at))
ON_FILE(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
ON_FILE(int, fsync, (int file), (file))
ON_FILE(int, fdatasync, (int file), (file))
ON_FILE(int, ftruncate, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, (int file, off64_t size), (file, size))

int rename(const char *from, const char *to) {
    if (fails("rename", to))
        return -1;
    return REAL(rename)(from, to);
}

/* These only count for kills: a file that cannot be removed is a leftover, which the next run removes. */
int unlink(const char *path) {
    if (kills() && fails("unlink", path))
        return -1;
    return REAL(unlink)(path);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    if (kills() && fails("linkat", to))
        return -1;
    return REAL(linkat)(from_folder, from, to_folder, to, flags);
}

int flock(int file, int operation) {
    const char *with = getenv("FAIL_LOCKS");
    if (!with)
        return REAL(flock)(file, operation);
    errno = atoi(with);
    return -1;
}
