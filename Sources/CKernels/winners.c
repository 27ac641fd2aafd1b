// Products through the winners of a Maxout layer.
//
// The order of additions is that of WinnerProducts.swift, so CPUs with and without AVX-512 compute the same bits: input gradients go by
// 16 outputs, then by 96 columns (8, then fewer, at the end), then by row; weight gradients go by row.
#include "winners.h"
#include <string.h>

enum {
    tile_outputs = 16,
    tile_columns = 96,
    // Weight gradients: rows whose inputs are packed at a time, lists of them (P pieces of some outputs), vectors of a packed row.
    list_rows = 48,
    lists = 96,
    most_vectors = 12,
};

// For up to 16 outputs: lane * unit + winning piece * step.
AVX512 static inline __m512i places(const t2v_winners *w, const int32_t *starts, ptrdiff_t count, int unit, int step) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i start = _mm512_maskz_loadu_epi32(lanes(count), starts);
    __m512i place = _mm512_mullo_epi32(lane, _mm512_set1_epi32(unit));
    for (ptrdiff_t p = 1; p < w->pieces; p++) {
        __mmask16 beyond = _mm512_cmpge_epi32_mask(start, _mm512_set1_epi32((int)(p * w->outputs * w->weight_stride)));
        place = _mm512_mask_add_epi32(place, beyond, place, _mm512_set1_epi32(step));
    }
    return place;
}

// What one row adds in a tile: `count` gradients, and where their winners' weights begin in the packed tile.
typedef struct {
    const float *gradients;
    const int32_t *places;
    float *target;
} tile_row;

// V vectors of one row, or of two rows whose targets do not overlap; the last vector has the lanes of `last`.
#define DEFINE_ADD(V)                                                                                                                      \
    AVX512 static inline void add_one_##V(tile_row r, int count, const float *weights, __mmask16 last) {                                         \
        __m512 a[V];                                                                                                                       \
        UNROLL for (int v = 0; v < V; v++) a[v] = _mm512_maskz_loadu_ps(LANES(V), r.target + 16 * v);                                     \
        for (int o = 0; o < count; o++) {                                                                                                  \
            __m512 x = _mm512_set1_ps(r.gradients[o]);                                                                                    \
            const float *source = weights + r.places[o];                                                                                  \
            UNROLL for (int v = 0; v < V; v++) a[v] = _mm512_fmadd_ps(x, _mm512_load_ps(source + 16 * v), a[v]);                           \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) _mm512_mask_storeu_ps(r.target + 16 * v, LANES(V), a[v]);                                       \
    }                                                                                                                                      \
    AVX512 static inline void add_two_##V(tile_row r, tile_row s, int count, const float *weights, __mmask16 last) {                             \
        __m512 a[V], b[V];                                                                                                                 \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            a[v] = _mm512_maskz_loadu_ps(LANES(V), r.target + 16 * v);                                                                    \
            b[v] = _mm512_maskz_loadu_ps(LANES(V), s.target + 16 * v);                                                                    \
        }                                                                                                                                  \
        for (int o = 0; o < count; o++) {                                                                                                  \
            __m512 x = _mm512_set1_ps(r.gradients[o]), y = _mm512_set1_ps(s.gradients[o]);                                                \
            const float *one = weights + r.places[o], *two = weights + s.places[o];                                                       \
            UNROLL for (int v = 0; v < V; v++) {                                                                                           \
                a[v] = _mm512_fmadd_ps(x, _mm512_load_ps(one + 16 * v), a[v]);                                                             \
                b[v] = _mm512_fmadd_ps(y, _mm512_load_ps(two + 16 * v), b[v]);                                                             \
            }                                                                                                                              \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            _mm512_mask_storeu_ps(r.target + 16 * v, LANES(V), a[v]);                                                                     \
            _mm512_mask_storeu_ps(s.target + 16 * v, LANES(V), b[v]);                                                                     \
        }                                                                                                                                  \
    }
FOR_TILES(DEFINE_ADD)

static size_t winners_scratch(const t2v_winners *w) {
    ptrdiff_t room = w->pieces > lists ? w->pieces : lists;
    size_t inputs = (size_t)(w->pieces * tile_outputs * tile_columns) * sizeof(float) + (size_t)w->rows * 16 * sizeof(int32_t) +
                    (size_t)(w->pieces * tile_outputs * tile_columns / 16) * sizeof(float *);
    size_t weights = (size_t)(list_rows * most_vectors * 16) * sizeof(float) + (size_t)(room * list_rows) * 8 + (size_t)room * sizeof(int32_t);
    return inputs > weights ? inputs : weights;
}

