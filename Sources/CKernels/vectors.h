// Vectors of WIDTH floats: 16 with AVX-512, 8 with AVX2. A file that computes in float32 is compiled once for each.
#pragma once
#include "avx512.h"
#include <string.h>

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
/// `count` bytes, then zeros.
ISA static inline integers load_bytes(const uint8_t *from, ptrdiff_t count) {
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes(count), from));
}
/// The lowest bytes of `count` lanes.
ISA static inline void store_bytes(uint8_t *to, ptrdiff_t count, integers value) {
    _mm_mask_storeu_epi8(to, lanes(count), _mm512_cvtepi32_epi8(value));
}
ISA static inline void store_integers(int32_t *to, integers value) { _mm512_store_si512(to, value); }
ISA static inline integers times(integers a, int b) { return _mm512_mullo_epi32(a, _mm512_set1_epi32(b)); }
ISA static inline integers add_integers(integers a, integers b) { return _mm512_add_epi32(a, b); }
ISA static inline integers shifted(integers a, int by) { return _mm512_add_epi32(a, _mm512_set1_epi32(by)); }

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

/// Lanes of a vector of which `count` are left, or none.
static inline size_t lane_count(ptrdiff_t count) { return count >= WIDTH ? WIDTH : count > 0 ? (size_t)count : 0; }
/// `count` bytes, then zeros.
ISA static inline integers load_bytes(const uint8_t *from, ptrdiff_t count) {
    uint64_t bytes = 0;
    memcpy(&bytes, from, lane_count(count));
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)bytes));
}
/// The lowest bytes of `count` lanes.
ISA static inline void store_bytes(uint8_t *to, ptrdiff_t count, integers value) {
    __m256i quarters = _mm256_shuffle_epi8(value, _mm256_set1_epi64x(0x0C080400));
    __m128i bytes = _mm_unpacklo_epi32(_mm256_castsi256_si128(quarters), _mm256_extracti128_si256(quarters, 1));
    memcpy(to, &bytes, lane_count(count));
}
ISA static inline void store_integers(int32_t *to, integers value) { _mm256_store_si256((__m256i *)to, value); }
ISA static inline integers times(integers a, int b) { return _mm256_mullo_epi32(a, _mm256_set1_epi32(b)); }
ISA static inline integers add_integers(integers a, integers b) { return _mm256_add_epi32(a, b); }
ISA static inline integers shifted(integers a, int by) { return _mm256_add_epi32(a, _mm256_set1_epi32(by)); }

#endif
