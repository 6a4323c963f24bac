/* A disk that forgets, for crash tests: loaded with LD_PRELOAD, it keeps beside every file under LOSSY_ROOT what of it was
 * fsynced. After the process was killed the test puts that in the place of the file: whatever was written and not fsynced is
 * gone, as after a power failure. Names of files are taken to be durable at once.
 *
 *   LOSSY_ROOT    the directory whose files are watched
 *   LOSSY_SHADOW  where the durable contents go, by inode number
 *   LOSSY_FULL    while this file exists, writes under LOSSY_ROOT fail with ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOTS 65536

/* The part of a file that was written since it was last fsynced. */
struct dirty {
    ino_t inode;
    off_t low, high;
    int used;
};

static struct dirty table[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(result, name, ...)                                     \
    static result (*real_##name)(__VA_ARGS__);                      \
    if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static struct dirty *find(ino_t inode) {
    size_t at = inode % SLOTS;
    while (table[at].used && table[at].inode != inode) at = (at + 1) % SLOTS;
    if (!table[at].used) table[at] = (struct dirty){.inode = inode, .used = 1};
    return &table[at];
}

/* Whether a descriptor is of a regular file that is watched. */
static int watched(int fd, struct stat *st) {
    const char *root = getenv("LOSSY_ROOT");
    char link[64], path[PATH_MAX];
    if (!root) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, root, strlen(root)) && !fstat(fd, st) && S_ISREG(st->st_mode);
}

static int full(int fd) {
    const char *flag = getenv("LOSSY_FULL");
    struct stat st;
    return flag && !access(flag, F_OK) && watched(fd, &st);
}

static void wrote(int fd, off_t at, ssize_t count) {
    struct stat st;
    if (count <= 0 || !watched(fd, &st)) return;
    pthread_mutex_lock(&lock);
    struct dirty *dirty = find(st.st_ino);
    if (dirty->high == dirty->low) dirty->low = at, dirty->high = at + count;
    if (at < dirty->low) dirty->low = at;
    if (at + count > dirty->high) dirty->high = at + count;
    pthread_mutex_unlock(&lock);
}

static void shadow_path(char *path, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/%lu", getenv("LOSSY_SHADOW"), (unsigned long)inode);
}

/* Copies what was written since the last time to the durable contents. */
static int synced(int fd) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    REAL(int, ftruncate64, int, off_t);
    struct stat st;
    char path[PATH_MAX], link[64];
    static __thread char buffer[1 << 16];
    if (!watched(fd, &st)) return 0;
    pthread_mutex_lock(&lock);
    struct dirty *dirty = find(st.st_ino);
    shadow_path(path, st.st_ino);
    int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = open(link, O_RDONLY | O_CLOEXEC);
    int failed = to < 0 || from < 0;
    for (off_t at = dirty->low; !failed && at < dirty->high;) {
        size_t left = dirty->high - at < (off_t)sizeof buffer ? (size_t)(dirty->high - at) : sizeof buffer;
        ssize_t got = pread(from, buffer, left, at);
        if (got <= 0) break;
        failed = real_pwrite64(to, buffer, got, at) != got;
        at += got;
    }
    if (!failed) failed = real_ftruncate64(to, st.st_size);
    dirty->low = dirty->high = 0;
    if (to >= 0) close(to);
    if (from >= 0) close(from);
    pthread_mutex_unlock(&lock);
    if (failed) {
        fprintf(stderr, "lossy: cannot keep %s: %s\n", path, strerror(errno));
        abort();
    }
    return 0;
}

/* A new file may have the inode of one that is gone. */
static int opened(int fd, int flags) {
    struct stat st;
    char path[PATH_MAX];
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)) && watched(fd, &st) && st.st_size == 0) {
        pthread_mutex_lock(&lock);
        struct dirty *dirty = find(st.st_ino);
        dirty->low = dirty->high = 0;
        shadow_path(path, st.st_ino);
        unlink(path);
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

int open64(const char *path, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return opened(real_open64(path, flags, mode), flags);
}

int openat64(int directory, const char *path, int flags, ...) {
    REAL(int, openat64, int, const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return opened(real_openat64(directory, path, flags, mode), flags);
}

ssize_t write(int fd, const void *data, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (full(fd)) return errno = ENOSPC, -1;
    ssize_t written = real_write(fd, data, count);
    wrote(fd, lseek(fd, 0, SEEK_CUR) - written, written);
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (full(fd)) return errno = ENOSPC, -1;
    ssize_t written = real_writev(fd, parts, count);
    wrote(fd, lseek(fd, 0, SEEK_CUR) - written, written);
    return written;
}

ssize_t pwrite64(int fd, const void *data, size_t count, off_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    if (full(fd)) return errno = ENOSPC, -1;
    ssize_t written = real_pwrite64(fd, data, count, at);
    wrote(fd, at, written);
    return written;
}

int ftruncate64(int fd, off_t size) {
    REAL(int, ftruncate64, int, off_t);
    struct stat st;
    if (watched(fd, &st) && size > st.st_size) {
        if (full(fd)) return errno = ENOSPC, -1;
        wrote(fd, st.st_size, size - st.st_size);
    }
    return real_ftruncate64(fd, size);
}

/* Nothing need reach the real disk: the process dies, not the machine. */
int fsync(int fd) {
    return synced(fd);
}

int fdatasync(int fd) {
    return synced(fd);
}
