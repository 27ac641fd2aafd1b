/* Linux calls that Swift cannot import, and what it cannot say. The header says what each is for. */
#include "CLinux.h"

#include <immintrin.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

int t2v_set_parent_death_signal(int signal) { return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0); }

int t2v_memfd_create(const char *name, unsigned int flags) { return (int)syscall(SYS_memfd_create, name, flags); }

int t2v_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 10); }

int t2v_close_on_exec(int descriptor) { return fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

int t2v_open_unnamed(const char *folder) { return open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }

int t2v_link_unnamed(const char *descriptor_path, const char *target) {
    return linkat(AT_FDCWD, descriptor_path, AT_FDCWD, target, AT_SYMLINK_FOLLOW);
}

int t2v_affinity_count(void) {
    for (int count = 1024; count <= 1 << 16; count *= 4) {
        cpu_set_t *set = CPU_ALLOC(count);
        if (!set) return 0;
        int found = sched_getaffinity(0, CPU_ALLOC_SIZE(count), set) == 0 ? CPU_COUNT_S(CPU_ALLOC_SIZE(count), set) : 0;
        CPU_FREE(set);
        if (found > 0) return found;
    }
    return 0;
}

int t2v_terminal_columns(int descriptor) {
    struct winsize size;
    return ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

int t2v_set_process_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

void t2v_store_before(uint64_t *stamp, uint64_t value) {
    __atomic_store_n(stamp, value, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void t2v_store_after(uint64_t *stamp, uint64_t value) { __atomic_store_n(stamp, value, __ATOMIC_SEQ_CST); }

uint64_t t2v_load_after(const uint64_t *stamp) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(stamp, __ATOMIC_SEQ_CST);
}

int t2v_pidfd_send_signal(int descriptor, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0);
}

void t2v_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

int t2v_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int t2v_cpu_is_x86_64_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

/* SOCK_CLOEXEC is O_CLOEXEC on Linux. */
int t2v_accept(int listener) { return (int)syscall(SYS_accept4, listener, 0, 0, O_CLOEXEC | O_NONBLOCK); }

/* The handler below is in C because it may only call async-signal-safe functions. */
static struct {
    int descriptor, exit_status[65];
    unsigned counts[65], stops;
} signals;

static void on_signal(int number) {
    int saved = errno;
    uint64_t one = 1;
    __atomic_fetch_add(&signals.counts[number], 1, __ATOMIC_SEQ_CST);
    int status = signals.exit_status[number];
    if (status >= 0 && __atomic_fetch_add(&signals.stops, 1, __ATOMIC_SEQ_CST) >= 1) _exit(status);
    int descriptor = __atomic_load_n(&signals.descriptor, __ATOMIC_SEQ_CST);
    if (descriptor > 0 && write(descriptor, &one, 8) < 0) { /* the counter is full: the reader is awake anyway */ }
    errno = saved;
}

int t2v_watch_signal(int number, int descriptor, int exit_status) {
    struct sigaction action = {0};
    if (number < 1 || number > 64) { errno = EINVAL; return -1; }
    __atomic_store_n(&signals.descriptor, descriptor, __ATOMIC_SEQ_CST);
    signals.exit_status[number] = exit_status;
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, 0);
}

void t2v_unwatch_signal(int number) {
    signal(number, SIG_DFL);
    __atomic_store_n(&signals.descriptor, 0, __ATOMIC_SEQ_CST);
}

unsigned t2v_signal_count(int number) {
    return number < 1 || number > 64 ? 0 : __atomic_load_n(&signals.counts[number], __ATOMIC_SEQ_CST);
}

__attribute__((target("avx2"))) void t2v_digest_blocks(const void *bytes, size_t blocks, uint64_t states[32]) {
    const __m256i low_factor = _mm256_set1_epi64x(0x9E3779B1), high_factor = _mm256_set1_epi64x(0xC2B2AE3D);
    __m256i own[8];
    for (int i = 0; i < 8; i++) own[i] = _mm256_loadu_si256((const __m256i *)states + i);
    for (const __m256i *p = bytes, *end = p + 8 * blocks; p < end; p += 8)
        for (int i = 0; i < 8; i++) {
            __m256i mixed = _mm256_xor_si256(own[i], _mm256_loadu_si256(p + i));
            __m256i high = _mm256_slli_epi64(_mm256_mul_epu32(_mm256_srli_epi64(mixed, 32), high_factor), 32);
            __m256i sum = _mm256_add_epi64(_mm256_mul_epu32(mixed, low_factor), high);
            own[i] = _mm256_xor_si256(sum, _mm256_srli_epi64(sum, 32));
        }
    for (int i = 0; i < 8; i++) _mm256_storeu_si256((__m256i *)states + i, own[i]);
}
