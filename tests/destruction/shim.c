/* Stands between a program and its disk: writes down what is done to the files below one folder,
 * makes the n-th of these calls fail or kill the program, and moves its clock.
 *
 * DISK_ROOT     the folder that is watched; everything else passes unseen
 * DISK_JOURNAL  the file that every call is written down in, in the order of what it did
 * DISK_CALL     the number of the call that fails, from 1
 * DISK_FAULT    ENOSPC, EIO or KILL
 * DISK_LASTING  if set, all calls behind that one fail too
 * DISK_HALF     if set, a write that is to fail writes its first half before
 * DISK_WHILE    if set, calls count and fail only while this file exists
 * DISK_FIRED    the file that is made when the fault happens
 * DISK_UNTIL    a named pipe: the call that fails waits until somebody opens it for writing, and
 *               others pass meanwhile
 * DISK_DENIED   the file or folder that may neither be read nor written, as by its permissions
 * CLOCK_FILE    the file with the seconds that the time of day is moved by; read at every look
 *
 * One lock is held over each call and its line in the journal, so the journal has the order in
 * which things happened. The calls that have no wrapper here pass by the C library as well:
 * fallocate, whose length the next fsync tells, and statvfs. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { OPENED = 1, WRITTEN, CUT, SYNCED, FOLDER_SYNCED, RENAMED, REMOVED, FOLDER_MADE, SAID,
            LINKED };
enum ability { ORDINARY, CAN_BE_HALVED };
enum outcome { PASSES, FAILS, HALVED };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls;
static int journal = -1;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int is_below_root(const char *path) {
    const char *root = getenv("DISK_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static const char *path_of(int fd, char *buffer) {
    char link[64];
    char *end = link + sizeof link;
    *--end = 0;
    do { *--end = (char)('0' + fd % 10); fd /= 10; } while (fd);
    end -= 14;
    memcpy(end, "/proc/self/fd/", 14);
    ssize_t length = readlink(end, buffer, PATH_MAX - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

static int is_watched(int fd) {
    char path[PATH_MAX];
    return fd > 2 && getenv("DISK_ROOT") && is_below_root(path_of(fd, path));
}

static void note(enum kind kind, uint64_t a, uint64_t b, const char *first, size_t first_length,
                 const char *second) {
    const char *path = getenv("DISK_JOURNAL");
    if (!path) return;
    if (journal < 0) {
        journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
        if (journal < 0) abort();
    }
    size_t second_length = second ? strlen(second) : 0;
    uint64_t who = (uint64_t)kind << 32 | (uint64_t)getpid();
    uint64_t head[] = { who, a, b, first_length, second_length };
    struct iovec parts[] = { { head, sizeof head },
                             { (void *)first, first_length },
                             { (void *)second, second_length } };
    ssize_t size = (ssize_t)(sizeof head + first_length + second_length);
    if (syscall(SYS_writev, journal, parts, 3) != size) abort();
}

static uint64_t inode(int fd, uint64_t *size, int *is_folder) {
    struct stat found;
    if (fstat(fd, &found)) return 0;
    if (size) *size = (uint64_t)found.st_size;
    if (is_folder) *is_folder = S_ISDIR(found.st_mode);
    return found.st_ino;
}

/* Counts one call; says what becomes of it. */
static enum outcome meet(enum ability ability) {
    const char *number = getenv("DISK_CALL"), *fault = getenv("DISK_FAULT");
    const char *meanwhile = getenv("DISK_WHILE");
    if (!number || !fault || (meanwhile && access(meanwhile, F_OK))) return PASSES;
    long wanted = atol(number), call = ++calls;
    int halves = getenv("DISK_HALF") != NULL;
    if (call < wanted || (call > wanted + halves && !getenv("DISK_LASTING"))) return PASSES;
    int is_next = call > wanted && !getenv("DISK_LASTING");
    if (call == wanted && halves && ability == CAN_BE_HALVED) return HALVED;
    /* What is to be halved fails at its second half; what cannot be, at once. */
    static int has_failed;
    if (is_next && has_failed) return PASSES;
    has_failed = 1;
    const char *fired = getenv("DISK_FIRED");
    if (fired) {
        int file = (int)syscall(SYS_openat, AT_FDCWD, fired, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (file >= 0) syscall(SYS_close, file);
    }
    const char *until = getenv("DISK_UNTIL");
    if (until) {
        pthread_mutex_unlock(&lock);
        int pipe = (int)syscall(SYS_openat, AT_FDCWD, until, O_RDONLY | O_CLOEXEC, 0);
        if (pipe >= 0) syscall(SYS_close, pipe);
        pthread_mutex_lock(&lock);
    }
    if (!strcmp(fault, "KILL")) { kill(getpid(), SIGKILL); for (;;) pause(); }
    errno = strcmp(fault, "EIO") ? ENOSPC : EIO;
    return FAILS;
}

static int is_denied(const char *path) {
    const char *denied = getenv("DISK_DENIED");
    if (!denied || strncmp(path, denied, strlen(denied))) return 0;
    char next = path[strlen(denied)];
    if (next && next != '/') return 0;
    errno = EACCES;
    return 1;
}

static int open_watched(int folder, const char *path, int flags, mode_t mode) {
    if (is_denied(path)) return -1;
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
    if (folder != AT_FDCWD || !writes || !is_below_root(path))
        return REAL(openat64)(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    int file = -1;
    if (meet(ORDINARY) == PASSES) {
        struct stat before;
        int is_new = stat(path, &before) != 0;
        file = REAL(openat64)(folder, path, flags, mode);
        int saved = errno;
        if (file >= 0 && (is_new || (flags & O_TRUNC)))
            note(OPENED, inode(file, NULL, NULL), (uint64_t)is_new, path, strlen(path), NULL);
        errno = saved;
    }
    pthread_mutex_unlock(&lock);
    return file;
}

#define OPEN(name, folder, declaration)                                                            \
    int name declaration {                                                                         \
        mode_t mode = 0;                                                                           \
        if (flags & O_CREAT) {                                                                     \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            mode = va_arg(rest, mode_t);                                                           \
            va_end(rest);                                                                          \
        }                                                                                          \
        return open_watched(folder, path, flags, mode);                                            \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...))
OPEN(openat, folder, (int folder, const char *path, int flags, ...))
OPEN(openat64, folder, (int folder, const char *path, int flags, ...))

static ssize_t write_watched(int fd, const void *bytes, size_t count, off64_t at, int is_at) {
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    enum outcome outcome = meet(CAN_BE_HALVED);
    if (outcome == HALVED && count > 1) count /= 2;
    if (outcome != FAILS) {
        uint64_t size = 0, file = inode(fd, &size, NULL);
        uint64_t offset = is_at ? (uint64_t)at
            : fcntl(fd, F_GETFL) & O_APPEND ? size : (uint64_t)lseek64(fd, 0, SEEK_CUR);
        done = is_at ? REAL(pwrite64)(fd, bytes, count, at) : REAL(write)(fd, bytes, count);
        int saved = errno;
        if (done > 0) note(WRITTEN, file, offset, bytes, (size_t)done, NULL);
        errno = saved;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (is_watched(fd)) return write_watched(fd, bytes, count, 0, 0);
    if (fd == 1) {
        /* Before anybody can read it, so whatever it rests on stands before it. */
        pthread_mutex_lock(&lock);
        note(SAID, 0, 0, bytes, count, NULL);
        pthread_mutex_unlock(&lock);
    }
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (fd != 1 && !is_watched(fd)) return REAL(writev)(fd, parts, count);
    for (int part = 0; part < count; part++)
        if (parts[part].iov_len) return write(fd, parts[part].iov_base, parts[part].iov_len);
    return 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (!is_watched(fd)) return REAL(pwrite64)(fd, bytes, count, at);
    return write_watched(fd, bytes, count, at, 1);
}

int ftruncate64(int fd, off64_t length) {
    if (!is_watched(fd)) return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&lock);
    int result = meet(ORDINARY) == PASSES ? REAL(ftruncate64)(fd, length) : -1;
    if (result == 0) note(CUT, inode(fd, NULL, NULL), (uint64_t)length, NULL, 0, NULL);
    pthread_mutex_unlock(&lock);
    return result;
}

static int sync_watched(int fd) {
    pthread_mutex_lock(&lock);
    int result = meet(ORDINARY) == PASSES ? 0 : -1;
    if (result == 0) {
        char path[PATH_MAX];
        int is_folder = 0;
        uint64_t size = 0, file = inode(fd, &size, &is_folder);
        path_of(fd, path);
        if (is_folder) note(FOLDER_SYNCED, file, 0, path, strlen(path), NULL);
        else note(SYNCED, file, size, NULL, 0, NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* Nobody cuts the power for real, so a sync only has to be written down. */
int fsync(int fd) { return is_watched(fd) ? sync_watched(fd) : REAL(fsync)(fd); }
int fdatasync(int fd) { return is_watched(fd) ? sync_watched(fd) : REAL(fdatasync)(fd); }

/* Promises nothing about a power cut, so it leaves no trace. */
int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
    if (!is_watched(fd)) return REAL(sync_file_range)(fd, offset, count, flags);
    pthread_mutex_lock(&lock);
    int result = meet(ORDINARY) == PASSES ? 0 : -1;
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    if (!is_below_root(from)) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int result = meet(ORDINARY) == PASSES ? REAL(rename)(from, to) : -1;
    int saved = errno;
    if (result == 0) note(RENAMED, 0, 0, from, strlen(from), to);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    if (!is_below_root(to)) return REAL(linkat)(from_folder, from, to_folder, to, flags);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (meet(ORDINARY) == PASSES) result = REAL(linkat)(from_folder, from, to_folder, to, flags);
    int saved = errno;
    if (result == 0) note(LINKED, 0, 0, from, strlen(from), to);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (!is_below_root(path)) return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    int result = meet(ORDINARY) == PASSES ? REAL(mkdir)(path, mode) : -1;
    int saved = errno;
    if (result == 0) note(FOLDER_MADE, 0, 0, path, strlen(path), NULL);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

static int remove_watched(int folder, const char *name, int flags, const char *path) {
    pthread_mutex_lock(&lock);
    int result = meet(ORDINARY) == PASSES ? REAL(unlinkat)(folder, name, flags) : -1;
    int saved = errno;
    if (result == 0) note(REMOVED, 0, 0, path, strlen(path), NULL);
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

int unlinkat(int folder, const char *name, int flags) {
    char path[2 * PATH_MAX];
    if (folder == AT_FDCWD || name[0] == '/') {
        if (!is_below_root(name)) return REAL(unlinkat)(folder, name, flags);
        return remove_watched(folder, name, flags, name);
    }
    path_of(folder, path);
    if (!is_below_root(path)) return REAL(unlinkat)(folder, name, flags);
    size_t length = strlen(path);
    path[length] = '/';
    strncpy(path + length + 1, name, PATH_MAX - 1);
    return remove_watched(folder, name, flags, path);
}

DIR *opendir(const char *path) { return is_denied(path) ? NULL : REAL(opendir)(path); }

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

/* Whoever copies reads and writes where these are not there. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t count,
                        unsigned f) {
    if (!is_watched(out)) return REAL(copy_file_range)(in, in_at, out, out_at, count, f);
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t count) {
    ssize_t (*system)(int, int, off64_t *, size_t) = real("sendfile64");
    if (!is_watched(out)) return system(out, in, at, count);
    errno = EINVAL;
    return -1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    const char *path = getenv("CLOCK_FILE");
    if (result || !path || clock != CLOCK_REALTIME) return result;
    char text[32] = "";
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return result;
    syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    now->tv_sec += atol(text);
    return result;
}