// Weights of a tile, all pieces of its outputs, side by side: (P * 16, 96), zeros beyond `length` columns.
AVX512 static void pack_tile(const t2v_winners *w, const float *weights, ptrdiff_t first, ptrdiff_t count, ptrdiff_t length, float *pack) {
    for (ptrdiff_t p = 0; p < w->pieces; p++) {
        for (ptrdiff_t o = 0; o < count; o++) {
            const float *source = weights + (p * w->outputs + first + o) * w->weight_stride;
            float *target = pack + (p * tile_outputs + o) * tile_columns;
            for (ptrdiff_t k = 0; k < length; k += 16) _mm512_store_ps(target + k, _mm512_maskz_loadu_ps(lanes(length - k), source + k));
        }
    }
}

// Where inputs do not overlap within a column's tile, any width of a tile gives the same bits; where they do, the narrow tiles at the end
// are 8 columns wide, as in Swift.
static ptrdiff_t tile_length(const t2v_winners *w, ptrdiff_t column) {
    ptrdiff_t left = w->inputs - column;
    if (left >= tile_columns) return tile_columns;
    return w->inputs <= w->row_stride || left < 8 ? left : 8;
}

// All rows of a tile whose `length` columns begin at d_input.
#define DEFINE_ADD_ROWS(V)                                                                                                                 \
    AVX512 static void add_rows_##V(const t2v_winners *w, ptrdiff_t first, int count, ptrdiff_t length, const int32_t *at,                 \
                                    const float *pack, float *d_input, t2v_ahead *ahead) {                                                 \
        __mmask16 last = lanes(length - 16 * (V - 1));                                                                                     \
        PAIR_ROWS(                                                                                                                         \
            tile_row, ((tile_row){w->gradients + row * w->outputs + first, at + row * tile_outputs, d_input + input_of(w, row)}),          \
            add_two_##V(open, next, count, pack, last), add_one_##V(open, count, pack, last));                                             \
    }
FOR_TILES(DEFINE_ADD_ROWS)
typedef void (*add_rows_function)(const t2v_winners *, ptrdiff_t, int, ptrdiff_t, const int32_t *, const float *, float *, t2v_ahead *);
#define ADD_ROWS_NAME(V) add_rows_##V,
static const add_rows_function add_rows[] = {0, FOR_TILES(ADD_ROWS_NAME)};

AVX512 void t2v_winners_input_gradient(const t2v_winners *w, const float *weights, float *d_input) {
    float *pack = t2v_thread_scratch(winners_scratch(w));
    int32_t *at = (int32_t *)(pack + w->pieces * tile_outputs * tile_columns);
    t2v_ahead ahead = {(const float **)(at + w->rows * tile_outputs), 0, 0, 0};
    if (w->rows == 0) return;
    for (ptrdiff_t first = 0; first < w->outputs; first += tile_outputs) {
        int count = (int)(w->outputs - first < tile_outputs ? w->outputs - first : tile_outputs);
        for (ptrdiff_t row = 0; row < w->rows; row++) {
            __m512i place = places(w, w->starts + row * w->outputs + first, count, tile_columns, tile_outputs * tile_columns);
            _mm512_store_si512(at + row * tile_outputs, place);
        }
        for (ptrdiff_t column = 0, length; column < w->inputs; column += length) {
            length = tile_length(w, column);
            pack_tile(w, weights + column, first, count, length, pack);
            ptrdiff_t next = column + length < w->inputs ? column + length : 0;
            ask_for_weights(w, weights, next ? first : first + count, count, next, tile_length(w, next), &ahead);
            add_rows[(length + 15) / 16](w, first, count, length, at, pack, d_input + column, &ahead);
        }
    }
}

// V vectors of one row of d_weights: the packed inputs of the rows that it won, added to what earlier blocks of rows gave.
#define DEFINE_GATHER(V)                                                                                                                   \
    AVX512 static void gather_##V(ptrdiff_t count, const float *gradients, const int32_t *at, const float *pack, float *target,            \
                                  __mmask16 last, int is_first) {                                                                           \
        __m512 a[V];                                                                                                                       \
        UNROLL for (int v = 0; v < V; v++)                                                                                                 \
            a[v] = is_first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(LANES(V), target + 16 * v);                                      \
        for (ptrdiff_t i = 0; i < count; i++) {                                                                                            \
            __m512 x = _mm512_set1_ps(gradients[i]);                                                                                      \
            const float *source = pack + at[i];                                                                                            \
            UNROLL for (int v = 0; v < V; v++) a[v] = _mm512_fmadd_ps(x, _mm512_load_ps(source + 16 * v), a[v]);                           \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) _mm512_mask_storeu_ps(target + 16 * v, LANES(V), a[v]);                                         \
    }
