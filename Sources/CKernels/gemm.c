// Matrix products in float32 and bf16.
//
// B is packed into panels of 32 columns, zero-padded, which stay in the nearest caches while the rows of A pass by, 14 at a time: 28 vectors
// of sums stay in registers over the whole of k. Float32 rows of A are read where they lie; bf16 ones are rounded once.
#include "panels.h"
#include "t2v_kernels.h"

int t2v_has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

int t2v_has_avx512_bf16(void) { return t2v_has_avx512() && __builtin_cpu_supports("avx512bf16"); }

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

// R rows of A (element (i, p) at a[i * row_step + p * inner_step]) times a panel (k, 32).
#define DEFINE_BLOCK(R)                                                                                                                    \
    AVX512 static void block_##R(ptrdiff_t k, const float *a, ptrdiff_t row_step, ptrdiff_t inner_step, const float *panel, float *c,      \
                                 ptrdiff_t ldc, __mmask16 low, __mmask16 high, int accumulate) {                                           \
        LOAD_BLOCK(R)                                                                                                                      \
        for (ptrdiff_t p = 0; p < k; p++) {                                                                                                \
            __m512 b0 = _mm512_load_ps(panel), b1 = _mm512_load_ps(panel + 16);                                                           \
            panel += panel_columns;                                                                                                        \
            UNROLL for (int i = 0; i < R; i++) {                                                                                           \
                __m512 x = _mm512_set1_ps(a[i * row_step]);                                                                               \
                sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);                                                                             \
                sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);                                                                             \
            }                                                                                                                              \
            a += inner_step;                                                                                                               \
        }                                                                                                                                  \
        STORE_BLOCK(R)                                                                                                                     \
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
FOR_BLOCKS(DEFINE_BLOCK)
FOR_BLOCKS(DEFINE_HALF_BLOCK)

typedef void (*block_function)(ptrdiff_t, const float *, ptrdiff_t, ptrdiff_t, const float *, float *, ptrdiff_t, __mmask16, __mmask16, int);
#define NAME(R) block_##R,
#define HALF_NAME(R) half_block_##R,
static const block_function blocks[] = {0, FOR_BLOCKS(NAME)};
const t2v_half_block t2v_half_blocks[] = {0, FOR_BLOCKS(HALF_NAME)};

// Transposes up to 16 x 16: out[p * stride + j] = in[j * ld + p] for j < rows, p < depth; lanes j >= rows become 0.
AVX512 static void transpose(const float *in, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t depth, float *out, ptrdiff_t stride) {
    __m512 r[16];
    __mmask16 mask = lanes(depth);
    UNROLL for (int j = 0; j < 16; j++) r[j] = j < rows ? _mm512_maskz_loadu_ps(mask, in + j * ld) : _mm512_setzero_ps();
    transpose_16(r);
    for (ptrdiff_t p = 0; p < depth; p++) _mm512_storeu_ps(out + p * stride, r[p]);
}

