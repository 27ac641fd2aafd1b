// Matrix products in bf16, sums in float32: like those in float32, but the rows of A are rounded once, and a panel holds pairs of k.
#define WIDTH 16
#include "half.h"

// Reads and writes of a block of C: R rows, 32 columns.
#define LOAD_BLOCK(R)                                                                                                                      \
    __m512 sum[R][2];                                                                                                                      \
    UNROLL for (int i = 0; i < R; i++) {                                                                                                   \
        sum[i][0] = accumulate ? _mm512_maskz_loadu_ps(low, c + i * ldc) : _mm512_setzero_ps();                                           \
        sum[i][1] = accumulate ? _mm512_maskz_loadu_ps(high, c + i * ldc + 16) : _mm512_setzero_ps();                                     \
    }
#define STORE_BLOCK(R)                                                                                                                     \
    UNROLL for (int i = 0; i < R; i++) {                                                                                                   \
        _mm512_mask_storeu_ps(c + i * ldc, low, sum[i][0]);                                                                                \
        _mm512_mask_storeu_ps(c + i * ldc + 16, high, sum[i][1]);                                                                          \
    }

// R rows of pairs (a pair is two consecutive k) times a panel of pairs (k / 2, 32, 2).
#define DEFINE_HALF_BLOCK(R)                                                                                                               \
    AVX512_BF16 static void half_block_##R(ptrdiff_t pairs, const uint32_t *a, ptrdiff_t row_step, const uint16_t *panel, float *c,        \
                                           ptrdiff_t ldc, __mmask16 low, __mmask16 high, int accumulate) {                                 \
        LOAD_BLOCK(R)                                                                                                                      \
        for (ptrdiff_t p = 0; p < pairs; p++) {                                                                                            \
            __m512bh b0 = (__m512bh)_mm512_load_si512(panel), b1 = (__m512bh)_mm512_load_si512(panel + panel_columns);                    \
            panel += 2 * panel_columns;                                                                                                    \
            UNROLL for (int i = 0; i < R; i++) {                                                                                           \
                __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[i * row_step]);                                                           \
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, b0);                                                                           \
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, b1);                                                                           \
            }                                                                                                                              \
            a += 1;                                                                                                                        \
        }                                                                                                                                  \
        STORE_BLOCK(R)                                                                                                                     \
    }

#define FOR_BLOCKS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
FOR_BLOCKS(DEFINE_HALF_BLOCK)
#define HALF_NAME(R) half_block_##R,
const t2v_half_block t2v_half_blocks[] = {0, FOR_BLOCKS(HALF_NAME)};

// A panel (k, 32) rounded to pairs (k / 2, 32, 2); an odd k gets a row of zeros.
AVX512_BF16 static void halve_panel(ptrdiff_t k, const float *panel, uint16_t *out) {
    for (ptrdiff_t p = 0; p < k; p += 2) {
        for (int j = 0; j < panel_columns; j += 16) {
            __m512 first = _mm512_load_ps(panel + p * panel_columns + j);
            __m512 second = p + 1 < k ? _mm512_load_ps(panel + (p + 1) * panel_columns + j) : _mm512_setzero_ps();
            _mm512_store_si512(out + p * panel_columns + 2 * j, pairs_of(first, second));
        }
    }
}

// All rows of A rounded, `stride` (a multiple of 32) apart.
AVX512_BF16 static void halve_rows(int transposed, ptrdiff_t m, ptrdiff_t k, const float *a, ptrdiff_t lda, uint16_t *out,
                                   ptrdiff_t stride) {
    if (!transposed) {
        for (ptrdiff_t i = 0; i < m; i++)
            for (ptrdiff_t p = 0; p < k; p += 16) store_half(out + i * stride + p, _mm512_maskz_loadu_ps(lanes(k - p), a + i * lda + p));
        return;
    }
    float square[16 * 16] __attribute__((aligned(64)));
    for (ptrdiff_t i = 0; i < m; i += 16) {
        ptrdiff_t some = m - i < 16 ? m - i : 16;
        for (ptrdiff_t p = 0; p < k; p += 16) {
            transpose(a + p * lda + i, lda, k - p < 16 ? k - p : 16, some, square, 16);
            for (ptrdiff_t j = 0; j < some; j++) store_half(out + (i + j) * stride + p, _mm512_load_ps(square + 16 * j));
        }
    }
}

// Bytes of a panel of pairs.
static size_t half_bytes(ptrdiff_t k) { return (size_t)panel_floats(k) * sizeof(uint16_t); }

