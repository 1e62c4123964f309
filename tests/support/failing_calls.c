/* Makes system calls fail that touch one folder: preloaded into a process, which arms it through ctypes.
 *
 * fault_watch(folder); fault_arm(n, errno, calls); ... fault_disarm(). The nth call of the kinds in `calls` that
 * touches the folder, or anything below it, fails with errno. With HALF, a write takes half of its bytes first and the
 * next one fails; with ON, every call from the nth on fails. fault_fired() counts failures, fault_told() names the
 * first. Which file a descriptor is open for, the system is asked each time: so a renamed folder stays watched. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/file.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    OPEN = 1, WRITE = 2, SYNC = 4, TRUNCATE = 8, RENAME = 16, UNLINK = 32, MKDIR = 64, LOCK = 128, MAP = 256, READ = 512,
    HALF = 1 << 16, ON = 1 << 17
};

static char watched[PATH_MAX], told[2 * PATH_MAX];
static int armed, left, error, calls, fired, half;

void fault_watch(const char *folder) { snprintf(watched, sizeof watched, "%s", folder); }
void fault_arm(int n, int number, int kinds) { left = n, error = number, calls = kinds, fired = half = 0, armed = 1; told[0] = 0; }
void fault_disarm(void) { armed = 0; }
int fault_fired(void) { return fired; }
const char *fault_told(void) { return told; }

/* The absolute path of what is open as a descriptor, or of a path relative to it. */
static int resolve(int fd, const char *path, char *into) {
    char link[64];
    ssize_t length = 0;
    if (path && path[0] == '/') return snprintf(into, PATH_MAX, "%s", path);
    if (path && fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = syscall(SYS_readlink, link, into, PATH_MAX - 1);
    if (length < 0) return -1;
    into[length] = 0;
    if (path) snprintf(into + length, PATH_MAX - length, "/%s", path);
    return 0;
}

static int counts(int kind, const char *name, int fd, const char *path) {
    char full[PATH_MAX];
    int before = errno;
    size_t length = strlen(watched);
    if (!armed || !(calls & kind) || resolve(fd, path, full) < 0) { errno = before; return 0; }
    errno = before;
    if (strncmp(full, watched, length) || (full[length] && full[length] != '/')) return 0;
    if (left > 1) { left--; return 0; }
    if (left < 1 && !(calls & ON) && !half) return 0;
    left = 0;
    if (!fired) snprintf(told, sizeof told, "%s %.*s", name, PATH_MAX, full + length);
    return 1;
}

static int fails(int kind, const char *name, int fd, const char *path) {
    if (!counts(kind, name, fd, path)) return 0;
    fired++;
    errno = error;
    return 1;
}

/* Whether a write fails; where half of it is to be taken first, it becomes shorter instead. */
static int write_fails(const char *name, int fd, size_t *size) {
    if (!counts(WRITE, name, fd, NULL)) return 0;
    if ((calls & HALF) && !half && *size > 1) { half = 1, *size /= 2; return 0; }
    half = 0, fired++, errno = error;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, int); va_end(rest); \
        REAL(name); return fails(OPEN, #name, AT_FDCWD, path) ? -1 : real(path, flags, mode); }
#define OPENS_AT(name) \
    int name(int fd, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, int); va_end(rest); \
        REAL(name); return fails(OPEN, #name, fd, path) ? -1 : real(fd, path, flags, mode); }
#define PWRITES(name, offset_t) \
    ssize_t name(int fd, const void *from, size_t size, offset_t at) { \
        REAL(name); return write_fails(#name, fd, &size) ? -1 : real(fd, from, size, at); }
#define PREADS(name, offset_t) \
    ssize_t name(int fd, void *into, size_t size, offset_t at) { \
        REAL(name); return fails(READ, #name, fd, NULL) ? -1 : real(fd, into, size, at); }
#define TRUNCATES(name, offset_t) \
    int name(int fd, offset_t size) { REAL(name); return fails(TRUNCATE, #name, fd, NULL) ? -1 : real(fd, size); }
#define MAPS(name, offset_t) \
    void *name(void *where, size_t size, int protection, int flags, int fd, offset_t at) { \
        REAL(name); \
        return fd >= 0 && fails(MAP, #name, fd, NULL) ? MAP_FAILED : real(where, size, protection, flags, fd, at); }
#define LOCKS(name) \
    int name(int fd, int command, ...) { \
        va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest); \
        REAL(name); \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW; \
        if (locks && ((struct flock *)argument)->l_type != F_UNLCK && fails(LOCK, #name, fd, NULL)) return -1; \
        return real(fd, command, argument); }

OPENS(open) OPENS(open64) OPENS_AT(openat) OPENS_AT(openat64)
PWRITES(pwrite, off_t) PWRITES(pwrite64, off64_t) PREADS(pread, off_t) PREADS(pread64, off64_t)
TRUNCATES(ftruncate, off_t) TRUNCATES(ftruncate64, off64_t)
MAPS(mmap, off_t) MAPS(mmap64, off64_t)
LOCKS(fcntl) LOCKS(fcntl64)

ssize_t write(int fd, const void *from, size_t size) {
    REAL(write); return write_fails("write", fd, &size) ? -1 : real(fd, from, size); }
ssize_t read(int fd, void *into, size_t size) {
    REAL(read); return fails(READ, "read", fd, NULL) ? -1 : real(fd, into, size); }
int fsync(int fd) { REAL(fsync); return fails(SYNC, "fsync", fd, NULL) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(SYNC, "fdatasync", fd, NULL) ? -1 : real(fd); }
int flock(int fd, int how) {
    REAL(flock); return !(how & LOCK_UN) && fails(LOCK, "flock", fd, NULL) ? -1 : real(fd, how); }
DIR *opendir(const char *path) {
    REAL(opendir); return fails(OPEN, "opendir", AT_FDCWD, path) ? NULL : real(path); }
int rename(const char *from, const char *to) {
    REAL(rename); return fails(RENAME, "rename", AT_FDCWD, to) ? -1 : real(from, to); }
int renameat(int fd, const char *from, int into, const char *to) {
    REAL(renameat); return fails(RENAME, "renameat", into, to) ? -1 : real(fd, from, into, to); }
int unlink(const char *path) { REAL(unlink); return fails(UNLINK, "unlink", AT_FDCWD, path) ? -1 : real(path); }
int unlinkat(int fd, const char *path, int flags) {
    REAL(unlinkat); return fails(UNLINK, "unlinkat", fd, path) ? -1 : real(fd, path, flags); }
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir); return fails(MKDIR, "mkdir", AT_FDCWD, path) ? -1 : real(path, mode); }
int mkdirat(int fd, const char *path, mode_t mode) {
    REAL(mkdirat); return fails(MKDIR, "mkdirat", fd, path) ? -1 : real(fd, path, mode); }