// Columns of B as a panel (k, 32), zeros beyond `columns`.
AVX512 static void pack(int transposed, ptrdiff_t columns, ptrdiff_t k, const float *b, ptrdiff_t ldb, float *panel) {
    if (transposed) {
        for (ptrdiff_t p = 0; p < k; p += 16) {
            ptrdiff_t depth = k - p < 16 ? k - p : 16;
            transpose(b + p, ldb, columns, depth, panel + p * panel_columns, panel_columns);
            transpose(b + 16 * ldb + p, ldb, columns - 16, depth, panel + p * panel_columns + 16, panel_columns);
        }
        return;
    }
    __mmask16 low = lanes(columns), high = lanes(columns - 16);
    for (ptrdiff_t p = 0; p < k; p++) {
        _mm512_store_ps(panel + p * panel_columns, _mm512_maskz_loadu_ps(low, b + p * ldb));
        _mm512_store_ps(panel + p * panel_columns + 16, _mm512_maskz_loadu_ps(high, b + p * ldb + 16));
    }
}

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
AVX512_BF16 static void halve_rows(int transposed, ptrdiff_t m, ptrdiff_t k, const float *a, ptrdiff_t lda, uint16_t *out, ptrdiff_t stride) {
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

// Floats of a panel: transposing writes 16 rows at a time.
static ptrdiff_t panel_floats(ptrdiff_t k) { return rounded_up(k, 16) * panel_columns; }

// Bytes of a panel as the blocks read it.
static size_t panel_bytes(int flags, ptrdiff_t k) { return (size_t)panel_floats(k) * (flags & T2V_BF16 ? sizeof(uint16_t) : sizeof(float)); }

size_t t2v_packed_bytes(int flags, ptrdiff_t n, ptrdiff_t k) {
    return (size_t)((n + panel_columns - 1) / panel_columns) * panel_bytes(flags, k);
}

// A panel of B from column j on. `floats`: room for it before it is rounded.
AVX512 static void make_panel(int flags, ptrdiff_t n, ptrdiff_t k, ptrdiff_t j, const float *b, ptrdiff_t ldb, float *floats, void *panel) {
    int transposed = (flags & T2V_B_TRANSPOSED) != 0;
    ptrdiff_t columns = n - j < panel_columns ? n - j : panel_columns;
    const float *source = transposed ? b + j * ldb : b + j;
    if (!(flags & T2V_BF16)) {
        pack(transposed, columns, k, source, ldb, panel);
        return;
    }
    pack(transposed, columns, k, source, ldb, floats);
    halve_panel(k, floats, panel);
}

void t2v_pack(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, void *packed) {
    float *floats = t2v_thread_scratch((size_t)panel_floats(k) * sizeof(float));
    char *panel = packed;
    for (ptrdiff_t j = 0; j < n; j += panel_columns, panel += panel_bytes(flags, k)) make_panel(flags, n, k, j, b, ldb, floats, panel);
}

static size_t gemm_scratch(ptrdiff_t m, ptrdiff_t k, int flags) {
    size_t panel = (size_t)panel_floats(k) * sizeof(float);
    return flags & T2V_BF16 ? panel + panel / 2 + (size_t)(m * rounded_up(k, 32)) * sizeof(uint16_t) : panel;
}

AVX512 void t2v_gemm(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c,
                     ptrdiff_t ldc) {
    int a_transposed = (flags & T2V_A_TRANSPOSED) != 0, accumulate = (flags & T2V_ACCUMULATE) != 0, is_half = (flags & T2V_BF16) != 0;
    ptrdiff_t row_step = a_transposed ? 1 : lda, inner_step = a_transposed ? lda : 1, stride = rounded_up(k, 32);
    float *floats = t2v_thread_scratch(gemm_scratch(m, k, flags));
    void *room = is_half ? (void *)(floats + panel_floats(k)) : floats;
    uint16_t *half_rows = (uint16_t *)((char *)room + panel_bytes(flags, k));
    const char *packed = (const char *)b;
    if (is_half) halve_rows(a_transposed, m, k, a, lda, half_rows, stride);
    for (ptrdiff_t j = 0; j < n; j += panel_columns, packed += panel_bytes(flags, k)) {
        const void *panel = flags & T2V_B_PACKED ? (const void *)packed : room;
        if (!(flags & T2V_B_PACKED)) make_panel(flags, n, k, j, b, ldb, floats, room);
        __mmask16 low = lanes(n - j), high = lanes(n - j - 16);
        for (ptrdiff_t i = 0; i < m; i += block_rows) {
            ptrdiff_t rows = m - i < block_rows ? m - i : block_rows;
            float *block = c + i * ldc + j;
            ask_for_block(c + j, ldc, i + rows, m);
            if (is_half) {
                const uint32_t *pairs = (const uint32_t *)(half_rows + i * stride);
                t2v_half_blocks[rows]((k + 1) / 2, pairs, stride / 2, panel, block, ldc, low, high, accumulate);
            } else {
                blocks[rows](k, a + i * row_step, row_step, inner_step, panel, block, ldc, low, high, accumulate);
            }
        }
    }
}
