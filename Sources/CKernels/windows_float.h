// Convolutions over windows of three rows, for one width of vectors: two rows of C at a time, with four products instead of six (F(2, 3) of
// Winograd's minimal filtering; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015).
//
// Of rows d0 to d3 of the input and the windows x, y, z of the weights:
//   m1 = (d1 + d2) (x + z + y) / 2,   m2 = (d2 - d1) (x + z - y) / 2,
//   first row = (m1 + m2) + (d0 - d2) x,   second row = (m1 - m2) + (d3 - d1) z.
// A row without a neighbour is a first row: three products, as many as it takes by itself.
#include "panels.h"

enum {
    // First and second rows at a time: with the two vectors of a panel their sums fill the registers.
    block_tiles = block_rows / 2,
    // Sums of windows as they are packed: of m1, of m2, x and z.
    products = 4,
};

// sums[i] += an element of tile i, at v[i * step], times a row of a panel.
#define ADD_PRODUCTS(T, SUMS, V, PANEL)                                                                                                    \
    {                                                                                                                                      \
        vector b0 = load(PANEL), b1 = load(PANEL + WIDTH);                                                                                 \
        UNROLL for (int i = 0; i < T; i++) {                                                                                               \
            vector x = filled((V)[i * step]);                                                                                              \
            SUMS[i][0] = multiply_add(x, b0, SUMS[i][0]);                                                                                  \
            SUMS[i][1] = multiply_add(x, b1, SUMS[i][1]);                                                                                  \
        }                                                                                                                                  \
    }
// T tiles, (products, k) each with `step` floats from one to the next, times `products` panels. The rows of tile i begin at c[i].
#define DEFINE_TILES(T)                                                                                                                    \
    ISA static void tiles_##T(ptrdiff_t k, const float *v, ptrdiff_t step, const float *panel, float *const *c, ptrdiff_t ldc,             \
                              int are_pairs, ahead_of_steps ahead, part low, part high) {                                                  \
        vector first[T][2], second[T][2];                                                                                                  \
        ptrdiff_t size = panel_floats(k);                                                                                                  \
        UNROLL for (int i = 0; i < T; i++) first[i][0] = first[i][1] = second[i][0] = second[i][1] = zeros();                              \
        for (ptrdiff_t p = 0; p < k; p++, ahead.next += ahead.each) {                                                                      \
            const float *row = panel + p * panel_columns;                                                                                  \
            __builtin_prefetch(ahead.next, 0, 2);                                                                                          \
            ADD_PRODUCTS(T, first, v + p, row)                                                                                             \
            ADD_PRODUCTS(T, second, v + k + p, row + size)                                                                                 \
        }                                                                                                                                  \
        UNROLL for (int i = 0; i < T; i++)                                                                                                 \
            UNROLL for (int h = 0; h < 2; h++) {                                                                                           \
                vector m1 = first[i][h], m2 = second[i][h];                                                                                \
                first[i][h] = plus(m1, m2);                                                                                                \
                second[i][h] = minus(m1, m2);                                                                                              \
            }                                                                                                                              \
        v += 2 * k;                                                                                                                        \
        panel += 2 * size;                                                                                                                 \
        for (ptrdiff_t p = 0; p < k && !are_pairs; p++) ADD_PRODUCTS(T, first, v + p, panel + p * panel_columns)                           \
        for (ptrdiff_t p = 0; p < k && are_pairs; p++) {                                                                                   \
            const float *row = panel + p * panel_columns;                                                                                  \
            ADD_PRODUCTS(T, first, v + p, row)                                                                                             \
            ADD_PRODUCTS(T, second, v + k + p, row + size)                                                                                 \
        }                                                                                                                                  \
        UNROLL for (int i = 0; i < T; i++) {                                                                                               \
            store_part(c[i], low, first[i][0]);                                                                                            \
            store_part(c[i] + WIDTH, high, first[i][1]);                                                                                   \
            if (!are_pairs) continue;                                                                                                      \
            store_part(c[i] + ldc, low, second[i][0]);                                                                                     \
            store_part(c[i] + ldc + WIDTH, high, second[i][1]);                                                                            \
        }                                                                                                                                  \
    }
#if WIDTH == 16
#define FOR_TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#define FOR_TILES(X) X(1) X(2) X(3)
#endif
FOR_TILES(DEFINE_TILES)
typedef void (*tiles_function)(ptrdiff_t, const float *, ptrdiff_t, const float *, float *const *, ptrdiff_t, int, ahead_of_steps, part,
                               part);
#define TILES_NAME(T) tiles_##T,
static const tiles_function tiles_of[] = {0, FOR_TILES(TILES_NAME)};

size_t NAMED(t2v_packed_windows_bytes)(ptrdiff_t n, ptrdiff_t k) {
    return (size_t)((n + panel_columns - 1) / panel_columns * products * panel_floats(k)) * sizeof(float);
}

