// Products through the winners of a Maxout layer in bf16, sums in float32.
//
// Input gradients take two outputs at a time: weights of a pair of outputs are adjacent, once for every pair of pieces that can win, so
// that one instruction adds both. Weight gradients are dense: two of three gradients are zeros there, but a block of sums stays in
// registers while all rows pass, which would not be possible with each row's own winners.
#define WIDTH 16
#include "half.h"
#include "winners.h"

enum {
    tile_pairs = 8,
    tile_columns = 96,
    tile_vectors = tile_columns / 16,
    // Combinations of pieces in a tile that fits the first-level cache.
    tile_combinations = 72,
    // Rows of a weight gradient that are multiplied at a time: their gradients, for all pieces, stay in the second-level cache.
    depth_block = 512,
};

// Pairs of outputs in a tile.
static ptrdiff_t pairs_of_tile(const t2v_winners *w) {
    ptrdiff_t pairs = tile_combinations / (w->pieces * w->pieces);
    return pairs < 1 ? 1 : pairs > tile_pairs ? tile_pairs : pairs;
}

// Weights of a tile: (pairs, P, P, 96) pairs of bf16, zeros beyond `length` columns and beyond the last output.
AVX512_BF16 static void pack_pairs(const t2v_winners *w, const float *weights, ptrdiff_t first, ptrdiff_t pairs, ptrdiff_t length,
                                   __m512i *second, uint32_t *pack) {
    ptrdiff_t pieces = w->pieces, step = w->outputs * w->weight_stride;
    for (ptrdiff_t q = 0; q < pairs; q++) {
        const float *even = weights + (first + 2 * q) * w->weight_stride, *odd = even + w->weight_stride;
        int has_odd = first + 2 * q + 1 < w->outputs;
        for (ptrdiff_t k = 0; k < length; k += 16) {
            __mmask16 mask = lanes(length - k);
            for (ptrdiff_t p = 0; p < pieces; p++) {
                __m512 value = has_odd ? _mm512_maskz_loadu_ps(mask, odd + p * step + k) : _mm512_setzero_ps();
                second[p] = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(value)), 16);
            }
            uint32_t *target = pack + q * pieces * pieces * tile_columns + k;
            for (ptrdiff_t p = 0; p < pieces; p++) {
                __m512 value = _mm512_maskz_loadu_ps(mask, even + p * step + k);
                __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(value));
                for (ptrdiff_t r = 0; r < pieces; r++, target += tile_columns)
                    _mm512_store_si512(target, _mm512_or_si512(low, second[r]));
            }
        }
    }
}

// The lanes of vector v of V: all of them, except that the last vector has those of `last`.
#define LANES(V) (v == V - 1 ? last : 0xffff)
// The numbers of vectors that a tile can have.
#define FOR_TILES(X) X(1) X(2) X(3) X(4) X(5) X(6)

// What one row adds in a tile: gradients of pairs, and where their weights begin.
typedef struct {
    const uint32_t *gradients;
    const int32_t *places;
    float *target;
} pair_row;

