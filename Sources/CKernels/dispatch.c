// Chooses the kernels that fit this CPU.
#include "kernels.h"

int t2v_has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

int t2v_has_avx512_bf16(void) { return t2v_has_avx512() && __builtin_cpu_supports("avx512bf16"); }

static int is_wide(int flags) { return !(flags & T2V_AVX2) && t2v_has_avx512(); }

size_t t2v_packed_bytes(int flags, ptrdiff_t n, ptrdiff_t k) {
    if (flags & T2V_BF16) return t2v_packed_bytes_bf16(n, k);
    if (flags & T2V_WINDOWS) return (is_wide(flags) ? t2v_packed_windows_bytes_avx512 : t2v_packed_windows_bytes_avx2)(n, k / 3);
    return is_wide(flags) ? t2v_packed_bytes_avx512(n, k) : t2v_packed_bytes_avx2(n, k);
}

void t2v_pack(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, void *packed) {
    if (flags & T2V_BF16) t2v_pack_bf16(flags, n, k, b, ldb, packed);
    else if (flags & T2V_WINDOWS) (is_wide(flags) ? t2v_pack_windows_avx512 : t2v_pack_windows_avx2)(n, k / 3, b, ldb, packed);
    else if (is_wide(flags)) t2v_pack_avx512(flags, n, k, b, ldb, packed);
    else t2v_pack_avx2(flags, n, k, b, ldb, packed);
}

void t2v_gemm(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c,
              ptrdiff_t ldc) {
    if (flags & T2V_BF16) t2v_gemm_bf16(flags, m, n, k, a, lda, b, ldb, c, ldc);
    else if (is_wide(flags)) t2v_gemm_avx512(flags, m, n, k, a, lda, b, ldb, c, ldc);
    else t2v_gemm_avx2(flags, m, n, k, a, lda, b, ldb, c, ldc);
}

ptrdiff_t t2v_convolve(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *below, const int32_t *starts, const float *b,
                       ptrdiff_t ldb, float *c, ptrdiff_t ldc) {
    return m > 0 ? (is_wide(flags) ? t2v_convolve_avx512 : t2v_convolve_avx2)(flags, m, n, k, below, starts, b, ldb, c, ldc) : 0;
}

void t2v_gemm_lanes(int flags, ptrdiff_t m, ptrdiff_t n, const t2v_lanes *lanes, const float *a, ptrdiff_t lda, const float *b,
                    ptrdiff_t ldb, float *c, ptrdiff_t ldc) {
    if (flags & T2V_BF16) t2v_gemm_lanes_bf16(m, n, lanes, a, lda, b, ldb, c, ldc);
    else (is_wide(flags) ? t2v_gemm_lanes_avx512 : t2v_gemm_lanes_avx2)(m, n, lanes, a, lda, b, ldb, c, ldc);
}

// With more pieces most combinations have a row or two.
static int goes_by_row(int flags, const t2v_winners *w) { return flags & T2V_BY_ROW || w->pieces > T2V_SORTED_PIECES; }

int t2v_winners_join(int flags, const t2v_winners *w) {
    if (flags & T2V_BF16 || goes_by_row(flags, w)) return 1;
    for (ptrdiff_t lane = 0; lane < w->lanes->count; lane++)
        if (w->lanes->starts[lane + 1] - w->lanes->starts[lane] > T2V_SLAB_ROWS) return 0;
    return 1;
}

void t2v_winners_gradients(int flags, const t2v_winners *w, const float *weights, const float *input, float *d_weights,
                           float *d_input) {
    if (flags & T2V_BF16) {
        if (d_weights) t2v_winners_weight_gradient_bf16(w, input, d_weights);
        if (d_input) t2v_winners_input_gradient_bf16(w, weights, d_input);
    } else if (goes_by_row(flags, w)) {
        int wide = is_wide(flags);
        if (d_weights) (wide ? t2v_winners_weight_gradient_by_row_avx512 : t2v_winners_weight_gradient_by_row_avx2)(w, input, d_weights);
        if (d_input) (wide ? t2v_winners_input_gradient_by_row_avx512 : t2v_winners_input_gradient_by_row_avx2)(w, weights, d_input);
    } else {
        (is_wide(flags) ? t2v_winners_gradients_avx512 : t2v_winners_gradients_avx2)(w, weights, input, d_weights, d_input);
    }
}

void t2v_keep(int flags, const t2v_mask *mask, ptrdiff_t width, uint32_t *plane) {
    (is_wide(flags) ? t2v_keep_avx512 : t2v_keep_avx2)(mask, width, plane);
}

void t2v_maxout_forward(int flags, const t2v_maxout *layer, ptrdiff_t rows, const float *z, const float *residual,
                        const int32_t *residual_rows, const uint32_t *kept, uint32_t *winners, float *normalized, float *inverse,
                        float *out) {
    (is_wide(flags) ? t2v_maxout_forward_avx512 : t2v_maxout_forward_avx2)(layer, rows, z, residual, residual_rows, kept, winners,
                                                                           normalized, inverse, out);
}

void t2v_norm_backward(int flags, const t2v_maxout *layer, ptrdiff_t rows, const float *d_out, const uint32_t *kept,
                       const float *normalized, const float *inverse, float *d_gain, float *d_shift, float *d_max) {
    (is_wide(flags) ? t2v_norm_backward_avx512 : t2v_norm_backward_avx2)(layer, rows, d_out, kept, normalized, inverse, d_gain, d_shift,
                                                                         d_max);
}

void t2v_bias_backward(int flags, const t2v_maxout *layer, ptrdiff_t rows, const float *d_max, const uint32_t *winners, uint8_t *won,
                       float *d_bias) {
    (is_wide(flags) ? t2v_bias_backward_avx512 : t2v_bias_backward_avx2)(layer, rows, d_max, winners, won, d_bias);
}
