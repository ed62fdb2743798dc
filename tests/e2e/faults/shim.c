// Lets a call of the C library fail, as a broken or full disk would: loaded into a command by LD_PRELOAD.
//
// FAULT_UNDER  only files below this folder count
// FAULT_CALL   open, write, fsync, rename or unlink: which call fails
// FAULT_AT     the number of that call, from 1; it and no other fails, with EIO
// FAULT_STOP   if it is set, the process stops there instead, as SIGSTOP does, and goes on with the call afterwards
// FAULT_ROOM   instead of these: so many bytes can be written in all, and then the disk is full
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls, written;

static int under(const char *path) {
    const char *folder = getenv("FAULT_UNDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int under_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return under(path);
}

static int fails(const char *name) {
    const char *call = getenv("FAULT_CALL"), *at = getenv("FAULT_AT");
    if (!call || !at || strcmp(call, name) != 0) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(at)) return 0;
    if (getenv("FAULT_STOP")) {
        kill(getpid(), SIGSTOP);
        return 0;
    }
    // Who asked has to know that it happened.
    int mark = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(getenv("FAULT_MARK"), O_WRONLY | O_CREAT, 0600);
    if (mark >= 0) close(mark);
    errno = EIO;
    return 1;
}

#define OPEN(name)                                                                    \
    int name(const char *path, int flags, ...) {                                      \
        va_list rest;                                                                 \
        va_start(rest, flags);                                                        \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;     \
        va_end(rest);                                                                 \
        if (under(path) && fails("open")) return -1;                                  \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

/* Whether a write of so many bytes may begin; fewer, if there is room for no more. */
static int begins(int fd, size_t *count) {
    if (!under_fd(fd)) return 1;
    if (fails("write")) return 0;
    const char *room = getenv("FAULT_ROOM");
    if (room) {
        long left = atol(room) - atomic_fetch_add(&written, (long)*count);
        if (left <= 0) {
            errno = ENOSPC;
            return 0;
        }
        if ((size_t)left < *count) *count = (size_t)left;
    }
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return begins(fd, &count) ? real(fd, bytes, count) : -1;
}

#define AT(name, offset)                                                            \
    ssize_t name(int fd, const void *bytes, size_t count, offset at) {              \
        ssize_t (*real)(int, const void *, size_t, offset) = dlsym(RTLD_NEXT, #name); \
        return begins(fd, &count) ? real(fd, bytes, count, at) : -1;                \
    }
AT(pwrite, off_t)
AT(pwrite64, off64_t)

#define FLUSH(name)                                                   \
    int name(int fd) {                                                \
        if (under_fd(fd) && fails("fsync")) return -1;                \
        return ((int (*)(int))dlsym(RTLD_NEXT, #name))(fd);           \
    }
FLUSH(fsync)
FLUSH(fdatasync)

int unlink(const char *path) {
    if (under(path) && fails("unlink")) return -1;
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}

int unlinkat(int fd, const char *path, int flags) {
    if ((path[0] == '/' ? under(path) : under_fd(fd)) && fails("unlink")) return -1;
    return ((int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat"))(fd, path, flags);
}

int rename(const char *from, const char *to) {
    if (under(to) && fails("rename")) return -1;
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
