/* A process that dies at a chosen step: loaded with LD_PRELOAD, it counts the calls that make, name, remove or fsync a file
 * while the file STEPS exists, and ends the process before the call whose number the file holds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long count;

#define REAL(result, name, ...)                                     \
    static result (*real_##name)(__VA_ARGS__);                      \
    if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static void step(void) {
    const char *path = getenv("STEPS");
    char text[32];
    int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (file < 0) return;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    if (++count == atol(text)) _exit(137);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    step();
    return real_fsync(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    step();
    return real_fdatasync(fd);
}

int open64(const char *path, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (flags & O_CREAT) step();
    return real_open64(path, flags, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    step();
    return real_rename(from, to);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    step();
    return real_linkat(from_directory, from, to_directory, to, flags);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    step();
    return real_unlink(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    step();
    return real_mkdir(path, mode);
}
