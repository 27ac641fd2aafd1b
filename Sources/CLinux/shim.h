/* Linux calls that Swift cannot import: variadic functions and system calls without a libc wrapper. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Asks the kernel for `signal` when the parent THREAD ends; compare getppid() afterwards: the parent may be gone already. */
static inline int t2v_set_parent_death_signal(int signal) { return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0); }

static inline int t2v_memfd_create(const char *name, unsigned int flags) { return (int)syscall(SYS_memfd_create, name, flags); }

/* A descriptor that becomes readable when process `pid` ends. */
static inline int t2v_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

/* What -march=x86-64-v3 lets the compiler use. */
static inline int t2v_cpu_is_x86_64_v3(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}
