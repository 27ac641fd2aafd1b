// The kernels that t2v_gemm and its kind choose from.
#pragma once
#include "t2v_kernels.h"

#define DECLARE_FLOAT(isa)                                                                                                                 \
    size_t t2v_packed_bytes_##isa(ptrdiff_t n, ptrdiff_t k);                                                                               \
    void t2v_pack_##isa(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, float *packed);                                \
    void t2v_gemm_##isa(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb,    \
                        float *c, ptrdiff_t ldc);                                                                                          \
    size_t t2v_packed_windows_bytes_##isa(ptrdiff_t n, ptrdiff_t k);                                                                       \
    void t2v_pack_windows_##isa(ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, float *packed);                                   \
    ptrdiff_t t2v_convolve_##isa(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *below, const int32_t *starts,              \
                                 const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc);                                                  \
    void t2v_gemm_lanes_##isa(ptrdiff_t m, ptrdiff_t n, const t2v_lanes *lanes, const float *a, ptrdiff_t lda, const float *b,             \
                              ptrdiff_t ldb, float *c, ptrdiff_t ldc);                                                                     \
    void t2v_keep_##isa(const t2v_mask *mask, ptrdiff_t width, uint32_t *plane);                                                           \
    void t2v_maxout_forward_##isa(const t2v_maxout *layer, ptrdiff_t rows, const float *z, const float *residual,                          \
                                  const int32_t *residual_rows, const uint32_t *kept, uint32_t *winners, float *normalized,                \
                                  float *inverse, float *out);                                                                             \
    void t2v_norm_backward_##isa(const t2v_maxout *layer, ptrdiff_t rows, const float *d_out, const uint32_t *kept,                        \
                                 const float *normalized, const float *inverse, float *d_gain, float *d_shift, float *d_max);              \
    void t2v_bias_backward_##isa(const t2v_maxout *layer, ptrdiff_t rows, const float *d_max, const uint32_t *winners, uint8_t *won,       \
                                 float *d_bias);                                                                                           \
    void t2v_winners_gradients_##isa(const t2v_winners *winners, const float *weights, const float *input, float *d_weights,               \
                                     float *d_input);                                                                                      \
    void t2v_winners_input_gradient_by_row_##isa(const t2v_winners *winners, const float *weights, float *d_input);                        \
    void t2v_winners_weight_gradient_by_row_##isa(const t2v_winners *winners, const float *input, float *d_weights);
DECLARE_FLOAT(avx2)
DECLARE_FLOAT(avx512)

size_t t2v_packed_bytes_bf16(ptrdiff_t n, ptrdiff_t k);
void t2v_pack_bf16(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, void *packed);
void t2v_gemm_bf16(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const void *b, ptrdiff_t ldb, float *c,
                   ptrdiff_t ldc);
void t2v_gemm_lanes_bf16(ptrdiff_t m, ptrdiff_t n, const t2v_lanes *lanes, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb,
                         float *c, ptrdiff_t ldc);
void t2v_winners_input_gradient_bf16(const t2v_winners *winners, const float *weights, float *d_input);
void t2v_winners_weight_gradient_bf16(const t2v_winners *winners, const float *input, float *d_weights);
