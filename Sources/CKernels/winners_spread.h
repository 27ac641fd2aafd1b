// Gradients of inputs: each row's are summed in registers over the outputs of a band, whose weights wait in the L1 cache. A load for each
// multiplication sets the pace; nothing is sorted, and no branch depends on what won.
//
// The order of additions does not depend on the width: rows by 1024, outputs by 32, then columns by row_stride, rows, outputs. Tiles have
// row_stride columns at most, so that no two inputs that overlap meet in one.
#include "lanes.h"
#include "winners_tiles.h"

#if WIDTH == 16
#define FOR_SUMS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define FOR_SUMS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10)
#endif

enum {
    spread_outputs = 32,
    // Vectors of sums. The tile of weights of three pieces has 36 KB with AVX-512, 30 KB with AVX2.
    most_sums = WIDTH == 16 ? 6 : 10,
};

// A row in a band: where the winners' weights begin in the tile, and the gradients.
typedef struct {
    int32_t places[spread_outputs];
    float gradients[spread_outputs];
} picks;

// Rows in a band, `count` outputs from `first` on.
typedef struct {
    const t2v_winners *winners;
    ptrdiff_t row0, rows, first, count;
    picks *picks;
    // (band's outputs, pieces, size), and the lines of memory that the next tile needs.
    float *tile;
    ptrdiff_t size;
    t2v_ahead ahead;
} band;

// Where rows find what won, for all tiles of a band.
ISA static void pick(const band *b) {
    const t2v_winners *w = b->winners;
    int step = (int)b->size, unit = step * (int)w->pieces;
    for (ptrdiff_t row = 0; row < b->rows; row++) {
        ptrdiff_t at = (b->row0 + row) * w->outputs + b->first;
        ptrdiff_t soon = row + 8 < b->rows ? 8 * w->outputs : 0;
        picks *made = b->picks + row;
        t2v_prefetch(w->won + at + soon, b->count);
        for (ptrdiff_t o = 0; o < b->count; o += 16) __builtin_prefetch(w->gradients + at + soon + o);
        for (ptrdiff_t o = 0; o < b->count; o += WIDTH) {
            integers place = places(w->won + at + o, b->count - o, unit, step);
            store_integers(made->places + o, shifted(place, (int)o * unit));
            store(made->gradients + o, load_part(w->gradients + at + o, first_lanes(b->count - o)));
        }
    }
}

// All rows in one tile of V vectors, the last of which has the lanes of `last`.
#define DEFINE_SPREAD(V)                                                                                                                   \
    ISA static void spread_##V(band *b, float *d_input, part last) {                                                                       \
        const t2v_winners *w = b->winners;                                                                                                 \
        const float *tile = b->tile;                                                                                                       \
        ptrdiff_t count = b->count;                                                                                                        \
        for (ptrdiff_t row = 0; row < b->rows; row++) {                                                                                    \
            float *target = d_input + input_of(w, b->row0 + row);                                                                          \
            const picks *picked = b->picks + row;                                                                                          \
            ahead_ask(&b->ahead);                                                                                                          \
            vector sum[V];                                                                                                                 \
            UNROLL for (int v = 0; v < V - 1; v++) sum[v] = load_unaligned(target + WIDTH * v);                                            \
            sum[V - 1] = load_part(target + WIDTH * (V - 1), last);                                                                        \
            for (ptrdiff_t o = 0; o < count; o++) {                                                                                        \
                vector gradient = filled(picked->gradients[o]);                                                                            \
                const float *weights = tile + picked->places[o];                                                                           \
                UNROLL for (int v = 0; v < V; v++) sum[v] = multiply_add(gradient, load(weights + WIDTH * v), sum[v]);                     \
            }                                                                                                                              \
            UNROLL for (int v = 0; v < V - 1; v++) store_unaligned(target + WIDTH * v, sum[v]);                                            \
            store_part(target + WIDTH * (V - 1), last, sum[V - 1]);                                                                        \
        }                                                                                                                                  \
    }
FOR_SUMS(DEFINE_SPREAD)
typedef void (*spread_function)(band *, float *, part);
#define SPREAD_NAME(V) spread_##V,
static const spread_function spread_tile[] = {0, FOR_SUMS(SPREAD_NAME)};

// Rows that are taken together from row0 on: whole lanes, or 1024.
static ptrdiff_t spread_rows(const t2v_winners *w, ptrdiff_t row0) {
    ptrdiff_t left = w->rows - row0, rows = left < T2V_SLAB_ROWS ? left : T2V_SLAB_ROWS, whole = 0;
    for (ptrdiff_t lane = 1; w->lanes && lane <= w->lanes->count; lane++) {
        ptrdiff_t end = w->lanes->starts[lane] - row0;
        if (end > 0 && end <= rows) whole = end;
    }
    return w->lanes ? whole : rows;
}

ISA static void spread(const t2v_winners *w, const float *weights, float *d_input) {
    ptrdiff_t most = most_sums * WIDTH, room = w->rows < T2V_SLAB_ROWS ? w->rows : T2V_SLAB_ROWS;
    if (w->row_stride < w->inputs && w->row_stride < most) most = w->row_stride;
    ptrdiff_t columns = tile_columns(w->inputs, most), size = rounded_up(columns, WIDTH), tile_rows = w->pieces * spread_outputs;
    size_t pick_bytes = sizeof(picks) * (size_t)room, tile_bytes = sizeof(float) * (size_t)(tile_rows * size);
    char *scratch = t2v_thread_scratch(pick_bytes + tile_bytes + sizeof(float *) * (size_t)(tile_rows * (size / 16 + 1)));
    band b = {w, 0, 0, 0, 0, (picks *)scratch, (float *)(scratch + pick_bytes), size, {0}};
    b.ahead.lines = (const float **)(scratch + pick_bytes + tile_bytes);
    for (; b.row0 < w->rows; b.row0 += b.rows) {
        b.rows = spread_rows(w, b.row0);
        for (b.first = 0; b.first < w->outputs; b.first += spread_outputs) {
            b.count = w->outputs - b.first < spread_outputs ? w->outputs - b.first : spread_outputs;
            pick(&b);
            for (ptrdiff_t column = 0; column < w->inputs; column += columns) {
                ptrdiff_t length = w->inputs - column < columns ? w->inputs - column : columns, vectors = (length + WIDTH - 1) / WIDTH;
                take_weights(w, weights + column, b.first, b.count, length, b.tile, size);
                ptrdiff_t next = column + columns < w->inputs ? column + columns : 0;
                ask_for_weights(w, weights, next ? b.first : b.first + spread_outputs, spread_outputs, next, length, &b.ahead);
                ahead_spread(&b.ahead, b.rows);
                spread_tile[vectors](&b, d_input + column, first_lanes(length - (vectors - 1) * WIDTH));
            }
        }
    }
}
