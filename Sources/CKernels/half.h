// What products in bf16 share.
#pragma once
#include "lanes.h"
#include "panels.h"

/// R rows of pairs (a pair is two consecutive k, `row_step` from row to row) times a panel of pairs (k / 2, 32, 2), into C or added to it.
typedef void (*t2v_half_block)(ptrdiff_t pairs, const uint32_t *a, ptrdiff_t row_step, const uint16_t *panel, float *c, ptrdiff_t ldc,
                               __mmask16 low, __mmask16 high, int accumulate);
/// By number of rows, 1 to `block_rows`.
extern const t2v_half_block t2v_half_blocks[];

/// Where the depth of a lane begins if that of each takes whole cache lines.
static inline ptrdiff_t half_start(const t2v_lanes *lanes, ptrdiff_t lane) {
    ptrdiff_t start = 0;
    for (ptrdiff_t i = 0; i < lane; i++) start += rounded_up(lane_rows(lanes, i), 32);
    return start;
}

/// Rows of pairs times a panel of pairs, summed by lane, into a block of C.
/// `sums`: room for the sums of lanes, `block_rows` x `panel_columns` each.
AVX512_BF16 static inline void half_block_of_lanes(ptrdiff_t rows, const t2v_lanes *lanes, const uint16_t *a, ptrdiff_t stride,
                                                   const uint16_t *panel, float *sums, float *c, ptrdiff_t ldc, __mmask16 low,
                                                   __mmask16 high) {
    enum { block = block_rows * panel_columns };
    float *last = sums - block;
    for (ptrdiff_t lane = 0, start = 0; lane < lanes->count; lane++) {
        ptrdiff_t depth = lane_rows(lanes, lane);
        last += block;
        t2v_half_blocks[rows]((depth + 1) / 2, (const uint32_t *)(a + start), stride / 2, panel + start * panel_columns, last,
                              panel_columns, 0xffff, 0xffff, 0);
        last = merge_lanes(last, block, lanes->merges[lane]);
        start += rounded_up(depth, 32);
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        _mm512_mask_storeu_ps(c + i * ldc, low, _mm512_load_ps(last + i * panel_columns));
        _mm512_mask_storeu_ps(c + i * ldc + 16, high, _mm512_load_ps(last + i * panel_columns + 16));
    }
}

/// 16 floats as 16 bf16, to nearest, ties to even.
AVX512_BF16 static inline void store_half(uint16_t *out, __m512 value) {
    _mm256_storeu_si256((__m256i *)out, (__m256i)_mm512_cvtneps_pbh(value));
}

/// Two rows of 16 floats as 16 pairs.
AVX512_BF16 static inline __m512i pairs_of(__m512 first, __m512 second) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                                           18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
