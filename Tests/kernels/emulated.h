// AVX-512 in plain C, so that its kernels can be tested on a CPU without it: the intrinsics that CKernels uses, lane by lane.
//
// Compile a kernel file with -include emulated.h. Rounding to bf16 is exact; a product of pairs adds the low one first, without flushing
// subnormal numbers as CPUs do.
#pragma once
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

// Instead of the attributes of avx512.h.
#define AVX512
#define AVX512_BF16

typedef float floats16 __attribute__((vector_size(64)));
typedef int32_t ints16 __attribute__((vector_size(64)));
typedef uint64_t longs8 __attribute__((vector_size(64)));
typedef uint16_t halves32 __attribute__((vector_size(64)));
typedef uint16_t halves16 __attribute__((vector_size(32)));

#define EMULATED static inline
#define LANE for (int i = 0; i < 16; i++)

EMULATED __m512 emulated_zero(void) { return (__m512){0}; }
EMULATED __m512i emulated_zero_ints(void) { return (__m512i){0}; }
EMULATED __m512 emulated_fill(float value) { floats16 r; LANE r[i] = value; return (__m512)r; }
EMULATED __m512i emulated_fill_ints(int value) { ints16 r; LANE r[i] = value; return (__m512i)r; }
EMULATED __m512 emulated_load(unsigned mask, const void *from) {
    floats16 r = {0};
    LANE if (mask >> i & 1) { float x; memcpy(&x, (const char *)from + 4 * i, 4); r[i] = x; }
    return (__m512)r;
}
EMULATED __m512i emulated_load_ints(unsigned mask, const void *from) { return (__m512i)emulated_load(mask, from); }
EMULATED void emulated_store(void *to, unsigned mask, __m512 value) {
    LANE if (mask >> i & 1) { float x = ((floats16)value)[i]; memcpy((char *)to + 4 * i, &x, 4); }
}
EMULATED void emulated_store_ints(void *to, __m512i value) { memcpy(to, &value, 64); }
EMULATED __m512 emulated_multiply_add(__m512 a, __m512 b, __m512 c) {
    floats16 r, x = (floats16)a, y = (floats16)b, z = (floats16)c;
    LANE r[i] = fmaf(x[i], y[i], z[i]);
    return (__m512)r;
}
EMULATED __m512i emulated_multiply(__m512i a, __m512i b) { return (__m512i)((ints16)a * (ints16)b); }
EMULATED __m512i emulated_add(__m512i a, __m512i b) { return (__m512i)((ints16)a + (ints16)b); }
EMULATED __m512i emulated_or(__m512i a, __m512i b) { return (__m512i)((ints16)a | (ints16)b); }
EMULATED __m512i emulated_shift(__m512i a, int by) { return (__m512i)((ints16)a << by); }
EMULATED unsigned emulated_equal(__m512i a, __m512i b) {
    unsigned r = 0;
    LANE r |= (unsigned)(((ints16)a)[i] == ((ints16)b)[i]) << i;
    return r;
}
EMULATED __m512 emulated_keep(unsigned mask, __m512 a) {
    floats16 r = {0};
    LANE if (mask >> i & 1) r[i] = ((floats16)a)[i];
    return (__m512)r;
}
// Of each quarter: the lanes of a that `pick` names for the first two places, of b for the others.
EMULATED __m512 emulated_shuffle(__m512 a, __m512 b, int pick) {
    floats16 r;
    LANE r[i] = ((floats16)(i % 4 < 2 ? a : b))[i / 4 * 4 + (pick >> 2 * (i % 4) & 3)];
    return (__m512)r;
}
EMULATED __m512 emulated_shuffle_quarters(__m512 a, __m512 b, int pick) {
    floats16 r;
    LANE r[i] = ((floats16)(i < 8 ? a : b))[(pick >> 2 * (i / 4) & 3) * 4 + i % 4];
    return (__m512)r;
}
// Lanes `from` and `from + 1` of each quarter of a and b in turn.
EMULATED __m512 emulated_unpack(__m512 a, __m512 b, int from) {
    floats16 r;
    LANE r[i] = ((floats16)(i % 2 ? b : a))[i / 4 * 4 + from + i % 4 / 2];
    return (__m512)r;
}
EMULATED uint16_t emulated_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
EMULATED float emulated_whole(uint32_t half) {
    float value;
    half <<= 16;
    memcpy(&value, &half, 4);
    return value;
}
EMULATED __m256bh emulated_halves(__m512 value) {
    halves16 r;
    LANE r[i] = emulated_half(((floats16)value)[i]);
    return (__m256bh)r;
}
EMULATED __m512bh emulated_two_halves(__m512 high, __m512 low) {
    halves32 r;
    LANE { r[i] = emulated_half(((floats16)low)[i]); r[16 + i] = emulated_half(((floats16)high)[i]); }
    return (__m512bh)r;
}
EMULATED __m128i emulated_load_bytes(unsigned mask, const void *from) {
    uint8_t r[16];
    LANE r[i] = mask >> i & 1 ? ((const uint8_t *)from)[i] : 0;
    return _mm_loadu_si128((const __m128i *)r);
}
EMULATED void emulated_store_bytes(void *to, unsigned mask, __m128i value) {
    LANE if (mask >> i & 1) memcpy((char *)to + i, (char *)&value + i, 1);
}
EMULATED __m512i emulated_widen_bytes(__m128i value) { ints16 r; LANE r[i] = ((uint8_t *)&value)[i]; return (__m512i)r; }
EMULATED __m128i emulated_narrow_to_bytes(__m512i value) {
    uint8_t r[16];
    LANE r[i] = (uint8_t)((ints16)value)[i];
    return _mm_loadu_si128((const __m128i *)r);
}
EMULATED __m512i emulated_widen(__m256i value) { ints16 r; LANE r[i] = ((halves16)value)[i]; return (__m512i)r; }
EMULATED __m256i emulated_narrow(__m512i value) { halves16 r; LANE r[i] = (uint16_t)((ints16)value)[i]; return (__m256i)r; }
EMULATED __m512i emulated_permute(__m512i places, __m512i value) {
    halves32 r;
    for (int i = 0; i < 32; i++) r[i] = ((halves32)value)[((halves32)places)[i] & 31];
    return (__m512i)r;
}
// Arguments are written from the last lane to the first.
EMULATED __m512i emulated_ints(const int32_t *last) { ints16 r; LANE r[i] = last[15 - i]; return (__m512i)r; }
EMULATED __m512i emulated_words(const uint16_t *last) { halves32 r; for (int i = 0; i < 32; i++) r[i] = last[31 - i]; return (__m512i)r; }
EMULATED __m512 emulated_pairs(__m512 sum, __m512bh a, __m512bh b) {
    floats16 r = (floats16)sum;
    halves32 x = (halves32)a, y = (halves32)b;
    LANE {
        float low = fmaf(emulated_whole(x[2 * i]), emulated_whole(y[2 * i]), r[i]);
        r[i] = fmaf(emulated_whole(x[2 * i + 1]), emulated_whole(y[2 * i + 1]), low);
    }
    return (__m512)r;
}

