// Panels of B for one width of vectors: 2 vectors of columns, which stay in the nearest caches while the rows of A pass.
#pragma once
#include "t2v_kernels.h"
#include "vectors.h"

enum {
    panel_columns = 2 * WIDTH,
    // Rows of A at a time: with the two vectors of a panel their sums fill the registers.
    block_rows = WIDTH == 16 ? 14 : 6,
};

/// The rows of C that are written next: where k is small, waiting for them would take longer than the products.
static inline void ask_for_block(const float *c, ptrdiff_t ldc, ptrdiff_t first, ptrdiff_t m) {
    for (ptrdiff_t i = first; i < first + block_rows && i < m; i++) {
        __builtin_prefetch(c + i * ldc, 1, 3);
        if (WIDTH == 16) __builtin_prefetch(c + i * ldc + 16, 1, 3);
    }
}

/// Memory that is needed soon, a panel, say: each step of a product prefetches `each` bytes. All at once, they would hold up the loads of
/// the product itself.
typedef struct {
    const char *next;
    ptrdiff_t each;
} ahead_of_steps;

/// `floats` floats from `start` on, by the end of so many steps; at most a line in each.
static inline ahead_of_steps spread_over(const float *start, ptrdiff_t floats, ptrdiff_t steps) {
    ptrdiff_t each = floats * (ptrdiff_t)sizeof(float) / steps + 1;
    return (ahead_of_steps){(const char *)start, each < 64 ? each : 64};
}

/// Nothing: asks for a line that is there. `near`: what the product reads anyway.
static inline ahead_of_steps nothing_ahead(const float *near) { return (ahead_of_steps){(const char *)near, 0}; }

/// Transposes WIDTH x WIDTH in registers: lane j of row p becomes lane p of row j.
ISA static inline void transpose_square(vector r[WIDTH]) {
    vector t[WIDTH];
    UNROLL for (int j = 0; j < WIDTH; j += 2) {
        t[j] = unpack_low(r[j], r[j + 1]);
        t[j + 1] = unpack_high(r[j], r[j + 1]);
    }
    UNROLL for (int j = 0; j < WIDTH; j += 4) {
        r[j] = shuffle(t[j], t[j + 2], 0x44);
        r[j + 1] = shuffle(t[j], t[j + 2], 0xee);
        r[j + 2] = shuffle(t[j + 1], t[j + 3], 0x44);
        r[j + 3] = shuffle(t[j + 1], t[j + 3], 0xee);
    }
#if WIDTH == 16
    UNROLL for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_f32x4(r[j], r[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_f32x4(r[j], r[j + 4], 0xdd);
        t[j + 8] = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0xdd);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd);
        r[j + 4] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0x88);
        r[j + 12] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0xdd);
    }
#else
    UNROLL for (int j = 0; j < 4; j++) {
        vector low = r[j], high = r[j + 4];
        r[j] = _mm256_permute2f128_ps(low, high, 0x20);
        r[j + 4] = _mm256_permute2f128_ps(low, high, 0x31);
    }
#endif
}

/// Transposes up to WIDTH x WIDTH: out[p * stride + j] = in[j * ld + p] for j < rows, p < depth; lanes j >= rows become 0.
ISA static inline void transpose(const float *in, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t depth, float *out, ptrdiff_t stride) {
    vector r[WIDTH];
    part some = first_lanes(depth);
    UNROLL for (int j = 0; j < WIDTH; j++) r[j] = j < rows ? load_part(in + j * ld, some) : zeros();
    transpose_square(r);
    for (ptrdiff_t p = 0; p < depth; p++) store_unaligned(out + p * stride, r[p]);
}

/// Columns of B as a panel (k, panel_columns), zeros beyond `columns`.
ISA static inline void pack(int transposed, ptrdiff_t columns, ptrdiff_t k, const float *b, ptrdiff_t ldb, float *panel) {
    if (transposed) {
        for (ptrdiff_t p = 0; p < k; p += WIDTH) {
            ptrdiff_t depth = k - p < WIDTH ? k - p : WIDTH;
            transpose(b + p, ldb, columns, depth, panel + p * panel_columns, panel_columns);
            transpose(b + WIDTH * ldb + p, ldb, columns - WIDTH, depth, panel + p * panel_columns + WIDTH, panel_columns);
        }
        return;
    }
    part low = first_lanes(columns), high = first_lanes(columns - WIDTH);
    for (ptrdiff_t p = 0; p < k; p++) {
        store(panel + p * panel_columns, load_part(b + p * ldb, low));
        store(panel + p * panel_columns + WIDTH, load_part(b + p * ldb + WIDTH, high));
    }
}

/// Floats of a panel: transposing writes 16 rows at a time.
static inline ptrdiff_t panel_floats(ptrdiff_t k) { return rounded_up(k, 16) * panel_columns; }
