// What products in bf16 share.
#pragma once
#include "panels.h"

/// R rows of pairs (a pair is two consecutive k, `row_step` from row to row) times a panel of pairs (k / 2, 32, 2), into C or added to it.
typedef void (*t2v_half_block)(ptrdiff_t pairs, const uint32_t *a, ptrdiff_t row_step, const uint16_t *panel, float *c, ptrdiff_t ldc,
                               __mmask16 low, __mmask16 high, int accumulate);
/// By number of rows, 1 to `block_rows`.
extern const t2v_half_block t2v_half_blocks[];

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