#define DEFINE_ADD(V)                                                                                                                      \
    AVX512_BF16 static inline void add_one_##V(pair_row r, ptrdiff_t pairs, const uint32_t *pack, __mmask16 last) {                        \
        __m512 a[V];                                                                                                                       \
        UNROLL for (int v = 0; v < V; v++) a[v] = _mm512_maskz_loadu_ps(LANES(V), r.target + 16 * v);                                     \
        for (ptrdiff_t q = 0; q < pairs; q++) {                                                                                            \
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)r.gradients[q]);                                                                \
            const uint32_t *source = pack + r.places[q];                                                                                   \
            UNROLL for (int v = 0; v < V; v++) a[v] = _mm512_dpbf16_ps(a[v], x, (__m512bh)_mm512_load_si512(source + 16 * v));             \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) _mm512_mask_storeu_ps(r.target + 16 * v, LANES(V), a[v]);                                       \
    }                                                                                                                                      \
    AVX512_BF16 static inline void add_two_##V(pair_row r, pair_row s, ptrdiff_t pairs, const uint32_t *pack, __mmask16 last) {            \
        __m512 a[V], b[V];                                                                                                                 \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            a[v] = _mm512_maskz_loadu_ps(LANES(V), r.target + 16 * v);                                                                    \
            b[v] = _mm512_maskz_loadu_ps(LANES(V), s.target + 16 * v);                                                                    \
        }                                                                                                                                  \
        for (ptrdiff_t q = 0; q < pairs; q++) {                                                                                            \
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)r.gradients[q]), y = (__m512bh)_mm512_set1_epi32((int)s.gradients[q]);           \
            const uint32_t *one = pack + r.places[q], *two = pack + s.places[q];                                                           \
            UNROLL for (int v = 0; v < V; v++) {                                                                                           \
                a[v] = _mm512_dpbf16_ps(a[v], x, (__m512bh)_mm512_load_si512(one + 16 * v));                                               \
                b[v] = _mm512_dpbf16_ps(b[v], y, (__m512bh)_mm512_load_si512(two + 16 * v));                                               \
            }                                                                                                                              \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            _mm512_mask_storeu_ps(r.target + 16 * v, LANES(V), a[v]);                                                                     \
            _mm512_mask_storeu_ps(s.target + 16 * v, LANES(V), b[v]);                                                                     \
        }                                                                                                                                  \
    }                                                                                                                                      \
    /* All rows of a tile whose `length` columns begin at d_input. */                                                                      \
    AVX512_BF16 static void add_rows_##V(const t2v_winners *w, ptrdiff_t pairs, ptrdiff_t length, const uint32_t *gradients,               \
                                         ptrdiff_t stride, const int32_t *at, const uint32_t *pack, float *d_input, t2v_ahead *ahead) {    \
        __mmask16 last = lanes(length - 16 * (V - 1));                                                                                     \
        PAIR_ROWS(                                                                                                                         \
            pair_row, ((pair_row){gradients + row * stride, at + row * tile_pairs, d_input + input_of(w, row)}),                           \
            add_two_##V(open, next, pairs, pack, last), add_one_##V(open, pairs, pack, last));                                             \
    }
FOR_TILES(DEFINE_ADD)
typedef void (*add_rows_function)(const t2v_winners *, ptrdiff_t, ptrdiff_t, const uint32_t *, ptrdiff_t, const int32_t *, const uint32_t *,
                                  float *, t2v_ahead *);
#define ADD_ROWS_NAME(V) add_rows_##V,
static const add_rows_function add_rows[] = {0, FOR_TILES(ADD_ROWS_NAME)};

// Columns of the tile that begins at `column`.
static ptrdiff_t tile_length(const t2v_winners *w, ptrdiff_t column) {
    return w->inputs - column < tile_columns ? w->inputs - column : tile_columns;
}

// Where the weights of a row's pairs begin in a packed tile: ((pair * P + piece of the first) * P + piece of the second) * 96.
AVX512 static void place_pairs(const t2v_winners *w, ptrdiff_t first, ptrdiff_t count, int32_t *at) {
    int step = tile_columns * (int)w->pieces, square = step * (int)w->pieces;
    __m256i factors = _mm256_set1_epi32(tile_columns << 16 | step);
    __m256i pair = _mm256_mullo_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set1_epi32(square));
    for (ptrdiff_t row = 0; row < w->rows; row++) {
        __m256i pieces = _mm512_cvtepi32_epi16(load_bytes(w->won + row * w->outputs + first, count));
        _mm256_store_si256((__m256i *)(at + row * tile_pairs), _mm256_add_epi32(pair, _mm256_madd_epi16(pieces, factors)));
    }
}

