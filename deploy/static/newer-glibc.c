// Functions that the linked libraries need and glibc 2.28 lacks. In: calls of newer functions. Out: the same through functions of 2.28.
// Linked into both programs by build.sh; names and meanings are those of glibc's manual.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

// 2.32. "Not single-threaded" is always safe: libstdc++ then counts references atomically.
char __libc_single_threaded = 0;

// 2.33. Before, these were inline functions of the headers over the versioned calls.
enum { statVersion = 1 };
extern int __xstat(int, const char *, struct stat *);
extern int __lxstat(int, const char *, struct stat *);
extern int __fxstat(int, int, struct stat *);
int stat(const char *restrict path, struct stat *restrict out) { return __xstat(statVersion, path, out); }
int lstat(const char *restrict path, struct stat *restrict out) { return __lxstat(statVersion, path, out); }
int fstat(int file, struct stat *out) { return __fxstat(statVersion, file, out); }
int fstat64(int file, struct stat64 *out) { return __fxstat(statVersion, file, (struct stat *)out); }

// 2.29. Foundation changes the folder itself if this returns ENOSYS.
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *restrict actions, const char *restrict path) {
    int (*real)(posix_spawn_file_actions_t *, const char *) = dlsym(RTLD_NEXT, "posix_spawn_file_actions_addchdir_np");
    return real ? real(actions, path) : ENOSYS;
}

// 2.36. The kernel's random numbers; nothing can be done without them.
void arc4random_buf(void *out, size_t count) {
    for (size_t done = 0; done < count;) {
        ssize_t got = getrandom((char *)out + done, count - done, 0);
        if (got < 0 && errno != EINTR) abort();
        if (got > 0) done += (size_t)got;
    }
}
uint32_t arc4random(void) {
    uint32_t word;
    arc4random_buf(&word, sizeof word);
    return word;
}

// 2.30. The time that is left, added to the time of day: correct as long as the clock is not set in the meantime.
int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until) {
    int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *) = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    if (real) return real(condition, mutex, clock, until);
    struct timespec now, day;
    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &day);
    long long nanoseconds = (until->tv_sec - now.tv_sec + day.tv_sec) * 1000000000LL + until->tv_nsec - now.tv_nsec + day.tv_nsec;
    struct timespec then = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return pthread_cond_timedwait(condition, mutex, &then);
}

// 2.35. libgcc looks up the object that holds a return address, to unwind C++ exceptions.
struct objectSearch {
    uintptr_t address;
    struct dl_find_object *out;
};
static int holdsAddress(struct dl_phdr_info *object, size_t size, void *argument) {
    (void)size;
    struct objectSearch *search = argument;
    uintptr_t start = UINTPTR_MAX, end = 0;
    void *frames = NULL;
    int within = 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t from = object->dlpi_addr + part->p_vaddr, to = from + part->p_memsz;
        if (part->p_type == PT_GNU_EH_FRAME) frames = (void *)from;
        if (part->p_type != PT_LOAD) continue;
        if (from < start) start = from;
        if (to > end) end = to;
        within |= search->address >= from && search->address < to;
    }
    if (!within || !frames) return 0;
    *search->out = (struct dl_find_object){.dlfo_map_start = (void *)start, .dlfo_map_end = (void *)end, .dlfo_eh_frame = frames};
    return 1;
}
int _dl_find_object(void *address, struct dl_find_object *out) {
    struct objectSearch search = {(uintptr_t)address, out};
    return dl_iterate_phdr(holdsAddress, &search) ? 0 : -1;
}

// 2.34. Since then a program's start code passes no initializer, and glibc runs the constructors; an older one would run none. --wrap leads
// the start here. Given an initializer, every glibc calls only that.
typedef void initializer(int, char **, char **);
extern initializer *__preinit_array_start[], *__preinit_array_end[], *__init_array_start[], *__init_array_end[];
extern void _init(void);
extern int __real___libc_start_main(int (*)(int, char **, char **), int, char **, initializer *, void (*)(void), void (*)(void), void *);
static void runConstructors(int count, char **arguments, char **environment) {
    for (initializer **next = __preinit_array_start; next < __preinit_array_end; next++) (*next)(count, arguments, environment);
    _init();
    for (initializer **next = __init_array_start; next < __init_array_end; next++) (*next)(count, arguments, environment);
}
int __wrap___libc_start_main(int (*entry)(int, char **, char **), int count, char **arguments, initializer *none, void (*noEnd)(void),
                             void (*endOfLoader)(void), void *stackEnd) {
    (void)none;
    return __real___libc_start_main(entry, count, arguments, runConstructors, noEnd, endOfLoader, stackEnd);
}
