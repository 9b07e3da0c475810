/* Makes one call to the disk fail, or kills the process at it. Loaded with LD_PRELOAD.

   Calls that change what lies below a folder are counted: opening a file to make or empty it, writing,
   fsync, rename, link, unlink, truncate, mkdir, rmdir. Nothing happens until faults_arm() is called:

     root      the folder, absolute, without links
     at        number of the call that is disturbed, from 1; 0: none, they are only counted
     action    'f' fail once with error; 'F' fail from then on; 'b' kill before; 'a' kill after;
               't' write half of it, then kill
     error     errno of 'f' and 'F'
     log       an open file that a line is written to for each call: "number name path"

   faults_shift() moves this process's clock by so many seconds.
   faults_repeat() stops its clock at so many seconds since 1970, and makes its random numbers the same each
   time: what is disturbed at one call leaves the same files to the byte, whatever the error.

   Forked processes count on from where they were forked. Threads share the count. What is written through
   a mapping of memory is not seen. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char root[PATH_MAX];
static size_t root_length;
static long at;
static char action;
static int error_number, log_file = -1;
static atomic_long count;

__attribute__((visibility("default"))) void faults_arm(const char *folder, long number, char what, int error,
                                                       int log) {
    at = number, action = what, error_number = error, log_file = log;
    atomic_store(&count, 0);
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
}

static long clock_ahead;

__attribute__((visibility("default"))) void faults_shift(long seconds) {
    clock_ahead = seconds;
}

static long stopped;
static atomic_ullong drawn;

__attribute__((visibility("default"))) void faults_repeat(long seconds) {
    stopped = seconds;
}

static int below(const char *path) {
    return root_length && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* The path of an open file, or of a name in an open folder, if it lies below the root. */