ISA void NAMED(t2v_pack_windows)(ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, float *packed) {
    ptrdiff_t size = panel_floats(k);
    vector half = filled(0.5f);
    for (ptrdiff_t j = 0; j < n; j += panel_columns, packed += products * size) {
        const float *windows = b + j * ldb;
        float *m1 = packed, *m2 = m1 + size, *x = m2 + size, *z = x + size;
        ptrdiff_t columns = n - j < panel_columns ? n - j : panel_columns;
        pack(1, columns, k, windows, ldb, x);
        pack(1, columns, k, windows + k, ldb, m1);
        pack(1, columns, k, windows + 2 * k, ldb, z);
        for (ptrdiff_t p = 0; p < k * panel_columns; p += WIDTH) {
            vector y = load(m1 + p), outer = plus(load(x + p), load(z + p));
            store(m1 + p, half * plus(outer, y));
            store(m2 + p, half * minus(outer, y));
        }
    }
}

// A convolution; which rows of C are a tile's first ones.
typedef struct {
    ptrdiff_t n, k, ldc;
    const float *below, *packed;
    const int32_t *starts;
    float *c;
    // Room for tiles of the input: (tall, products, k), `step` floats from one to the next.
    float *tiles;
    ptrdiff_t tall, step;
} convolution;

ISA static void transform(const convolution *w, const int32_t *rows, ptrdiff_t count, int are_pairs) {
    ptrdiff_t k = w->k;
    for (ptrdiff_t i = 0; i < count; i++) {
        const float *d = w->below + w->starts[rows[i]] * k;
        float *v = w->tiles + i * w->step;
        for (ptrdiff_t p = 0; p < k; p += WIDTH) {
            part some = first_lanes(k - p);
            vector d0 = load_part(d + p, some), d1 = load_part(d + k + p, some), d2 = load_part(d + 2 * k + p, some);
            store_part(v + p, some, plus(d1, d2));
            store_part(v + k + p, some, minus(d2, d1));
            store_part(v + 2 * k + p, some, minus(d0, d2));
            if (are_pairs) store_part(v + 3 * k + p, some, minus(load_part(d + 3 * k + p, some), d1));
        }
    }
}

// `rows`: the first rows of `count` tiles, which are pairs or single rows.
ISA static void convolve(const convolution *w, const int32_t *rows, ptrdiff_t count, int are_pairs) {
    ptrdiff_t size = products * panel_floats(w->k);
    for (ptrdiff_t i = 0; i < count; i += w->tall) {
        ptrdiff_t tall = count - i < w->tall ? count - i : w->tall;
        transform(w, rows + i, tall, are_pairs);
        const float *panel = w->packed;
        for (ptrdiff_t j = 0; j < w->n; j += panel_columns, panel += size) {
            part low = first_lanes(w->n - j), high = first_lanes(w->n - j - WIDTH);
            const float *next = j + panel_columns < w->n ? panel + size : panel;
            ahead_of_steps ahead = spread_over(next, size, (tall + block_tiles - 1) / block_tiles * w->k);
            for (ptrdiff_t t = 0; t < tall; t += block_tiles) {
                ptrdiff_t height = tall - t < block_tiles ? tall - t : block_tiles;
                float *c[block_tiles];
                for (ptrdiff_t r = 0; r < height; r++) c[r] = w->c + rows[i + t + r] * w->ldc + j;
                for (ptrdiff_t r = 0; r < height; r++) ask_for_block(c[r], w->ldc, 0, are_pairs ? 2 : 1);
                tiles_of[height](w->k, w->tiles + t * w->step, w->step, panel, c, w->ldc, are_pairs, ahead, low, high);
                ahead.next += ahead.each * w->k;
            }
        }
    }
}

ptrdiff_t NAMED(t2v_convolve)(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *below, const int32_t *starts, const float *b,
                              ptrdiff_t ldb, float *c, ptrdiff_t ldc) {
    int is_packed = (flags & T2V_B_PACKED) != 0;
    // Tiles stay in the second-level cache (512 KB) while all panels pass by. Their distance is not a power of two, with which they would
    // compete for the same places of the first-level cache.
    ptrdiff_t step = rounded_up(products * k, 16) + 16, tall = rounded_up((1 << 17) / step + 1, block_tiles);
    if (tall > m) tall = m;
    size_t list = (size_t)rounded_up(m * (ptrdiff_t)sizeof(int32_t), 64), room = (size_t)(tall * step) * sizeof(float);
    char *scratch = t2v_thread_scratch(list + room + (is_packed ? 0 : NAMED(t2v_packed_windows_bytes)(n, k)));
    int32_t *rows = (int32_t *)scratch;
    float *made = (float *)(scratch + list + room);
    convolution w = {n, k, ldc, below, is_packed ? b : made, starts, c, (float *)(scratch + list), tall, step};
    if (!is_packed) NAMED(t2v_pack_windows)(n, k, b, ldb, made);
    ptrdiff_t made_products = 0;
    for (int are_pairs = 1; are_pairs >= 0; are_pairs--) {
        ptrdiff_t count = 0;
        for (ptrdiff_t row = 0, next; row < m; row = next) {
            int is_pair = row + 1 < m && starts[row + 1] == starts[row] + 1;
            next = row + 1 + is_pair;
            if (is_pair == are_pairs) rows[count++] = (int32_t)row;
        }
        convolve(&w, rows, count, are_pairs);
        made_products += count * (are_pairs ? products : products - 1);
    }
    return made_products;
}
