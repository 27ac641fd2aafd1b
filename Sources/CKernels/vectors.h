// Vectors of WIDTH floats: 16 with AVX-512, 8 with AVX2. A file that computes in float32 is compiled once for each.
#pragma once
#include "avx512.h"

#if WIDTH == 16

#define ISA AVX512
#define NAMED(name) name##_avx512

typedef __m512 vector;
typedef __m512i integers;
/// The first lanes of a vector.
typedef __mmask16 part;

ISA static inline part first_lanes(ptrdiff_t count) { return lanes(count); }
ISA static inline vector zeros(void) { return _mm512_setzero_ps(); }
ISA static inline vector filled(float value) { return _mm512_set1_ps(value); }
ISA static inline vector load(const float *from) { return _mm512_load_ps(from); }
ISA static inline vector load_unaligned(const float *from) { return _mm512_loadu_ps(from); }
ISA static inline vector load_part(const float *from, part part) { return _mm512_maskz_loadu_ps(part, from); }
ISA static inline void store(float *to, vector value) { _mm512_store_ps(to, value); }
ISA static inline void store_unaligned(float *to, vector value) { _mm512_storeu_ps(to, value); }
ISA static inline void stream(float *to, vector value) { _mm512_stream_ps(to, value); }
ISA static inline void store_part(float *to, part part, vector value) { _mm512_mask_storeu_ps(to, part, value); }
ISA static inline vector multiply_add(vector a, vector b, vector c) { return _mm512_fmadd_ps(a, b, c); }
ISA static inline vector plus(vector a, vector b) { return a + b; }
ISA static inline vector minus(vector a, vector b) { return a - b; }
#define unpack_low _mm512_unpacklo_ps
#define unpack_high _mm512_unpackhi_ps
#define shuffle _mm512_shuffle_ps

ISA static inline integers counting(void) { return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
ISA static inline integers load_integers(const int32_t *from, ptrdiff_t count) { return _mm512_maskz_loadu_epi32(lanes(count), from); }
ISA static inline void store_integers(int32_t *to, integers value) { _mm512_store_si512(to, value); }
ISA static inline integers times(integers a, int b) { return _mm512_mullo_epi32(a, _mm512_set1_epi32(b)); }
ISA static inline integers shifted(integers a, int by) { return _mm512_add_epi32(a, _mm512_set1_epi32(by)); }
/// To each even lane of a, the next lane of b; odd lanes are of no use.
ISA static inline integers add_next(integers a, integers b) { return _mm512_add_epi32(a, _mm512_srli_epi64(b, 32)); }
/// Adds `step` to the lanes of `value` where `key` is `limit` or more.
ISA static inline integers add_beyond(integers value, integers key, int limit, int step) {
    return _mm512_mask_add_epi32(value, _mm512_cmpge_epi32_mask(key, _mm512_set1_epi32(limit)), value, _mm512_set1_epi32(step));
}

#else

#define ISA __attribute__((target("avx2,fma")))
#define NAMED(name) name##_avx2

typedef __m256 vector;
typedef __m256i integers;
/// The first lanes of a vector. Partial stores are slow on some CPUs, so whole vectors are stored as such.
typedef struct {
    __m256i lanes;
    int is_whole;
} part;

ISA static inline integers counting(void) { return _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0); }
ISA static inline __m256i first_integers(ptrdiff_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count > WIDTH ? WIDTH : count)), counting());
}
ISA static inline part first_lanes(ptrdiff_t count) { return (part){first_integers(count), count >= WIDTH}; }
ISA static inline vector zeros(void) { return _mm256_setzero_ps(); }
ISA static inline vector filled(float value) { return _mm256_set1_ps(value); }
ISA static inline vector load(const float *from) { return _mm256_load_ps(from); }
ISA static inline vector load_unaligned(const float *from) { return _mm256_loadu_ps(from); }
ISA static inline vector load_part(const float *from, part part) {
    return part.is_whole ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, part.lanes);
}
ISA static inline void store(float *to, vector value) { _mm256_store_ps(to, value); }
ISA static inline void store_unaligned(float *to, vector value) { _mm256_storeu_ps(to, value); }
ISA static inline void stream(float *to, vector value) { _mm256_stream_ps(to, value); }
ISA static inline void store_part(float *to, part part, vector value) {
    if (part.is_whole) _mm256_storeu_ps(to, value);
    else _mm256_maskstore_ps(to, part.lanes, value);
}
ISA static inline vector multiply_add(vector a, vector b, vector c) { return _mm256_fmadd_ps(a, b, c); }
ISA static inline vector plus(vector a, vector b) { return a + b; }
ISA static inline vector minus(vector a, vector b) { return a - b; }
#define unpack_low _mm256_unpacklo_ps
#define unpack_high _mm256_unpackhi_ps
#define shuffle _mm256_shuffle_ps

ISA static inline integers load_integers(const int32_t *from, ptrdiff_t count) {
    return count >= WIDTH ? _mm256_loadu_si256((const __m256i *)from) : _mm256_maskload_epi32(from, first_integers(count));
}
ISA static inline void store_integers(int32_t *to, integers value) { _mm256_store_si256((__m256i *)to, value); }
ISA static inline integers times(integers a, int b) { return _mm256_mullo_epi32(a, _mm256_set1_epi32(b)); }
ISA static inline integers shifted(integers a, int by) { return _mm256_add_epi32(a, _mm256_set1_epi32(by)); }
/// To each even lane of a, the next lane of b; odd lanes are of no use.
ISA static inline integers add_next(integers a, integers b) { return _mm256_add_epi32(a, _mm256_srli_epi64(b, 32)); }
/// Adds `step` to the lanes of `value` where `key` is `limit` or more.
ISA static inline integers add_beyond(integers value, integers key, int limit, int step) {
    return _mm256_add_epi32(value, _mm256_and_si256(_mm256_cmpgt_epi32(key, _mm256_set1_epi32(limit - 1)), _mm256_set1_epi32(step)));
}

#endif