// A panel of B from column j on. `floats`: room for it before it is rounded.
AVX512_BF16 static void make_half_panel(int flags, ptrdiff_t n, ptrdiff_t k, ptrdiff_t j, const float *b, ptrdiff_t ldb, float *floats,
                                        void *panel) {
    int transposed = (flags & T2V_B_TRANSPOSED) != 0;
    pack(transposed, n - j < panel_columns ? n - j : panel_columns, k, transposed ? b + j * ldb : b + j, ldb, floats);
    halve_panel(k, floats, panel);
}

size_t t2v_packed_bytes_bf16(ptrdiff_t n, ptrdiff_t k) { return (size_t)((n + panel_columns - 1) / panel_columns) * half_bytes(k); }

void t2v_pack_bf16(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, void *packed) {
    float *floats = t2v_thread_scratch((size_t)panel_floats(k) * sizeof(float));
    char *panel = packed;
    for (ptrdiff_t j = 0; j < n; j += panel_columns, panel += half_bytes(k)) make_half_panel(flags, n, k, j, b, ldb, floats, panel);
}

AVX512 void t2v_gemm_bf16(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const void *b, ptrdiff_t ldb,
                          float *c, ptrdiff_t ldc) {
    int is_packed = (flags & T2V_B_PACKED) != 0;
    ptrdiff_t stride = rounded_up(k, 32);
    float *floats = t2v_thread_scratch((size_t)panel_floats(k) * sizeof(float) + half_bytes(k) + (size_t)(m * stride) * sizeof(uint16_t));
    char *room = (char *)(floats + panel_floats(k));
    uint16_t *half_rows = (uint16_t *)(room + half_bytes(k));
    halve_rows((flags & T2V_A_TRANSPOSED) != 0, m, k, a, lda, half_rows, stride);
    const char *packed = b;
    for (ptrdiff_t j = 0; j < n; j += panel_columns, packed += half_bytes(k)) {
        if (!is_packed) make_half_panel(flags, n, k, j, b, ldb, floats, room);
        const void *panel = is_packed ? packed : room;
        for (ptrdiff_t i = 0; i < m; i += block_rows) {
            ptrdiff_t rows = m - i < block_rows ? m - i : block_rows;
            ask_for_block(c + j, ldc, i + rows, m);
            t2v_half_blocks[rows]((k + 1) / 2, (const uint32_t *)(half_rows + i * stride), stride / 2, panel, c + i * ldc + j, ldc,
                                  lanes(n - j), lanes(n - j - 16), (flags & T2V_ACCUMULATE) != 0);
        }
    }
}

AVX512_BF16 void t2v_gemm_lanes_bf16(ptrdiff_t m, ptrdiff_t n, const t2v_lanes *all, const float *a, ptrdiff_t lda, const float *b,
                                     ptrdiff_t ldb, float *c, ptrdiff_t ldc) {
    ptrdiff_t stride = half_start(all, all->count);
    size_t sum_bytes = (size_t)(lane_places(all) * block_rows * panel_columns) * sizeof(float);
    size_t float_bytes = (size_t)panel_floats(all->starts[all->count]) * sizeof(float);
    char *scratch = t2v_thread_scratch(sum_bytes + float_bytes + (size_t)((m + panel_columns) * stride) * sizeof(uint16_t));
    float *sums = (float *)scratch, *floats = (float *)(scratch + sum_bytes);
    uint16_t *half_rows = (uint16_t *)(scratch + sum_bytes + float_bytes), *panel = half_rows + m * stride;
    for (ptrdiff_t lane = 0; lane < all->count; lane++)
        halve_rows(1, m, lane_rows(all, lane), a + all->starts[lane] * lda, lda, half_rows + half_start(all, lane), stride);
    for (ptrdiff_t j = 0; j < n; j += panel_columns) {
        for (ptrdiff_t lane = 0; lane < all->count; lane++)
            make_half_panel(0, n, lane_rows(all, lane), j, b + all->starts[lane] * ldb, ldb, floats,
                            panel + half_start(all, lane) * panel_columns);
        for (ptrdiff_t i = 0; i < m; i += block_rows) {
            ptrdiff_t rows = m - i < block_rows ? m - i : block_rows;
            ask_for_block(c + j, ldc, i + rows, m);
            half_block_of_lanes(rows, all, half_rows + i * stride, stride, panel, sums, c + i * ldc + j, ldc, lanes(n - j),
                                lanes(n - j - 16));
        }
    }
}