AVX512_BF16 void t2v_winners_input_gradient_bf16(const t2v_winners *w, const float *weights, float *d_input) {
    ptrdiff_t stride = rounded_up(w->outputs, 32), pieces = w->pieces, per_tile = pairs_of_tile(w);
    size_t pack_bytes = (size_t)(per_tile * pieces * pieces * tile_columns) * 4, gradient_bytes = (size_t)(w->rows * stride) * 2;
    size_t place_bytes = (size_t)(w->rows * tile_pairs) * 4, second_bytes = (size_t)pieces * 64;
    size_t line_bytes = (size_t)(pieces * 2 * per_tile * tile_vectors) * sizeof(float *);
    char *scratch = t2v_thread_scratch(pack_bytes + gradient_bytes + place_bytes + second_bytes + line_bytes);
    uint32_t *pack = (uint32_t *)scratch;
    uint16_t *gradients = (uint16_t *)(scratch + pack_bytes);
    __m512i *second = (__m512i *)(scratch + pack_bytes + gradient_bytes);
    int32_t *at = (int32_t *)(second + pieces);
    t2v_ahead ahead = {(const float **)(scratch + pack_bytes + gradient_bytes + second_bytes + place_bytes), 0, 0, 0};
    if (w->rows == 0) return;
    for (ptrdiff_t row = 0; row < w->rows; row++)
        for (ptrdiff_t o = 0; o < stride; o += 16)
            store_half(gradients + row * stride + o, _mm512_maskz_loadu_ps(lanes(w->outputs - o), w->gradients + row * w->outputs + o));
    for (ptrdiff_t first = 0; first < w->outputs; first += 2 * per_tile) {
        ptrdiff_t count = w->outputs - first < 2 * per_tile ? w->outputs - first : 2 * per_tile, pairs = (count + 1) / 2;
        place_pairs(w, first, count, at);
        for (ptrdiff_t column = 0; column < w->inputs; column += tile_columns) {
            ptrdiff_t length = tile_length(w, column), next = column + length < w->inputs ? column + length : 0;
            pack_pairs(w, weights + column, first, pairs, length, second, pack);
            ask_for_weights(w, weights, next ? first : first + count, count, next, tile_length(w, next), &ahead);
            ahead_spread(&ahead, w->rows);
            add_rows[(length + 15) / 16](
                w, pairs, length, (const uint32_t *)(gradients + first), stride / 2, at, pack, d_input + column, &ahead);
        }
    }
}

// Gradients of all pieces of some rows, transposed and rounded: (P * O, rows), `stride` apart, zeros where another piece won and up to a
// multiple of 32 rows.
AVX512_BF16 static void route_rows(const t2v_winners *w, ptrdiff_t row0, ptrdiff_t rows, uint16_t *out, ptrdiff_t stride) {
    for (ptrdiff_t o = 0; o < w->outputs; o += 16) {
        ptrdiff_t count = w->outputs - o < 16 ? w->outputs - o : 16;
        for (ptrdiff_t r = 0; r < rounded_up(rows, 32); r += 16) {
            __m512i piece[16];
            __m512 gradient[16];
            UNROLL for (int j = 0; j < 16; j++) {
                ptrdiff_t at = (row0 + r + j) * w->outputs + o, some = r + j < rows ? count : 0;
                gradient[j] = some ? _mm512_maskz_loadu_ps(lanes(some), w->gradients + at) : _mm512_setzero_ps();
                piece[j] = some ? load_bytes(w->won + at, some) : _mm512_setzero_si512();
            }
            for (ptrdiff_t p = 0; p < w->pieces; p++) {
                __m512 square[16];
                __m512i wanted = _mm512_set1_epi32((int)p);
                UNROLL for (int j = 0; j < 16; j++) square[j] = _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(piece[j], wanted), gradient[j]);
                transpose_square(square);
                for (ptrdiff_t j = 0; j < count; j++) store_half(out + (p * w->outputs + o + j) * stride + r, square[j]);
            }
        }
    }
}

