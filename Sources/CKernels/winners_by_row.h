// Products through the winners of a Maxout layer row by row, for one width of vectors: for runs of spaCy 2 models, whose bits stay those
// of version 0.1, and where sorting rows does not pay.
//
// The order of additions does not depend on the width: input gradients go by 16 outputs, then by 96 columns (8, then fewer, at the end,
// where inputs overlap), then by row; weight gradients go by row.
#include "lanes.h"
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

// Vector v of V; the last one has the lanes of `last`.
#define LOAD(V, from) (v == V - 1 ? load_part(from, last) : load_unaligned(from))
#define STORE(V, to, value) (v == V - 1 ? store_part(to, last, value) : store_unaligned(to, value))

// What one row adds in a tile: `count` gradients, and where their winners' weights begin in the packed tile.
typedef struct {
    const float *gradients;
    const int32_t *places;
    float *target;
} tile_row;

// The numbers of vectors that a tile of input gradients can have; two rows at a time have sums in registers up to FOR_PAIRS.
#define FOR_PAIRS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#if WIDTH == 16
#define FOR_SINGLES(X)
#else
#define FOR_SINGLES(X) X(7) X(8) X(9) X(10) X(11) X(12)
#endif

// V vectors of one row.
#define DEFINE_ADD_ONE(V)                                                                                                                  \
    ISA static inline void add_one_##V(tile_row r, int count, const float *weights, part last) {                                           \
        vector a[V];                                                                                                                       \
        UNROLL for (int v = 0; v < V; v++) a[v] = LOAD(V, r.target + WIDTH * v);                                                           \
        for (int o = 0; o < count; o++) {                                                                                                  \
            vector x = filled(r.gradients[o]);                                                                                             \
            const float *source = weights + r.places[o];                                                                                   \
            UNROLL for (int v = 0; v < V; v++) a[v] = multiply_add(x, load(source + WIDTH * v), a[v]);                                     \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) STORE(V, r.target + WIDTH * v, a[v]);                                                           \
    }
// V vectors of two rows whose targets do not overlap.
#define DEFINE_ADD_TWO(V)                                                                                                                  \
    ISA static inline void add_two_##V(tile_row r, tile_row s, int count, const float *weights, part last) {                               \
        vector a[V], b[V];                                                                                                                 \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            a[v] = LOAD(V, r.target + WIDTH * v);                                                                                          \
            b[v] = LOAD(V, s.target + WIDTH * v);                                                                                          \
        }                                                                                                                                  \
        for (int o = 0; o < count; o++) {                                                                                                  \
            vector x = filled(r.gradients[o]), y = filled(s.gradients[o]);                                                                 \
            const float *one = weights + r.places[o], *two = weights + s.places[o];                                                        \
            UNROLL for (int v = 0; v < V; v++) {                                                                                           \
                a[v] = multiply_add(x, load(one + WIDTH * v), a[v]);                                                                       \
                b[v] = multiply_add(y, load(two + WIDTH * v), b[v]);                                                                       \
            }                                                                                                                              \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            STORE(V, r.target + WIDTH * v, a[v]);                                                                                          \
            STORE(V, s.target + WIDTH * v, b[v]);                                                                                          \
        }                                                                                                                                  \
    }
FOR_PAIRS(DEFINE_ADD_ONE)
FOR_PAIRS(DEFINE_ADD_TWO)
FOR_SINGLES(DEFINE_ADD_ONE)

static size_t winners_scratch(const t2v_winners *w) {
    ptrdiff_t room = w->pieces > lists ? w->pieces : lists;
    size_t inputs = (size_t)(w->pieces * tile_outputs * tile_columns) * sizeof(float) + (size_t)(w->rows * tile_outputs) * sizeof(int32_t) +
                    (size_t)(w->pieces * tile_outputs * tile_columns / 16) * sizeof(float *);
    size_t weights = (size_t)(list_rows * most_vectors * WIDTH) * sizeof(float) + (size_t)(room * list_rows) * 8 +
                     (size_t)room * sizeof(int32_t);
    return (size_t)rounded_up((ptrdiff_t)(inputs > weights ? inputs : weights), 64);
}

