/* Linux calls that Swift cannot import: variadic functions and system calls without a libc wrapper. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Asks the kernel for `signal` when the parent THREAD ends; compare getppid() afterwards: the parent may be gone already. */
static inline int t2v_set_parent_death_signal(int signal) { return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0); }

static inline int t2v_memfd_create(const char *name, unsigned int flags) { return (int)syscall(SYS_memfd_create, name, flags); }

/* The same file under a number of at least 10, closed on exec: the low ones are for a child's. */
static inline int t2v_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 10); }

static inline int t2v_close_on_exec(int descriptor) { return fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

/* A stamp beside data that another process reads: what is written after store_before, or before store_after, is seen so. */
static inline void t2v_store_before(uint64_t *stamp, uint64_t value) {
    __atomic_store_n(stamp, value, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void t2v_store_after(uint64_t *stamp, uint64_t value) { __atomic_store_n(stamp, value, __ATOMIC_SEQ_CST); }

/* The stamp after everything that was read from the data. */
static inline uint64_t t2v_load_after(const uint64_t *stamp) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(stamp, __ATOMIC_SEQ_CST);
}

/* A descriptor that becomes readable when process `pid` ends. */
static inline int t2v_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

/* What -march=x86-64-v3 lets the compiler use. */
static inline int t2v_cpu_is_x86_64_v3(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

/* The next connection of a listening socket, closed on exec and non-blocking from its first moment; or -1 with errno.
   (SOCK_CLOEXEC is O_CLOEXEC on Linux; including sys/socket.h here would take its names from Glibc.) */
static inline int t2v_accept(int listener) { return (int)syscall(SYS_accept4, listener, 0, 0, O_CLOEXEC | O_NONBLOCK); }

/* Signals that wake an eventfd. The handler is C since it may call nothing but async-signal-safe functions. Used by one Swift file
   (Transport/EventFD.swift), so that there is one copy of this state. */
struct t2v_signal_state {
    int descriptor, exit_status[65];
    unsigned counts[65], stops;
};

static inline struct t2v_signal_state *t2v_signals(void) {
    static struct t2v_signal_state state;
    return &state;
}

static inline void t2v_on_signal(int number) {
    struct t2v_signal_state *state = t2v_signals();
    int saved = errno;
    uint64_t one = 1;
    __atomic_fetch_add(&state->counts[number], 1, __ATOMIC_SEQ_CST);
    int status = state->exit_status[number];
    if (status >= 0 && __atomic_fetch_add(&state->stops, 1, __ATOMIC_SEQ_CST) >= 1) _exit(status);
    int descriptor = __atomic_load_n(&state->descriptor, __ATOMIC_SEQ_CST);
    if (descriptor > 0 && write(descriptor, &one, 8) < 0) { /* the counter is at its end: the reader is awake anyway */ }
    errno = saved;
}

/* exit_status >= 0: the second of all signals watched this way ends the process. Returns 0, or -1 with errno. */
static inline int t2v_watch_signal(int number, int descriptor, int exit_status) {
    struct t2v_signal_state *state = t2v_signals();
    struct sigaction action = {0};
    if (number < 1 || number > 64) { errno = EINVAL; return -1; }
    __atomic_store_n(&state->descriptor, descriptor, __ATOMIC_SEQ_CST);
    state->exit_status[number] = exit_status;
    action.sa_handler = t2v_on_signal;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, 0);
}

static inline void t2v_unwatch_signal(int number) {
    signal(number, SIG_DFL);
    __atomic_store_n(&t2v_signals()->descriptor, 0, __ATOMIC_SEQ_CST);
}

static inline unsigned t2v_signal_count(int number) {
    return number < 1 || number > 64 ? 0 : __atomic_load_n(&t2v_signals()->counts[number], __ATOMIC_SEQ_CST);
}