// 32 columns of some rows' inputs as a panel of pairs (depth / 2, 32, 2), zeros beyond the last column and the last row.
AVX512_BF16 static void pack_inputs(const t2v_winners *w, const float *input, ptrdiff_t row0, ptrdiff_t rows, ptrdiff_t columns,
                                    uint16_t *panel) {
    __mmask16 low = lanes(columns), high = lanes(columns - 16);
    for (ptrdiff_t r = 0; r < rows; r += 2, panel += 2 * panel_columns) {
        const float *one = input + input_of(w, row0 + r), *two = input + input_of(w, row0 + (r + 1 < rows ? r + 1 : r));
        __mmask16 has_two = r + 1 < rows ? 0xffff : 0;
        __m512i pairs = pairs_of(_mm512_maskz_loadu_ps(low, one), _mm512_maskz_loadu_ps(low & has_two, two));
        _mm512_store_si512(panel, pairs);
        pairs = pairs_of(_mm512_maskz_loadu_ps(high, one + 16), _mm512_maskz_loadu_ps(high & has_two, two + 16));
        _mm512_store_si512(panel + panel_columns, pairs);
    }
}

AVX512_BF16 static void weight_gradient_of_lanes(const t2v_winners *w, const float *input, float *d_weights) {
    const t2v_lanes *all = w->lanes;
    ptrdiff_t stride = half_start(all, all->count), wide = w->pieces * w->outputs;
    size_t sum_bytes = (size_t)(lane_places(all) * block_rows * panel_columns) * sizeof(float);
    char *scratch = t2v_thread_scratch(sum_bytes + (size_t)((wide + panel_columns) * stride) * sizeof(uint16_t));
    float *sums = (float *)scratch;
    uint16_t *routed = (uint16_t *)(scratch + sum_bytes), *panel = routed + wide * stride;
    for (ptrdiff_t lane = 0; lane < all->count; lane++)
        route_rows(w, all->starts[lane], lane_rows(all, lane), routed + half_start(all, lane), stride);
    for (ptrdiff_t column = 0; column < w->inputs; column += panel_columns) {
        ptrdiff_t columns = w->inputs - column < panel_columns ? w->inputs - column : panel_columns;
        for (ptrdiff_t lane = 0; lane < all->count; lane++)
            pack_inputs(w, input + column, all->starts[lane], lane_rows(all, lane), columns,
                        panel + half_start(all, lane) * panel_columns);
        for (ptrdiff_t i = 0; i < wide; i += block_rows) {
            ptrdiff_t some = wide - i < block_rows ? wide - i : block_rows;
            ask_for_block(d_weights + column, w->weight_stride, i + some, wide);
            half_block_of_lanes(some, all, routed + i * stride, stride, panel, sums, d_weights + i * w->weight_stride + column,
                                w->weight_stride, lanes(columns), lanes(columns - 16));
        }
    }
}

AVX512_BF16 void t2v_winners_weight_gradient_bf16(const t2v_winners *w, const float *input, float *d_weights) {
    if (w->lanes) return weight_gradient_of_lanes(w, input, d_weights);
    ptrdiff_t stride = rounded_up(w->rows < depth_block ? w->rows : depth_block, 32), wide = w->pieces * w->outputs;
    uint16_t *routed = t2v_thread_scratch((size_t)((wide + panel_columns) * stride) * sizeof(uint16_t));
    uint16_t *panel = routed + wide * stride;
    for (ptrdiff_t row0 = 0; row0 < w->rows; row0 += depth_block) {
        ptrdiff_t rows = w->rows - row0 < depth_block ? w->rows - row0 : depth_block;
        route_rows(w, row0, rows, routed, stride);
        for (ptrdiff_t column = 0; column < w->inputs; column += panel_columns) {
            ptrdiff_t columns = w->inputs - column < panel_columns ? w->inputs - column : panel_columns;
            pack_inputs(w, input + column, row0, rows, columns, panel);
            for (ptrdiff_t i = 0; i < wide; i += block_rows) {
                ptrdiff_t some = wide - i < block_rows ? wide - i : block_rows;
                ask_for_block(d_weights + column, w->weight_stride, i + some, wide);
                t2v_half_blocks[some]((rows + 1) / 2, (const uint32_t *)(routed + i * stride), stride / 2, panel,
                                      d_weights + i * w->weight_stride + column, w->weight_stride, lanes(columns), lanes(columns - 16),
                                      row0 > 0);
            }
        }
    }
}
