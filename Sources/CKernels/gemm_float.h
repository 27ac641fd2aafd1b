// Matrix products in float32, for one width of vectors.
//
// B is packed into panels, zero-padded; a block of rows of A is read in place, and its sums stay in registers over the whole of k.
#include "lanes.h"
#include "panels.h"

// R rows of A (element (i, p) at a[i * row_step + p * inner_step]) times a panel (k, panel_columns).
#define DEFINE_BLOCK(R)                                                                                                                    \
    ISA static void block_##R(ptrdiff_t k, const float *a, ptrdiff_t row_step, ptrdiff_t inner_step, const float *panel, float *c,         \
                              ptrdiff_t ldc, part low, part high, ahead_of_steps ahead, int accumulate) {                                  \
        vector sum[R][2];                                                                                                                  \
        UNROLL for (int i = 0; i < R; i++) {                                                                                               \
            sum[i][0] = accumulate ? load_part(c + i * ldc, low) : zeros();                                                                \
            sum[i][1] = accumulate ? load_part(c + i * ldc + WIDTH, high) : zeros();                                                       \
        }                                                                                                                                  \
        for (ptrdiff_t p = 0; p < k; p++, ahead.next += ahead.each) {                                                                      \
            __builtin_prefetch(ahead.next, 0, 2);                                                                                          \
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
typedef void (*block_function)(ptrdiff_t, const float *, ptrdiff_t, ptrdiff_t, const float *, float *, ptrdiff_t, part, part,
                               ahead_of_steps, int);
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

// Rows of A^T and depth of k at a time: with the panel of B that passes they stay in a first-level cache of 32 KB.
enum {
    chunk_vectors = WIDTH == 16 ? 2 : 3,
    chunk_stride = chunk_vectors * WIDTH,
    chunk_rows = chunk_stride / block_rows * block_rows,
    chunk_depth = WIDTH == 16 ? 112 : 192,
};

// Rows of A^T from `i` on, `depth` deep.
ISA static void copy_chunk(ptrdiff_t m, ptrdiff_t i, ptrdiff_t depth, const float *a, ptrdiff_t lda, float *chunk) {
    for (ptrdiff_t q = 0; q < depth; q++)
        UNROLL for (int v = 0; v < chunk_vectors; v++) {
            vector some = load_part(a + q * lda + i + v * WIDTH, first_lanes(m - i - v * WIDTH));
            store(chunk + q * chunk_stride + v * WIDTH, some);
        }
}

// C = A^T B. A row of A^T is a column of A, with lda floats between its elements: read in place, it would take a cache line for each, again
// for every panel of B. So a chunk of A is copied, and all panels pass by it.
ISA static void multiply_transposed(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b,
                                    ptrdiff_t ldb, float *c, ptrdiff_t ldc) {
    int is_packed = (flags & T2V_B_PACKED) != 0, b_transposed = (flags & T2V_B_TRANSPOSED) != 0;
    ptrdiff_t chunk_floats = chunk_stride * chunk_depth, room = is_packed ? 0 : rounded_up(n, panel_columns) * chunk_depth;
    // From one column of a panel to the next.
    ptrdiff_t step = is_packed ? panel_floats(k) / panel_columns : chunk_depth;
    float *chunk = t2v_thread_scratch((size_t)(chunk_floats + room) * sizeof(float)), *made = chunk + chunk_floats;
    // Without any depth C becomes zero.
    for (ptrdiff_t p = 0; p == 0 || p < k; p += chunk_depth) {
        ptrdiff_t depth = k - p < chunk_depth ? k - p : chunk_depth;
        // A sum that continues from C has the bits of one that was never interrupted.
        int accumulate = p > 0 || (flags & T2V_ACCUMULATE) != 0;
        const float *panels = is_packed ? b + p * panel_columns : made;
        for (ptrdiff_t j = 0; j < n && !is_packed; j += panel_columns)
            make_panel(flags, n, depth, j, b + (b_transposed ? p : p * ldb), ldb, made + j * step);
        for (ptrdiff_t i = 0; i < m; i += chunk_rows) {
            ptrdiff_t rows = m - i < chunk_rows ? m - i : chunk_rows;
            copy_chunk(m, i, depth, a + p * lda, lda, chunk);
            for (ptrdiff_t j = 0; j < n; j += panel_columns) {
                part low = first_lanes(n - j), high = first_lanes(n - j - WIDTH);
                for (ptrdiff_t r = 0; r < rows; r += block_rows) {
                    ptrdiff_t height = rows - r < block_rows ? rows - r : block_rows;
                    float *target = c + (i + r) * ldc + j;
                    ask_for_block(target + panel_columns, ldc, 0, height);
                    blocks[height](depth, chunk + r, 1, chunk_stride, panels + j * step, target, ldc, low, high,
                                   nothing_ahead(chunk), accumulate);
                }
            }
        }
    }
}

// C = A^T B, summed by lane: the sums of a block of C stay in the nearest cache until all lanes are added.
ISA void NAMED(t2v_gemm_lanes)(ptrdiff_t m, ptrdiff_t n, const t2v_lanes *lanes, const float *a, ptrdiff_t lda, const float *b,
                               ptrdiff_t ldb, float *c, ptrdiff_t ldc) {
    enum { block = block_rows * panel_columns };
    ptrdiff_t k = lanes->starts[lanes->count], places = lane_places(lanes);
    ptrdiff_t panels = (n + panel_columns - 1) / panel_columns, size = panel_floats(k);
    float *chunk = t2v_thread_scratch((size_t)(chunk_stride * k + panels * size + places * block) * sizeof(float));
    float *made = chunk + chunk_stride * k, *sums = made + panels * size;
    part all = first_lanes(WIDTH);
    for (ptrdiff_t j = 0; j < panels; j++) make_panel(0, n, k, j * panel_columns, b, ldb, made + j * size);
    for (ptrdiff_t i = 0; i < m; i += chunk_rows) {
        ptrdiff_t rows = m - i < chunk_rows ? m - i : chunk_rows;
        copy_chunk(m, i, k, a, lda, chunk);
        for (ptrdiff_t j = 0; j < n; j += panel_columns) {
            const float *panel = made + j / panel_columns * size;
            part low = first_lanes(n - j), high = first_lanes(n - j - WIDTH);
            for (ptrdiff_t r = 0; r < rows; r += block_rows) {
                ptrdiff_t height = rows - r < block_rows ? rows - r : block_rows;
                float *target = c + (i + r) * ldc + j, *last = sums - block;
                ask_for_block(target, ldc, 0, height);
                for (ptrdiff_t lane = 0; lane < lanes->count; lane++) {
                    ptrdiff_t first = lanes->starts[lane];
                    last += block;
                    blocks[height](lane_rows(lanes, lane), chunk + first * chunk_stride + r, 1, chunk_stride,
                                   panel + first * panel_columns, last, panel_columns, all, all, nothing_ahead(chunk), 0);
                    last = merge_lanes(last, block, lanes->merges[lane]);
                }
                for (ptrdiff_t row = 0; row < height; row++) {
                    store_part(target + row * ldc, low, load(last + row * panel_columns));
                    store_part(target + row * ldc + WIDTH, high, load(last + row * panel_columns + WIDTH));
                }
            }
        }
    }
}

// Rows of A (tall, k) times one panel.
ISA static void multiply_panel(ptrdiff_t tall, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *panel, const float *following,
                               float *c, ptrdiff_t ldc, part low, part high, int accumulate) {
    ahead_of_steps ahead = spread_over(following, panel_floats(k), (tall + block_rows - 1) / block_rows * k);
    for (ptrdiff_t i = 0; i < tall; i += block_rows) {
        ptrdiff_t rows = tall - i < block_rows ? tall - i : block_rows;
        ask_for_block(c, ldc, i + rows, tall);
        blocks[rows](k, a + i * lda, lda, 1, panel, c + i * ldc, ldc, low, high, ahead, accumulate);
        ahead.next += ahead.each * k;
    }
}

ISA void NAMED(t2v_gemm)(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb,
                         float *c, ptrdiff_t ldc) {
    if (m == 0) return;
    if (flags & T2V_A_TRANSPOSED) {
        multiply_transposed(flags, m, n, k, a, lda, b, ldb, c, ldc);
        return;
    }
    int is_packed = (flags & T2V_B_PACKED) != 0, accumulate = (flags & T2V_ACCUMULATE) != 0;
    float *made = is_packed ? 0 : t2v_thread_scratch((size_t)panel_floats(k) * sizeof(float));
    // Rows of A that stay in the second-level cache (512 KB) while all panels pass by; a panel that must be made first passes only once.
    ptrdiff_t fitting = is_packed ? rounded_up((1 << 17) / (k + 1) + 1, block_rows) : m, parts = (m + fitting - 1) / fitting;
    ptrdiff_t tall = rounded_up((m + parts - 1) / parts, block_rows);
    for (ptrdiff_t i = 0; i < m; i += tall) {
        const float *panel = is_packed ? b : made;
        for (ptrdiff_t j = 0; j < n; j += panel_columns) {
            if (!is_packed) make_panel(flags, n, k, j, b, ldb, made);
            // A panel that is still to be made cannot be prefetched.
            const float *following = is_packed && j + panel_columns < n ? panel + panel_floats(k) : panel;
            multiply_panel(m - i < tall ? m - i : tall, k, a + i * lda, lda, panel, following, c + i * ldc + j, ldc, first_lanes(n - j),
                           first_lanes(n - j - WIDTH), accumulate);
            panel = following;
        }
    }
}
