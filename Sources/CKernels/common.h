// What all kernels of this target share.
#pragma once
#include <immintrin.h>
#include <stddef.h>

#define UNROLL _Pragma("GCC unroll 16")

static inline ptrdiff_t rounded_up(ptrdiff_t value, ptrdiff_t step) { return (value + step - 1) / step * step; }

/// Lines of memory that will be read soon: a few are prefetched with every row, so that they arrive while others are computed.
typedef struct {
    const float **lines;
    ptrdiff_t count, next, each;
} t2v_ahead;

static inline void ahead_add(t2v_ahead *ahead, const float *start, ptrdiff_t length) {
    for (ptrdiff_t k = 0; k < length; k += 16) ahead->lines[ahead->count++] = start + k;
}

/// Spreads the lines over `rows` calls of `ahead_ask`.
static inline void ahead_spread(t2v_ahead *ahead, ptrdiff_t rows) { ahead->each = (ahead->count + rows - 1) / rows; }

static inline void ahead_ask(t2v_ahead *ahead) {
    for (ptrdiff_t i = 0; i < ahead->each && ahead->next < ahead->count; i++) __builtin_prefetch(ahead->lines[ahead->next++], 0, 2);
}

/// This thread's scratch: at least `bytes`, aligned to 64. The next call may move it.
void *t2v_thread_scratch(size_t bytes);
