/* Preloaded into telexd: while there is a file `slow`, opening the configuration (with -DSLOW_FILE) or looking up a
 * group (with -DSLOW_GROUP) makes a file `waits`, and waits for a file `go_on`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void take_long(void) {
    int file;
    if (access("slow", F_OK) != 0)
        return;
    file = creat("waits", 0600);
    if (file >= 0)
        close(file);
    while (access("go_on", F_OK) != 0)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

#ifdef SLOW_FILE
int open64(const char *path, int flags, ...) {
    va_list rest;
    int mode;
    va_start(rest, flags);
    mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    if (strstr(path, "telexd.toml"))
        take_long();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
#endif

#ifdef SLOW_GROUP
int getgrnam_r(const char *name, struct group *found, char *buffer, size_t size, struct group **result) {
    typedef int look_up(const char *, struct group *, char *, size_t, struct group **);
    look_up *next;
    *(void **)&next = dlsym(RTLD_NEXT, "getgrnam_r");
    take_long();
    return next(name, found, buffer, size, result);
}
#endif