// Weights of a tile, all pieces of its outputs, side by side: (P * 16, 96), zeros beyond `length` columns.
ISA static void pack_tile(const t2v_winners *w, const float *weights, ptrdiff_t first, ptrdiff_t count, ptrdiff_t length, float *pack) {
    for (ptrdiff_t p = 0; p < w->pieces; p++) {
        for (ptrdiff_t o = 0; o < count; o++) {
            const float *source = weights + (p * w->outputs + first + o) * w->weight_stride;
            float *target = pack + (p * tile_outputs + o) * tile_columns;
            for (ptrdiff_t k = 0; k < length; k += WIDTH) store(target + k, load_part(source + k, first_lanes(length - k)));
        }
    }
}

// As long as inputs do not overlap within a tile, any tile width gives the same bits; where they do, the narrow tiles at the end are 8
// columns wide for every WIDTH.
static ptrdiff_t tile_length(const t2v_winners *w, ptrdiff_t column) {
    ptrdiff_t left = w->inputs - column;
    if (left >= tile_columns) return tile_columns;
    return w->inputs <= w->row_stride || left < 8 ? left : 8;
}

// All rows of a tile whose `length` columns begin at d_input.
#define ADD_ROWS(V, BODY)                                                                                                                  \
    ISA static void add_rows_##V(const t2v_winners *w, ptrdiff_t first, int count, ptrdiff_t length, const int32_t *at, const float *pack, \
                                 float *d_input, t2v_ahead *ahead) {                                                                       \
        part last = first_lanes(length - WIDTH * (V - 1));                                                                                 \
        BODY                                                                                                                               \
    }