static int path_of(int folder, const char *name, char *path) {
    size_t length = 0;
    if (!root_length) return 0;
    if (name == NULL || name[0] != '/') {
        char link[64];
        ssize_t found;
        if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        found = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
        if (found < 0) return 0;
        length = (size_t)found;
        path[length] = 0;
    }
    if (name != NULL) snprintf(path + length, PATH_MAX - length, "%s%s", length ? "/" : "", name);
    return below(path);
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

enum { PASS, FAIL, AFTER, TORN };

/* Count a call; say what becomes of it. */
static int next(const char *call, const char *path) {
    long number = atomic_fetch_add(&count, 1) + 1;
    if (log_file >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", number, call, path + root_length);
        syscall(SYS_write, log_file, line, length);
    }
    if (!at || number < at || (number > at && action != 'F')) return PASS;
    if (action == 'b') die();
    if (action == 'a') return AFTER;
    if (action == 't') return TORN;
    if (number > at && error_number == ENOSPC && !strcmp(call, "unlink")) return PASS; /* frees space */
    errno = error_number;
    return FAIL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REAL_CALL(name)                                                                                      \
    static __typeof__(&name) real;                                                                           \
    if (!real) real = REAL(name)
/* Do a call on a path that was found to be below the root. */
#define DISTURBED(call, path, done, type, torn)                                                              \
    do {                                                                                                     \
        int what = next(call, path);                                                                         \
        type result;                                                                                         \
        if (what == FAIL) return (type)-1;                                                                   \
        if (what == TORN) {                                                                                  \
            torn;                                                                                            \
            die();                                                                                           \
        }                                                                                                    \
        result = done;                                                                                       \
        if (what == AFTER) die();                                                                            \
        return result;                                                                                       \
    } while (0)

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result;
    REAL_CALL(clock_gettime);
    result = real(clock, now);
    if (!result && clock == CLOCK_REALTIME && stopped) now->tv_sec = stopped, now->tv_nsec = 0;
    if (!result && clock == CLOCK_REALTIME) now->tv_sec += clock_ahead;
    return result;
}

ssize_t getrandom(void *to, size_t size, unsigned flags) {
    REAL_CALL(getrandom);
    if (!stopped) return real(to, size, flags);
    for (size_t done = 0; done < size;) { /* SplitMix64 */
        unsigned long long word = atomic_fetch_add(&drawn, 0x9e3779b97f4a7c15) + 0x9e3779b97f4a7c15;
        size_t part = size - done < sizeof word ? size - done : sizeof word;
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
        word = (word ^ word >> 27) * 0x94d049bb133111eb;
        word ^= word >> 31;
        memcpy((char *)to + done, &word, part);
        done += part;
    }
    return (ssize_t)size;
}

static int makes(int folder, const char *name, int flags, char *path) {
    if (!root_length || (flags & O_ACCMODE) == O_RDONLY) return 0;
    if (!path_of(folder, name, path)) return 0;
    if (flags & O_TRUNC) return 1;
    return (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
}

#define OPEN(name)                                                                                           \
    int name(const char *file, int flags, ...) {                                                             \
        char path[PATH_MAX];                                                                                 \
        mode_t mode = 0;                                                                                     \
        va_list rest;                                                                                        \
        REAL_CALL(name);                                                                                     \
        va_start(rest, flags);                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(rest, mode_t);                                      \
        va_end(rest);                                                                                        \
        if (stopped && !strcmp(file, "/dev/urandom")) file = "/dev/zero"; /* SQLite reads it */              \
        if (!makes(AT_FDCWD, file, flags, path)) return real(file, flags, mode);                             \
        DISTURBED("open", path, real(file, flags, mode), int, );                                             \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                         \
    int name(int folder, const char *file, int flags, ...) {                                                 \
        char path[PATH_MAX];                                                                                 \
        mode_t mode = 0;                                                                                     \
        va_list rest;                                                                                        \
        REAL_CALL(name);                                                                                     \
        va_start(rest, flags);                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(rest, mode_t);                                      \
        va_end(rest);                                                                                        \
        if (!makes(folder, file, flags, path)) return real(folder, file, flags, mode);                       \
        DISTURBED("open", path, real(folder, file, flags, mode), int, );                                     \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *file, mode_t mode) {
    return open(file, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

#define FOPEN(name)                                                                                          \
    FILE *name(const char *file, const char *how) {                                                          \
        char path[PATH_MAX];                                                                                 \
        int what = PASS, flags = how[0] == 'w' ? O_WRONLY | O_CREAT | O_TRUNC : O_WRONLY | O_CREAT;          \
        FILE *result;                                                                                        \
        REAL_CALL(name);                                                                                     \
        if (how[0] != 'r' && makes(AT_FDCWD, file, flags, path)) what = next("open", path);                  \
        if (what == FAIL) return NULL;                                                                       \
        if (what == TORN) die();                                                                             \
        result = real(file, how);                                                                            \
        if (what == AFTER) die();                                                                            \
        return result;                                                                                       \
    }
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t items, FILE *stream) {
    char path[PATH_MAX];
    int what;
    size_t result;
    REAL_CALL(fwrite);
    if (!path_of(fileno(stream), NULL, path)) return real(data, size, items, stream);
    what = next("write", path);
    if (what == FAIL) return 0;
    result = real(data, size, what == TORN ? items / 2 : items, stream);
    if (what == AFTER || what == TORN) {
        fflush(stream);
        die();
    }
    return result;
}

ssize_t write(int file, const void *data, size_t size) {
    char path[PATH_MAX];
    REAL_CALL(write);
    if (!path_of(file, NULL, path)) return real(file, data, size);
    DISTURBED("write", path, real(file, data, size), ssize_t, real(file, data, size / 2));
}

ssize_t writev(int file, const struct iovec *parts, int number) {
    char path[PATH_MAX];
    REAL_CALL(writev);
    if (!path_of(file, NULL, path)) return real(file, parts, number);
    DISTURBED("write", path, real(file, parts, number), ssize_t, real(file, parts, number / 2));
}

#define PWRITE(name, offset_type)                                                                            \
    ssize_t name(int file, const void *data, size_t size, offset_type offset) {                              \
        char path[PATH_MAX];                                                                                 \
        REAL_CALL(name);                                                                                     \
        if (!path_of(file, NULL, path)) return real(file, data, size, offset);                               \
        DISTURBED("write", path, real(file, data, size, offset), ssize_t,                                    \
                  real(file, data, size / 2, offset));                                                       \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define COPY(name, offset_type)                                                                              \
    ssize_t name(int to, int from, offset_type *offset, size_t size) {                                       \
        char path[PATH_MAX];                                                                                 \
        REAL_CALL(name);                                                                                     \
        if (!path_of(to, NULL, path)) return real(to, from, offset, size);                                   \
        DISTURBED("write", path, real(to, from, offset, size), ssize_t, real(to, from, offset, size / 2));   \
    }
#include <sys/sendfile.h>
COPY(sendfile, off_t)
COPY(sendfile64, off64_t)

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *place, size_t size, unsigned flags) {
    char path[PATH_MAX];
    REAL_CALL(copy_file_range);
    if (!path_of(to, NULL, path)) return real(from, start, to, place, size, flags);
    DISTURBED("write", path, real(from, start, to, place, size, flags), ssize_t,
              real(from, start, to, place, size / 2, flags));
}

#define ON_FILE(name, call)                                                                                  \
    int name(int file) {                                                                                     \
        char path[PATH_MAX];                                                                                 \
        REAL_CALL(name);                                                                                     \
        if (!path_of(file, NULL, path)) return real(file);                                                   \
        DISTURBED(call, path, real(file), int, );                                                            \
    }
ON_FILE(fsync, "fsync")
ON_FILE(fdatasync, "fsync")

#define TRUNCATE(name, size_type)                                                                            \
    int name(int file, size_type size) {                                                                     \
        char path[PATH_MAX];                                                                                 \
        REAL_CALL(name);                                                                                     \
        if (!path_of(file, NULL, path)) return real(file, size);                                             \
        DISTURBED("truncate", path, real(file, size), int, );                                                \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define ALLOCATE(name, size_type)                                                                            \
    int name(int file, size_type start, size_type size) {                                                    \
        char path[PATH_MAX];                                                                                 \
        int what, result;                                                                                    \
        REAL_CALL(name);                                                                                     \
        if (!path_of(file, NULL, path)) return real(file, start, size);                                      \
        what = next("allocate", path);                                                                       \
        if (what == FAIL) return error_number; /* it returns the error */                                    \
        if (what == TORN) die();                                                                             \
        result = real(file, start, size);                                                                    \
        if (what == AFTER) die();                                                                            \
        return result;                                                                                       \
    }
ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

#define ON_PATH(name, call)                                                                                  \
    int name(const char *file) {                                                                             \
        char path[PATH_MAX];                                                                                 \
        REAL_CALL(name);                                                                                     \
        if (!path_of(AT_FDCWD, file, path)) return real(file);                                               \
        DISTURBED(call, path, real(file), int, );                                                            \
    }
ON_PATH(unlink, "unlink")
ON_PATH(rmdir, "unlink")
ON_PATH(remove, "unlink")

int unlinkat(int folder, const char *file, int flags) {
    char path[PATH_MAX];
    REAL_CALL(unlinkat);
    if (!path_of(folder, file, path)) return real(folder, file, flags);
    DISTURBED("unlink", path, real(folder, file, flags), int, );
}

int mkdir(const char *file, mode_t mode) {
    char path[PATH_MAX];
    REAL_CALL(mkdir);
    /* What is there already is not made. */
    if (!path_of(AT_FDCWD, file, path) || !syscall(SYS_faccessat, AT_FDCWD, path, F_OK)) return real(file, mode);
    DISTURBED("mkdir", path, real(file, mode), int, );
}

int mkdirat(int folder, const char *file, mode_t mode) {
    char path[PATH_MAX];
    REAL_CALL(mkdirat);
    if (!path_of(folder, file, path)) return real(folder, file, mode);
    DISTURBED("mkdir", path, real(folder, file, mode), int, );
}

#define TWO_PATHS(name, call)                                                                                \
    int name(const char *from, const char *to) {                                                             \
        char path[PATH_MAX];                                                                                 \
        REAL_CALL(name);                                                                                     \
        if (!path_of(AT_FDCWD, to, path)) return real(from, to);                                             \
        DISTURBED(call, path, real(from, to), int, );                                                        \
    }
TWO_PATHS(rename, "rename")
TWO_PATHS(link, "link")
TWO_PATHS(symlink, "link")

int renameat(int old, const char *from, int new, const char *to) {
    char path[PATH_MAX];
    REAL_CALL(renameat);
    if (!path_of(new, to, path)) return real(old, from, new, to);
    DISTURBED("rename", path, real(old, from, new, to), int, );
}

int renameat2(int old, const char *from, int new, const char *to, unsigned flags) {
    char path[PATH_MAX];
    REAL_CALL(renameat2);
    if (!path_of(new, to, path)) return real(old, from, new, to, flags);
    DISTURBED("rename", path, real(old, from, new, to, flags), int, );
}

int linkat(int old, const char *from, int new, const char *to, int flags) {
    char path[PATH_MAX];
    REAL_CALL(linkat);
    if (!path_of(new, to, path)) return real(old, from, new, to, flags);
    DISTURBED("link", path, real(old, from, new, to, flags), int, );
}