#undef _mm512_setzero_ps
#define _mm512_setzero_ps() emulated_zero()
#undef _mm512_setzero_si512
#define _mm512_setzero_si512() emulated_zero_ints()
#undef _mm512_set1_ps
#define _mm512_set1_ps(x) emulated_fill(x)
#undef _mm512_set1_epi32
#define _mm512_set1_epi32(x) emulated_fill_ints(x)
#undef _mm512_load_ps
#define _mm512_load_ps(p) emulated_load(0xffff, p)
#undef _mm512_loadu_ps
#define _mm512_loadu_ps(p) emulated_load(0xffff, p)
#undef _mm512_load_si512
#define _mm512_load_si512(p) emulated_load_ints(0xffff, p)
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps(m, p) emulated_load(m, p)
#undef _mm512_store_ps
#define _mm512_store_ps(p, v) emulated_store(p, 0xffff, v)
#undef _mm512_stream_ps
#define _mm512_stream_ps(p, v) emulated_store(p, 0xffff, v)
#undef _mm512_storeu_ps
#define _mm512_storeu_ps(p, v) emulated_store(p, 0xffff, v)
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps(p, m, v) emulated_store(p, m, v)
#undef _mm512_store_si512
#define _mm512_store_si512(p, v) emulated_store_ints(p, v)
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps(a, b, c) emulated_multiply_add(a, b, c)
#undef _mm512_mullo_epi32
#define _mm512_mullo_epi32(a, b) emulated_multiply(a, b)
#undef _mm512_add_epi32
#define _mm512_add_epi32(a, b) emulated_add(a, b)
#undef _mm512_or_si512
#define _mm512_or_si512(a, b) emulated_or(a, b)
#undef _mm512_slli_epi32
#define _mm512_slli_epi32(a, n) emulated_shift(a, n)
#undef _mm512_cmpeq_epi32_mask
#define _mm512_cmpeq_epi32_mask(a, b) emulated_equal(a, b)
#undef _mm512_maskz_mov_ps
#define _mm512_maskz_mov_ps(m, a) emulated_keep(m, a)
#undef _mm512_unpacklo_ps
#define _mm512_unpacklo_ps(a, b) emulated_unpack(a, b, 0)
#undef _mm512_unpackhi_ps
#define _mm512_unpackhi_ps(a, b) emulated_unpack(a, b, 2)
#undef _mm512_shuffle_ps
#define _mm512_shuffle_ps(a, b, p) emulated_shuffle(a, b, p)
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, p) emulated_shuffle_quarters(a, b, p)
#undef _mm512_cvtneps_pbh
#define _mm512_cvtneps_pbh(v) emulated_halves(v)
#undef _mm512_cvtne2ps_pbh
#define _mm512_cvtne2ps_pbh(h, l) emulated_two_halves(h, l)
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32(v) emulated_widen(v)
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16(v) emulated_narrow(v)
#undef _mm512_permutexvar_epi16
#define _mm512_permutexvar_epi16(p, v) emulated_permute(p, v)
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps(s, a, b) emulated_pairs(s, a, b)
#undef _mm512_set_epi32
#define _mm512_set_epi32(...) emulated_ints((int32_t[]){__VA_ARGS__})
#undef _mm512_set_epi16
#define _mm512_set_epi16(...) emulated_words((uint16_t[]){__VA_ARGS__})
#undef _mm_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8(m, p) emulated_load_bytes(m, p)
#undef _mm_mask_storeu_epi8
#define _mm_mask_storeu_epi8(p, m, v) emulated_store_bytes(p, m, v)
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32(v) emulated_widen_bytes(v)
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8(v) emulated_narrow_to_bytes(v)
