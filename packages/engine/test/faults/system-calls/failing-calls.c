/*
 * Makes system calls on files below a folder fail with a chosen errno, in a process that has this preloaded.
 *
 * CAIRN_FAULT_CONTROL names a file of eight 32-bit integers that the process (or another one) writes to while it runs:
 *   0 armed   1 errno   2 calls to let pass first   3 how many to fail then   4 groups of calls (GROUP_*)
 *   5 calls seen since armed   6 calls failed since armed   7 the group of the last one that failed
 * CAIRN_FAULT_DIR is the folder. Built by failing-calls.ts: gcc -shared -fPIC -O1 -o failing-calls.so failing-calls.c -ldl
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#undef fread_unlocked
#undef fwrite_unlocked

enum {
  GROUP_OPEN = 1,        /* open for reading, opendir, scandir */
  GROUP_OPEN_WRITE = 2,  /* open for writing or making */
  GROUP_NAMES = 4,       /* rename, link, unlink, mkdir */
  GROUP_LOOK = 8,        /* access, stat */
  GROUP_READ = 16,
  GROUP_WRITE = 32,
  GROUP_SYNC = 64,
  GROUP_MAP = 128,
};

static volatile int *control;
static const char *folder;
static size_t folder_length;
static long (*real_syscall)(long, ...);

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
  real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  const char *path = getenv("CAIRN_FAULT_CONTROL");
  folder = getenv("CAIRN_FAULT_DIR");
  if (!path || !folder) return;
  folder_length = strlen(folder);
  int fd = real_syscall(SYS_openat, AT_FDCWD, path, O_RDWR);
  if (fd < 0) return;
  void *at = (void *)real_syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) control = at;
  real_syscall(SYS_close, fd);
}

static int decide(int group) {
  if (!(control[4] & group)) return 0;
  int seen = __sync_fetch_and_add((int *)&control[5], 1);
  if (seen < control[2] || (control[3] >= 0 && seen >= control[2] + control[3])) return 0;
  __sync_fetch_and_add((int *)&control[6], 1);
  control[7] = group;
  errno = control[1];
  return 1;
}

static int fails(const char *path, int group) {
  if (!control || !control[0] || !path || strncmp(path, folder, folder_length) != 0) return 0;
  return decide(group);
}

static int fails_fd(int fd, int group) {
  if (!control || !control[0] || fd < 0) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = real_syscall(SYS_readlink, link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return strncmp(path, folder, folder_length) == 0 ? decide(group) : 0;
}

static int opening(int flags) {
  return flags & (O_CREAT | O_WRONLY | O_RDWR) ? GROUP_OPEN_WRITE : GROUP_OPEN;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, int); va_end(more); \
    REAL(name); \
    return fails(path, opening(flags)) ? -1 : real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    return fails(path, mode[0] == 'r' && !mode[1] ? GROUP_OPEN : GROUP_OPEN_WRITE) ? NULL : real(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

DIR *opendir(const char *path) { REAL(opendir); return fails(path, GROUP_OPEN) ? NULL : real(path); }

int scandir64(const char *path, struct dirent64 ***list, int (*select)(const struct dirent64 *),
              int (*compare)(const struct dirent64 **, const struct dirent64 **)) {
  REAL(scandir64);
  return fails(path, GROUP_OPEN) ? -1 : real(path, list, select, compare);
}

int access(const char *path, int mode) { REAL(access); return fails(path, GROUP_LOOK) ? -1 : real(path, mode); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return fails(path, GROUP_NAMES) ? -1 : real(path, mode); }
int unlink(const char *path) { REAL(unlink); return fails(path, GROUP_NAMES) ? -1 : real(path); }
int rename(const char *from, const char *to) { REAL(rename); return fails(to, GROUP_NAMES) ? -1 : real(from, to); }
int link(const char *from, const char *to) { REAL(link); return fails(to, GROUP_NAMES) ? -1 : real(from, to); }

ssize_t read(int fd, void *to, size_t size) { REAL(read); return fails_fd(fd, GROUP_READ) ? -1 : real(fd, to, size); }
ssize_t readv(int fd, const struct iovec *to, int count) { REAL(readv); return fails_fd(fd, GROUP_READ) ? -1 : real(fd, to, count); }
ssize_t pread64(int fd, void *to, size_t size, off64_t at) { REAL(pread64); return fails_fd(fd, GROUP_READ) ? -1 : real(fd, to, size, at); }
ssize_t preadv64(int fd, const struct iovec *to, int count, off64_t at) { REAL(preadv64); return fails_fd(fd, GROUP_READ) ? -1 : real(fd, to, count, at); }
size_t fread_unlocked(void *to, size_t size, size_t count, FILE *file) { REAL(fread_unlocked); return fails_fd(fileno(file), GROUP_READ) ? 0 : real(to, size, count, file); }

ssize_t write(int fd, const void *from, size_t size) { REAL(write); return fails_fd(fd, GROUP_WRITE) ? -1 : real(fd, from, size); }
ssize_t writev(int fd, const struct iovec *from, int count) { REAL(writev); return fails_fd(fd, GROUP_WRITE) ? -1 : real(fd, from, count); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) { REAL(pwrite64); return fails_fd(fd, GROUP_WRITE) ? -1 : real(fd, from, size, at); }
ssize_t pwritev64(int fd, const struct iovec *from, int count, off64_t at) { REAL(pwritev64); return fails_fd(fd, GROUP_WRITE) ? -1 : real(fd, from, count, at); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); return fails_fd(fd, GROUP_WRITE) ? -1 : real(fd, size); }
size_t fwrite(const void *from, size_t size, size_t count, FILE *file) { REAL(fwrite); return fails_fd(fileno(file), GROUP_WRITE) ? 0 : real(from, size, count, file); }
size_t fwrite_unlocked(const void *from, size_t size, size_t count, FILE *file) { REAL(fwrite_unlocked); return fails_fd(fileno(file), GROUP_WRITE) ? 0 : real(from, size, count, file); }
int fflush_unlocked(FILE *file) { REAL(fflush_unlocked); return file && fails_fd(fileno(file), GROUP_WRITE) ? EOF : real(file); }

int fsync(int fd) { REAL(fsync); return fails_fd(fd, GROUP_SYNC) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_fd(fd, GROUP_SYNC) ? -1 : real(fd); }

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
  REAL(mmap64);
  return fails_fd(fd, GROUP_MAP) ? MAP_FAILED : real(at, size, protection, flags, fd, offset);
}

/* libuv calls these by their numbers. */
long syscall(long number, ...) {
  va_list more;
  va_start(more, number);
  long a = va_arg(more, long), b = va_arg(more, long), c = va_arg(more, long);
  long d = va_arg(more, long), e = va_arg(more, long), f = va_arg(more, long);
  va_end(more);
  if (number == SYS_statx && *(const char *)b && fails((const char *)b, GROUP_LOOK)) return -1;
  if (number == SYS_copy_file_range && fails_fd((int)c, GROUP_WRITE)) return -1;
  return real_syscall(number, a, b, c, d, e, f);
}