#define TILE_ROW ((tile_row){w->gradients + row * w->outputs + first, at + row * tile_outputs, d_input + input_of(w, row)})
#define ADD_ROWS_BY_TWO(V)                                                                                                                 \
    ADD_ROWS(V, PAIR_ROWS(tile_row, TILE_ROW, add_two_##V(open, next, count, pack, last), add_one_##V(open, count, pack, last));)
#define ADD_ROWS_BY_ONE(V)                                                                                                                 \
    ADD_ROWS(V, for (ptrdiff_t row = 0; row < w->rows; row++) {                                                                            \
        tile_row next = TILE_ROW;                                                                                                          \
        ahead_ask(ahead);                                                                                                                  \
        add_one_##V(next, count, pack, last);                                                                                              \
    })
FOR_PAIRS(ADD_ROWS_BY_TWO)
FOR_SINGLES(ADD_ROWS_BY_ONE)
typedef void (*add_rows_function)(const t2v_winners *, ptrdiff_t, int, ptrdiff_t, const int32_t *, const float *, float *, t2v_ahead *);
#define ADD_ROWS_NAME(V) add_rows_##V,
static const add_rows_function add_rows[] = {0, FOR_PAIRS(ADD_ROWS_NAME) FOR_SINGLES(ADD_ROWS_NAME)};

ISA void NAMED(t2v_winners_input_gradient_by_row)(const t2v_winners *w, const float *weights, float *d_input) {
    float *pack = t2v_thread_scratch(winners_scratch(w));
    int32_t *at = (int32_t *)(pack + w->pieces * tile_outputs * tile_columns);
    t2v_ahead ahead = {(const float **)(at + w->rows * tile_outputs), 0, 0, 0};
    if (w->rows == 0) return;
    for (ptrdiff_t first = 0; first < w->outputs; first += tile_outputs) {
        int count = (int)(w->outputs - first < tile_outputs ? w->outputs - first : tile_outputs);
        for (ptrdiff_t row = 0; row < w->rows; row++) {
            const uint8_t *won = w->won + row * w->outputs + first;
            if (row + 8 < w->rows) __builtin_prefetch(won + 8 * w->outputs);
            for (int o = 0; o < count; o += WIDTH) {
                integers place = places(won + o, count - o, tile_columns, tile_outputs * tile_columns);
                store_integers(at + row * tile_outputs + o, shifted(place, o * tile_columns));
            }
        }
        for (ptrdiff_t column = 0, length; column < w->inputs; column += length) {
            length = tile_length(w, column);
            pack_tile(w, weights + column, first, count, length, pack);
            ptrdiff_t next = column + length < w->inputs ? column + length : 0;
            ask_for_weights(w, weights, next ? first : first + count, count, next, tile_length(w, next), &ahead);
            ahead_spread(&ahead, w->rows);
            add_rows[(length + WIDTH - 1) / WIDTH](w, first, count, length, at, pack, d_input + column, &ahead);
        }
    }
}

// V vectors of one row of d_weights: the packed inputs of the rows that it won, added to what earlier blocks of rows gave.
#define DEFINE_GATHER(V)                                                                                                                   \
    ISA static void gather_##V(ptrdiff_t count, const float *gradients, const int32_t *at, const float *pack, float *target, part last,    \
                               int is_first) {                                                                                             \
        vector a[V];                                                                                                                       \
        UNROLL for (int v = 0; v < V; v++) a[v] = is_first ? zeros() : LOAD(V, target + WIDTH * v);                                        \
        for (ptrdiff_t i = 0; i < count; i++) {                                                                                            \
            vector x = filled(gradients[i]);                                                                                               \
            const float *source = pack + at[i];                                                                                            \
            UNROLL for (int v = 0; v < V; v++) a[v] = multiply_add(x, load(source + WIDTH * v), a[v]);                                     \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) STORE(V, target + WIDTH * v, a[v]);                                                             \
    }
#define FOR_VECTORS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
FOR_VECTORS(DEFINE_GATHER)
typedef void (*gather_function)(ptrdiff_t, const float *, const int32_t *, const float *, float *, part, int);
#define GATHER_NAME(V) gather_##V,
static const gather_function gather[] = {0, FOR_VECTORS(GATHER_NAME)};

// For each piece of some outputs, the rows of a block that it won.
typedef struct {
    float *gradients;
    int32_t *rows, *counts;
} winner_lists;

ISA static void list_winners(const t2v_winners *w, ptrdiff_t first, ptrdiff_t count, ptrdiff_t row0, ptrdiff_t rows, ptrdiff_t row_size,
                             winner_lists out) {
    int32_t list_of[WIDTH] __attribute__((aligned(64)));
    memset(out.counts, 0, sizeof(int32_t) * (size_t)(w->pieces * count));
    for (ptrdiff_t row = 0; row < rows; row++) {
        const uint8_t *won = w->won + (row0 + row) * w->outputs + first;
        const float *gradients = w->gradients + (row0 + row) * w->outputs + first;
        ptrdiff_t soon = row + 4 < rows ? 4 * w->outputs : 0;
        t2v_prefetch(won + soon, count);
        for (ptrdiff_t o = 0; o < count; o += 16) __builtin_prefetch(gradients + soon + o);
        for (ptrdiff_t o = 0; o < count; o += WIDTH) {
            ptrdiff_t some = count - o < WIDTH ? count - o : WIDTH;
            store_integers(list_of, places(won + o, some, 1, (int)count));
            for (ptrdiff_t lane = 0; lane < some; lane++) {
                ptrdiff_t list = list_of[lane] + o, place = list * list_rows + out.counts[list]++;
                out.rows[place] = (int32_t)(row * row_size);
                out.gradients[place] = gradients[o + lane];
            }
        }
    }
}

// Gradients of some outputs: of piece p of output o at start[p * piece + o * row].
typedef struct {
    float *start;
    ptrdiff_t piece, row;
} gathered;

// Vectors of a row of W that are gathered at a time.
static ptrdiff_t gathered_vectors(const t2v_winners *w) {
    ptrdiff_t vectors = (w->inputs + WIDTH - 1) / WIDTH, tiles = (vectors + most_vectors - 1) / most_vectors;
    return (vectors + tiles - 1) / tiles;
}

// Sums rows `begin` to `end` into gradients of `count` outputs from `first` on.
ISA static void gather_rows(const t2v_winners *w, const float *input, ptrdiff_t first, ptrdiff_t count, ptrdiff_t begin, ptrdiff_t end,
                            float *pack, winner_lists won, gathered out) {
    ptrdiff_t vectors = (w->inputs + WIDTH - 1) / WIDTH, wide = gathered_vectors(w);
    for (ptrdiff_t row0 = begin; row0 < end; row0 += list_rows) {
        ptrdiff_t rows = end - row0 < list_rows ? end - row0 : list_rows;
        list_winners(w, first, count, row0, rows, wide * WIDTH, won);
        for (ptrdiff_t vector = 0; vector < vectors; vector += wide) {
            ptrdiff_t some = vectors - vector < wide ? vectors - vector : wide, column = vector * WIDTH;
            part last = first_lanes(w->inputs - column - WIDTH * (some - 1));
            for (ptrdiff_t row = 0; row < rows; row++) {
                const float *source = input + input_of(w, row0 + row) + column;
                if (row + 4 < rows) {
                    const float *soon = input + input_of(w, row0 + row + 4) + column;
                    for (ptrdiff_t v = 0; v < some * WIDTH; v += 16) __builtin_prefetch(soon + v);
                }
                for (ptrdiff_t v = 0; v < some; v++) store(pack + (row * wide + v) * WIDTH, LOAD(some, source + WIDTH * v));
            }
            for (ptrdiff_t p = 0, list = 0; p < w->pieces; p++) {
                for (ptrdiff_t o = 0; o < count; o++, list++) {
                    if (won.counts[list] == 0 && row0 > begin) continue;
                    gather[some](won.counts[list], won.gradients + list * list_rows, won.rows + list * list_rows, pack,
                                 out.start + p * out.piece + o * out.row + column, last, row0 == begin);
                }
            }
        }
    }
}

// The same for every lane in turn. `sums` has room for `places` sums of `count` outputs.
ISA static void gather_lanes(const t2v_winners *w, const float *input, ptrdiff_t first, ptrdiff_t count, float *pack, winner_lists won,
                             float *sums, ptrdiff_t places, gathered out) {
    const t2v_lanes *lanes = w->lanes;
    ptrdiff_t row = rounded_up(w->inputs, WIDTH), size = w->pieces * count * row;
    // Beyond the last column nothing is written, but added.
    if (row > w->inputs) memset(sums, 0, sizeof(float) * (size_t)(places * size));
    float *last = sums - size;
    for (ptrdiff_t lane = 0; lane < lanes->count; lane++) {
        last += size;
        gather_rows(w, input, first, count, lanes->starts[lane], lanes->starts[lane + 1], pack, won, (gathered){last, count * row, row});
        last = merge_lanes(last, size, lanes->merges[lane]);
    }
    part end = first_lanes(w->inputs - row + WIDTH);
    for (ptrdiff_t p = 0; p < w->pieces; p++)
        for (ptrdiff_t o = 0; o < count; o++, last += row)
            for (ptrdiff_t k = 0; k < row; k += WIDTH)
                store_part(out.start + p * out.piece + o * out.row + k, k + WIDTH < row ? first_lanes(WIDTH) : end, load(last + k));
}

ISA void NAMED(t2v_winners_weight_gradient_by_row)(const t2v_winners *w, const float *input, float *d_weights) {
    ptrdiff_t group = w->pieces < lists ? lists / w->pieces : 1, room = w->pieces > lists ? w->pieces : lists;
    ptrdiff_t places = w->lanes ? lane_places(w->lanes) : 0;
    size_t pack_bytes = winners_scratch(w);
    float *pack = t2v_thread_scratch(pack_bytes + sizeof(float) * (size_t)(places * room * rounded_up(w->inputs, WIDTH)));
    winner_lists won = {pack + list_rows * most_vectors * WIDTH, 0, 0};
    won.rows = (int32_t *)(won.gradients + room * list_rows);
    won.counts = won.rows + room * list_rows;
    for (ptrdiff_t first = 0; first < w->outputs; first += group) {
        ptrdiff_t count = w->outputs - first < group ? w->outputs - first : group;
        gathered out = {d_weights + first * w->weight_stride, w->outputs * w->weight_stride, w->weight_stride};
        if (w->lanes) gather_lanes(w, input, first, count, pack, won, (float *)((char *)pack + pack_bytes), places, out);
        else gather_rows(w, input, first, count, 0, w->rows, pack, won, out);
    }
}
