// Matrix products in float32, for one width of vectors.
//
// B is packed into panels, zero-padded; a block of rows of A is read in place, and its sums stay in registers over the whole of k.
#include "panels.h"

// R rows of A (element (i, p) at a[i * row_step + p * inner_step]) times a panel (k, panel_columns).
#define DEFINE_BLOCK(R)                                                                                                                    \
    ISA static void block_##R(ptrdiff_t k, const float *a, ptrdiff_t row_step, ptrdiff_t inner_step, const float *panel, float *c,         \
                              ptrdiff_t ldc, part low, part high, int accumulate) {                                                        \
        vector sum[R][2];                                                                                                                  \
        UNROLL for (int i = 0; i < R; i++) {                                                                                               \
            sum[i][0] = accumulate ? load_part(c + i * ldc, low) : zeros();                                                                \
            sum[i][1] = accumulate ? load_part(c + i * ldc + WIDTH, high) : zeros();                                                       \
        }                                                                                                                                  \
        for (ptrdiff_t p = 0; p < k; p++) {                                                                                                \
            vector b0 = load(panel), b1 = load(panel + WIDTH);                                                                             \
            panel += panel_columns;                                                                                                        \
            UNROLL for (int i = 0; i < R; i++) {                                                                                           \
                vector x = filled(a[i * row_step]);                                                                                        \
                sum[i][0] = multiply_add(x, b0, sum[i][0]);                                                                                \
                sum[i][1] = multiply_add(x, b1, sum[i][1]);                                                                                \
            }                                                                                                                              \
            a += inner_step;                                                                                                               \
        }                                                                                                                                  \
        UNROLL for (int i = 0; i < R; i++) {                                                                                               \
            store_part(c + i * ldc, low, sum[i][0]);                                                                                       \
            store_part(c + i * ldc + WIDTH, high, sum[i][1]);                                                                              \
        }                                                                                                                                  \
    }
#if WIDTH == 16
#define FOR_BLOCKS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define FOR_BLOCKS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
FOR_BLOCKS(DEFINE_BLOCK)
typedef void (*block_function)(ptrdiff_t, const float *, ptrdiff_t, ptrdiff_t, const float *, float *, ptrdiff_t, part, part, int);
#define BLOCK_NAME(R) block_##R,
static const block_function blocks[] = {0, FOR_BLOCKS(BLOCK_NAME)};

ISA static void make_panel(int flags, ptrdiff_t n, ptrdiff_t k, ptrdiff_t j, const float *b, ptrdiff_t ldb, float *panel) {
    int transposed = (flags & T2V_B_TRANSPOSED) != 0;
    pack(transposed, n - j < panel_columns ? n - j : panel_columns, k, transposed ? b + j * ldb : b + j, ldb, panel);
}

size_t NAMED(t2v_packed_bytes)(ptrdiff_t n, ptrdiff_t k) {
    return (size_t)((n + panel_columns - 1) / panel_columns * panel_floats(k)) * sizeof(float);
}

void NAMED(t2v_pack)(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, float *packed) {
    for (ptrdiff_t j = 0; j < n; j += panel_columns, packed += panel_floats(k)) make_panel(flags, n, k, j, b, ldb, packed);
}

ISA void NAMED(t2v_gemm)(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb,
                         float *c, ptrdiff_t ldc) {
    int a_transposed = (flags & T2V_A_TRANSPOSED) != 0, accumulate = (flags & T2V_ACCUMULATE) != 0, is_packed = (flags & T2V_B_PACKED) != 0;
    ptrdiff_t row_step = a_transposed ? 1 : lda, inner_step = a_transposed ? lda : 1;
    float *room = is_packed ? 0 : t2v_thread_scratch((size_t)panel_floats(k) * sizeof(float));
    const float *packed = b;
    for (ptrdiff_t j = 0; j < n; j += panel_columns, packed += panel_floats(k)) {
        if (!is_packed) make_panel(flags, n, k, j, b, ldb, room);
        const float *panel = is_packed ? packed : room;
        part low = first_lanes(n - j), high = first_lanes(n - j - WIDTH);
        for (ptrdiff_t i = 0; i < m; i += block_rows) {
            ptrdiff_t rows = m - i < block_rows ? m - i : block_rows;
            ask_for_block(c + j, ldc, i + rows, m);
            blocks[rows](k, a + i * row_step, row_step, inner_step, panel, c + i * ldc + j, ldc, low, high, accumulate);
        }
    }
}
