/* Linux calls that Swift cannot import (variadic functions, system calls without a libc wrapper), and what it cannot say. */
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
#include <sys/syscall.h>
#include <unistd.h>

/* Asks the kernel for `signal` when the parent THREAD ends; compare getppid() afterwards: the parent may be gone already. */
int t2v_set_parent_death_signal(int signal);

int t2v_memfd_create(const char *name, unsigned int flags);

/* The same file under a descriptor of at least 10, closed on exec: the low numbers are for a child's files. */
int t2v_duplicate(int descriptor);

int t2v_close_on_exec(int descriptor);

/* A file without a name in `folder`: it vanishes with its last descriptor unless it is given a name. */
int t2v_open_unnamed(const char *folder);

/* Names a file without a name; `descriptor_path` is its /proc/self/fd/N. */
int t2v_link_unnamed(const char *descriptor_path, const char *target);

/* Cores in this process's affinity mask; 0 when the kernel does not say. */
int t2v_affinity_count(void);

/* Columns of the terminal behind a descriptor; 0 when there is none or it does not say. */
int t2v_terminal_columns(int descriptor);

/* The name that ps and top show; 15 bytes count. */
int t2v_set_process_name(const char *name);

/* A stamp beside data that another process reads. Data written after store_before, or before store_after, is seen in that order. */
void t2v_store_before(uint64_t *stamp, uint64_t value);
void t2v_store_after(uint64_t *stamp, uint64_t value);

/* Reads the stamp after everything that was read from the data. */
uint64_t t2v_load_after(const uint64_t *stamp);

/* Names the calling thread for ps and top: at most 15 bytes. */
void t2v_name_thread(const char *name);

/* A descriptor that becomes readable when process `pid` ends. */
int t2v_pidfd_open(int pid);

/* Sends a signal to the process of a pidfd, and never to a later process with the same number. Returns 0, or -1 with errno. */
int t2v_pidfd_send_signal(int descriptor, int signal);

/* Whether the CPU has what -march=x86-64-v3 lets the compiler use. */
int t2v_cpu_is_x86_64_v3(void);

/* The next connection of a listening socket, closed on exec and non-blocking from its first moment; or -1 with errno. */
int t2v_accept(int listener);

/* Signals that wake an eventfd. exit_status >= 0: the second of all signals watched this way ends the process.
   Returns 0, or -1 with errno. */
int t2v_watch_signal(int number, int descriptor, int exit_status);

void t2v_unwatch_signal(int number);

/* How often a signal has come since it was first watched. */
unsigned t2v_signal_count(int number);

/* The loop of Digest64 (Sources/Core/Base/Digest64.swift) over `blocks` times 256 bytes. */
void t2v_digest_blocks(const void *bytes, size_t blocks, uint64_t states[32]);