#define FOR_VECTORS(X) FOR_TILES(X) X(7) X(8) X(9) X(10) X(11) X(12)
FOR_VECTORS(DEFINE_GATHER)
typedef void (*gather_function)(ptrdiff_t, const float *, const int32_t *, const float *, float *, __mmask16, int);
#define GATHER_NAME(V) gather_##V,
static const gather_function gather[] = {0, FOR_VECTORS(GATHER_NAME)};

// For each piece of some outputs, the rows of a block that it won.
typedef struct {
    float *gradients;
    int32_t *rows, *counts;
} winner_lists;

AVX512 static void list_winners(const t2v_winners *w, ptrdiff_t first, ptrdiff_t count, ptrdiff_t row0, ptrdiff_t rows, ptrdiff_t row_size,
                                winner_lists out) {
    int32_t list_of[16] __attribute__((aligned(64)));
    memset(out.counts, 0, sizeof(int32_t) * (size_t)(w->pieces * count));
    for (ptrdiff_t row = 0; row < rows; row++) {
        const int32_t *starts = w->starts + (row0 + row) * w->outputs + first;
        const float *gradients = w->gradients + (row0 + row) * w->outputs + first;
        for (ptrdiff_t o = 0; o < count; o += 16) {
            ptrdiff_t some = count - o < 16 ? count - o : 16;
            _mm512_store_si512(list_of, places(w, starts + o, some, 1, (int)count));
            for (ptrdiff_t lane = 0; lane < some; lane++) {
                ptrdiff_t list = list_of[lane] + o, place = list * list_rows + out.counts[list]++;
                out.rows[place] = (int32_t)(row * row_size);
                out.gradients[place] = gradients[o + lane];
            }
        }
    }
}

AVX512 void t2v_winners_weight_gradient(const t2v_winners *w, const float *input, float *d_weights) {
    float *pack = t2v_thread_scratch(winners_scratch(w));
    ptrdiff_t group = w->pieces < lists ? lists / w->pieces : 1, room = w->pieces > lists ? w->pieces : lists;
    winner_lists won = {pack + list_rows * most_vectors * 16, 0, 0};
    won.rows = (int32_t *)(won.gradients + room * list_rows);
    won.counts = won.rows + room * list_rows;
    ptrdiff_t vectors = (w->inputs + 15) / 16, tiles = (vectors + most_vectors - 1) / most_vectors, wide = (vectors + tiles - 1) / tiles;
    for (ptrdiff_t first = 0; first < w->outputs; first += group) {
        ptrdiff_t count = w->outputs - first < group ? w->outputs - first : group;
        for (ptrdiff_t row0 = 0; row0 < w->rows; row0 += list_rows) {
            ptrdiff_t rows = w->rows - row0 < list_rows ? w->rows - row0 : list_rows;
            list_winners(w, first, count, row0, rows, wide * 16, won);
            for (ptrdiff_t vector = 0; vector < vectors; vector += wide) {
                ptrdiff_t some = vectors - vector < wide ? vectors - vector : wide, column = vector * 16;
                __mmask16 last = lanes(w->inputs - column - 16 * (some - 1));
                for (ptrdiff_t row = 0; row < rows; row++) {
                    const float *source = input + input_of(w, row0 + row) + column;
                    for (ptrdiff_t v = 0; v < some; v++)
                        _mm512_store_ps(pack + (row * wide + v) * 16, _mm512_maskz_loadu_ps(LANES(some), source + 16 * v));
                }
                for (ptrdiff_t list = 0; list < w->pieces * count; list++) {
                    if (won.counts[list] == 0 && row0 > 0) continue;
                    float *target = d_weights + ((list / count) * w->outputs + first + list % count) * w->weight_stride + column;
                    gather[some](won.counts[list], won.gradients + list * list_rows, won.rows + list * list_rows, pack, target, last,
                                 row0 == 0);
                }
            }
        }
    }
}
