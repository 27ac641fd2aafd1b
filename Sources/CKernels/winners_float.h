// Products through the winners of a Maxout layer, for one width of vectors.
//
// Of the P pieces of an output, only one has a gradient. A dense product of the routed gradient multiplies P - 1 times as many zeros; these
// kernels skip them. Row by row, each multiplication would load a weight of its own, and loads would set the pace. So rows are sorted by
// what won in three outputs: rows of the same combination need the same three rows of weights, which stay in registers.
//
// The order of additions does not depend on the width: rows by 1024, then (input gradients) outputs by 18, then columns by row_stride,
// rows by 256, outputs by 3, combinations of winners, rows.
#include "lanes.h"
#include "winners.h"
#include <string.h>

enum {
    // Outputs whose winners rows are sorted by; with as many combinations at most.
    group_outputs = 3,
    most_combinations = T2V_SORTED_PIECES * T2V_SORTED_PIECES * T2V_SORTED_PIECES,
    // Groups sorted in one pass over the rows: their gradients are whole cache lines.
    sorted_groups = 16,
    // Rows sorted among themselves: a tile of their inputs stays in the L1 cache.
    list_rows = 256,
    // Groups whose weights are packed at a time.
    band_groups = 6,
    band_outputs = band_groups * group_outputs,
    // Vectors of a packed row. `list_rows` rows are 32 KB with AVX2. With AVX-512 they are 64 KB and come from the L2 cache in part, but
    // the gradients that are loaded for each row serve twice as many multiplications.
    most_vectors = 4,
    // Bytes from which on a gradient of weights is written past the caches, which have no room for it until it is added to others: else
    // each line would be loaded from memory before it is overwritten.
    streamed_bytes = 1 << 20,
};

// What a row has in the list of a group: the gradients of the three outputs, 0 beyond the last, and where its packed inputs begin.
typedef struct {
    float gradients[group_outputs];
    int32_t place;
} entry;

// Rows that are sorted among themselves.
typedef struct {
    // In the slab.
    ptrdiff_t first, rows;
    // If a lane ends here, how often sums are then merged; else -1.
    int32_t merges;
} row_block;

// A slab's rows, sorted: of each group, block after block, and in a block by combination. It has all lanes, or rows of one lane.
typedef struct {
    const t2v_winners *winners;
    ptrdiff_t row0, rows, block_count, groups, combinations;
    row_block *blocks;
    // (groups, rows), (blocks, groups, combinations).
    entry *entries;
    int32_t *counts;
    // Packed inputs: from row `low` of row_stride floats, `span` of them, `wide` vectors each.
    ptrdiff_t low, span, wide;
    float *inputs;
    // (pieces, band_outputs, wide vectors), of gradients one for each sum of lanes; and the lines of memory that the next tile needs.
    float *tile;
    t2v_ahead ahead;
    // Whether gradients of weights go past the caches.
    int streams;
} slab;

static ptrdiff_t row_start(const t2v_winners *w, ptrdiff_t row) { return w->row_starts ? w->row_starts[row] : row; }

// Into how many parts row_stride cuts an input: 3 for a window of 3 words.
static ptrdiff_t parts_of(const t2v_winners *w) { return (w->inputs + w->row_stride - 1) / w->row_stride; }

// Fills the lists of a block: counts each combination, then puts every row in its place.
ISA static void sort_block(slab *s, ptrdiff_t block) {
    const t2v_winners *w = s->winners;
    ptrdiff_t first_row = s->row0 + s->blocks[block].first, rows = s->blocks[block].rows;
    int factors[group_outputs] = {(int)(w->pieces * w->pieces), (int)w->pieces, 1};
    for (ptrdiff_t group0 = 0; group0 < s->groups; group0 += sorted_groups) {
        ptrdiff_t groups = s->groups - group0 < sorted_groups ? s->groups - group0 : sorted_groups;
        ptrdiff_t first = group0 * group_outputs, outputs = w->outputs - first;
        if (outputs > groups * group_outputs) outputs = groups * group_outputs;
        int32_t *counts = s->counts + (block * s->groups + group0) * s->combinations;
        memset(counts, 0, sizeof(int32_t) * (size_t)(groups * s->combinations));
        uint8_t combination_of[list_rows * sorted_groups];
        int32_t pieces[sorted_groups * group_outputs + WIDTH] __attribute__((aligned(64)));
        for (ptrdiff_t row = 0; row < rows; row++) {
            const int32_t *starts = w->starts + (first_row + row) * w->outputs + first;
            ptrdiff_t soon = row + 4 < rows ? 4 * w->outputs : 0;
            for (ptrdiff_t o = 0; o < outputs; o += 16) __builtin_prefetch(starts + soon + o);
            for (ptrdiff_t o = 0; o < groups * group_outputs; o += WIDTH) {
                store_integers(pieces + o, places(w, starts + o, outputs - o > 0 ? outputs - o : 0, 0, 1));
            }
            for (ptrdiff_t group = 0; group < groups; group++) {
                const int32_t *piece = pieces + group * group_outputs;
                int combination = piece[0] * factors[0] + piece[1] * factors[1] + piece[2];
                combination_of[row * sorted_groups + group] = (uint8_t)combination;
                counts[group * s->combinations + combination]++;
            }
        }
        int32_t next[sorted_groups * most_combinations];
        for (ptrdiff_t group = 0; group < groups; group++) {
            int32_t place = (int32_t)((group0 + group) * s->rows + s->blocks[block].first);
            for (ptrdiff_t c = 0; c < s->combinations; c++) {
                next[group * most_combinations + c] = place;
                place += counts[group * s->combinations + c];
            }
        }
        for (ptrdiff_t row = 0; row < rows; row++) {
            const float *gradients = w->gradients + (first_row + row) * w->outputs + first;
            int32_t input = (int32_t)((row_start(w, first_row + row) - s->low) * s->wide * WIDTH);
            ptrdiff_t soon = row + 4 < rows ? 4 * w->outputs : 0;
            for (ptrdiff_t o = 0; o < outputs; o += 16) __builtin_prefetch(gradients + soon + o);
            for (ptrdiff_t group = 0; group < groups; group++) {
                ptrdiff_t o = group * group_outputs;
                entry *made = s->entries + next[group * most_combinations + combination_of[row * sorted_groups + group]]++;
                *made = (entry){{gradients[o], o + 1 < outputs ? gradients[o + 1] : 0, o + 2 < outputs ? gradients[o + 2] : 0}, input};
            }
        }
    }
}

// The rows of a tile whose combination is the same: three rows of the tile, and where packed inputs begin.
typedef struct {
    const entry *entries;
    int32_t count;
    float *rows[group_outputs];
    float *inputs;
} run;

// V vectors of the three rows of a tile that a run needs.
#define LOAD_ROWS(V)                                                                                                                       \
    vector a[V], b[V], c[V];                                                                                                               \
    UNROLL for (int v = 0; v < V; v++) {                                                                                                   \
        a[v] = load(r.rows[0] + WIDTH * v);                                                                                                \
        b[v] = load(r.rows[1] + WIDTH * v);                                                                                                \
        c[v] = load(r.rows[2] + WIDTH * v);                                                                                                \
    }
// V vectors: gradients times weights, added to packed gradients of inputs.
#define DEFINE_SPREAD(V)                                                                                                                   \
    ISA static inline void spread_##V(run r) {                                                                                             \
        LOAD_ROWS(V)                                                                                                                       \
        for (int32_t i = 0; i < r.count; i++) {                                                                                            \
            entry e = r.entries[i];                                                                                                        \
            float *target = r.inputs + e.place;                                                                                            \
            vector x = filled(e.gradients[0]), y = filled(e.gradients[1]), z = filled(e.gradients[2]);                                     \
            UNROLL for (int v = 0; v < V; v++) {                                                                                           \
                vector sum = multiply_add(x, a[v], load(target + WIDTH * v));                                                              \
                store(target + WIDTH * v, multiply_add(z, c[v], multiply_add(y, b[v], sum)));                                              \
            }                                                                                                                              \
        }                                                                                                                                  \
    }
// V vectors: gradients times packed inputs, added to gradients of weights.
#define DEFINE_COLLECT(V)                                                                                                                  \
    ISA static inline void collect_##V(run r) {                                                                                            \
        LOAD_ROWS(V)                                                                                                                       \
        for (int32_t i = 0; i < r.count; i++) {                                                                                            \
            entry e = r.entries[i];                                                                                                        \
            const float *source = r.inputs + e.place;                                                                                      \
            vector x = filled(e.gradients[0]), y = filled(e.gradients[1]), z = filled(e.gradients[2]);                                     \
            UNROLL for (int v = 0; v < V; v++) {                                                                                           \
                vector input = load(source + WIDTH * v);                                                                                   \
                a[v] = multiply_add(x, input, a[v]);                                                                                       \
                b[v] = multiply_add(y, input, b[v]);                                                                                       \
                c[v] = multiply_add(z, input, c[v]);                                                                                       \
            }                                                                                                                              \
        }                                                                                                                                  \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            store(r.rows[0] + WIDTH * v, a[v]);                                                                                            \
            store(r.rows[1] + WIDTH * v, b[v]);                                                                                            \
            store(r.rows[2] + WIDTH * v, c[v]);                                                                                            \
        }                                                                                                                                  \
    }
static ptrdiff_t tile_floats(const slab *s) { return s->winners->pieces * band_outputs * s->wide * WIDTH; }

// After a block: nothing, or, where a lane ends, its sums are added to others and those of the next lane begin.
static inline void spread_end(slab *s, ptrdiff_t block) { (void)s, (void)block; }
ISA static inline void collect_end(slab *s, ptrdiff_t block) {
    if (s->blocks[block].merges < 0) return;
    s->tile = merge_lanes(s->tile, tile_floats(s), s->blocks[block].merges);
    if (block + 1 == s->block_count) return;
    s->tile += tile_floats(s);
    memset(s->tile, 0, sizeof(float) * (size_t)tile_floats(s));
}

// All rows of a slab in one tile: `groups` groups from group0 on. `inputs`: of the slab, from the tile's part on.
#define DEFINE_TILE(KIND, V)                                                                                                               \
    ISA static void KIND##_tile_##V(slab *s, ptrdiff_t group0, ptrdiff_t groups, float *inputs) {                                          \
        ptrdiff_t pieces = s->winners->pieces;                                                                                             \
        for (ptrdiff_t block = 0; block < s->block_count; block++) {                                                                       \
            for (ptrdiff_t group = 0; group < groups; group++) {                                                                           \
                const int32_t *count = s->counts + (block * s->groups + group0 + group) * s->combinations;                                 \
                run r = {s->entries + (group0 + group) * s->rows + s->blocks[block].first, 0, {0}, inputs};                                \
                float *first = s->tile + group * group_outputs * V * WIDTH;                                                                \
                ahead_ask(&s->ahead);                                                                                                      \
                for (ptrdiff_t p = 0; p < pieces; p++) {                                                                                   \
                    r.rows[0] = first + p * band_outputs * V * WIDTH;                                                                      \
                    for (ptrdiff_t q = 0; q < pieces; q++) {                                                                               \
                        r.rows[1] = first + (q * band_outputs + 1) * V * WIDTH;                                                            \
                        for (ptrdiff_t o = 0; o < pieces; o++, count++) {                                                                  \
                            if (*count == 0) continue;                                                                                     \
                            r.rows[2] = first + (o * band_outputs + 2) * V * WIDTH;                                                        \
                            r.count = *count;                                                                                              \
                            KIND##_##V(r);                                                                                                 \
                            r.entries += *count;                                                                                           \
                        }                                                                                                                  \
                    }                                                                                                                      \
                }                                                                                                                          \
            }                                                                                                                              \
            KIND##_end(s, block);                                                                                                          \
        }                                                                                                                                  \
    }
#define FOR_VECTORS(X) X(1) X(2) X(3) X(4)
#define DEFINE_BOTH(V) DEFINE_SPREAD(V) DEFINE_COLLECT(V) DEFINE_TILE(spread, V) DEFINE_TILE(collect, V)
FOR_VECTORS(DEFINE_BOTH)
typedef void (*tile_function)(slab *, ptrdiff_t, ptrdiff_t, float *);
#define SPREAD_NAME(V) spread_tile_##V,
#define COLLECT_NAME(V) collect_tile_##V,
static const tile_function spread_tile[] = {0, FOR_VECTORS(SPREAD_NAME)}, collect_tile[] = {0, FOR_VECTORS(COLLECT_NAME)};

// Columns of W that belong to a tile: those from `column` on in one part of the inputs; none if it is shorter.
static ptrdiff_t columns_of(const slab *s, ptrdiff_t column, ptrdiff_t part) {
    const t2v_winners *w = s->winners;
    ptrdiff_t left = w->row_stride - column, end = w->inputs - part * w->row_stride - column;
    if (end < left) left = end;
    return left < s->wide * WIDTH ? left : s->wide * WIDTH;
}

// `length` floats of a row, and zeros up to `wide` vectors.
ISA static inline void take(const float *from, ptrdiff_t length, float *packed, ptrdiff_t wide) {
    ptrdiff_t v = 0;
    for (; v < wide && (v + 1) * WIDTH <= length; v++) store(packed + v * WIDTH, load_unaligned(from + v * WIDTH));
    if (v < wide && v * WIDTH < length) {
        store(packed + v * WIDTH, load_part(from + v * WIDTH, first_lanes(length - v * WIDTH)));
        v++;
    }
    for (; v < wide; v++) store(packed + v * WIDTH, zeros());
}

// The other way round; at most `wide` vectors.
ISA static inline void give(const float *packed, float *to, ptrdiff_t length, ptrdiff_t wide) {
    ptrdiff_t v = 0;
    for (; v < wide && (v + 1) * WIDTH <= length; v++) store_unaligned(to + v * WIDTH, load(packed + v * WIDTH));
    if (v < wide && v * WIDTH < length) store_part(to + v * WIDTH, first_lanes(length - v * WIDTH), load(packed + v * WIDTH));
}

// The same past the caches: `wide` whole vectors, whole cache lines.
ISA static inline void give_past(const float *packed, float *to, ptrdiff_t wide) {
    for (ptrdiff_t v = 0; v < wide; v++) stream(to + v * WIDTH, load(packed + v * WIDTH));
}

// How many floats of a packed row, from `column` of row `row` of the span on, rows of the slab have.
static ptrdiff_t input_length(const slab *s, ptrdiff_t row, ptrdiff_t column) {
    const t2v_winners *w = s->winners;
    ptrdiff_t left = w->row_stride, end = (s->span - parts_of(w) - row) * w->row_stride + w->inputs;
    return (end < left ? end : left) - column;
}

// Prefetches what is copied of a row of the span, if there is such a row.
static inline void ask_for_row(const slab *s, ptrdiff_t row, const float *start) {
    if (row >= s->span) return;
    for (ptrdiff_t k = 0; k < s->wide * WIDTH; k += 16) __builtin_prefetch(start + k);
}

// Copies the span's rows of a matrix to the packed inputs, zeros where rows of the slab have nothing.
ISA static void take_inputs(const slab *s, const float *from, ptrdiff_t column) {
    ptrdiff_t stride = s->winners->row_stride, size = s->wide * WIDTH;
    from += s->low * stride + column;
    for (ptrdiff_t row = 0; row < s->span; row++, from += stride) {
        ask_for_row(s, row + 12, from + 12 * stride);
        take(from, input_length(s, row, column), s->inputs + row * size, s->wide);
    }
}

// The other way round.
ISA static void give_inputs(const slab *s, float *to, ptrdiff_t column) {
    ptrdiff_t stride = s->winners->row_stride, size = s->wide * WIDTH;
    to += s->low * stride + column;
    for (ptrdiff_t row = 0; row < s->span; row++, to += stride) {
        ask_for_row(s, row + 12, to + 12 * stride);
        give(s->inputs + row * size, to, input_length(s, row, column), s->wide);
    }
}

// Copies from rows of W's shape to the tile, zeros if there are none; rows beyond the last output and columns beyond `columns` are 0.
ISA static void take_weights(slab *s, const float *from, ptrdiff_t first, ptrdiff_t columns) {
    const t2v_winners *w = s->winners;
    float *packed = s->tile;
    for (ptrdiff_t p = 0; p < w->pieces; p++)
        for (ptrdiff_t o = first; o < first + band_outputs; o++, packed += s->wide * WIDTH) {
            int is_there = from && o < w->outputs;
            take(is_there ? from + (p * w->outputs + o) * w->weight_stride : 0, is_there ? columns : 0, packed, s->wide);
        }
}

ISA static void give_weights(const slab *s, float *to, ptrdiff_t first, ptrdiff_t columns) {
    const t2v_winners *w = s->winners;
    const float *packed = s->tile;
    int is_whole = columns == s->wide * WIDTH && columns % 16 == 0;
    for (ptrdiff_t p = 0; p < w->pieces; p++)
        for (ptrdiff_t o = first; o < first + band_outputs; o++, packed += s->wide * WIDTH)
            if (o < w->outputs) {
                float *target = to + (p * w->outputs + o) * w->weight_stride;
                if (s->streams && is_whole && (uintptr_t)target % 64 == 0) give_past(packed, target, s->wide);
                else give(packed, target, columns, s->wide);
            }
}

// All tiles of a slab whose inputs begin at `column` of each part: W's (`d_weights` NULL) or those of its gradient.
ISA static void multiply_columns(slab *s, ptrdiff_t column, const float *weights, float *d_weights) {
    const t2v_winners *w = s->winners;
    ptrdiff_t parts = parts_of(w);
    const float *matrix = d_weights ? d_weights : weights;
    for (ptrdiff_t group = 0; group < s->groups; group += band_groups) {
        ptrdiff_t groups = s->groups - group < band_groups ? s->groups - group : band_groups, first = group * group_outputs;
        for (ptrdiff_t part = 0; part < parts; part++) {
            ptrdiff_t columns = columns_of(s, column, part), at = part * w->row_stride + column;
            if (columns <= 0) continue;
            take_weights(s, !d_weights || s->row0 > 0 ? matrix + at : 0, first, columns);
            ptrdiff_t next = part + 1 < parts ? first : first + band_outputs, from = part + 1 < parts ? at + w->row_stride : column;
            ask_for_weights(w, matrix, next, d_weights && s->streams ? 0 : band_outputs, from, columns, &s->ahead);
            ahead_spread(&s->ahead, s->block_count * groups);
            (d_weights ? collect_tile : spread_tile)[s->wide](s, group, groups, s->inputs + part * s->wide * WIDTH);
            if (d_weights) give_weights(s, d_weights + at, first, columns);
        }
    }
}

// The blocks of one lane whose rows begin at `first`. Returns how many there are.
static ptrdiff_t cut(ptrdiff_t first, ptrdiff_t rows, int32_t merges, row_block *blocks) {
    ptrdiff_t count = 0;
    for (ptrdiff_t row = 0; row < rows; row += list_rows, count++)
        blocks[count] = (row_block){first + row, rows - row < list_rows ? rows - row : list_rows, row + list_rows < rows ? -1 : merges};
    return count;
}

static void cut_slab(slab *s) {
    const t2v_lanes *lanes = s->winners->lanes;
    if (!lanes) {
        s->block_count = cut(0, s->rows, -1, s->blocks);
        return;
    }
    s->block_count = 0;
    for (ptrdiff_t lane = 0; lane < lanes->count; lane++)
        s->block_count += cut(lanes->starts[lane], lane_rows(lanes, lane), lanes->merges[lane], s->blocks + s->block_count);
}

ISA void NAMED(t2v_winners_gradients)(const t2v_winners *w, const float *weights, const float *input, float *d_weights, float *d_input) {
    slab s = {.winners = w, .groups = (w->outputs + group_outputs - 1) / group_outputs};
    s.combinations = w->pieces * w->pieces * w->pieces;
    ptrdiff_t columns = w->inputs < w->row_stride ? w->inputs : w->row_stride;
    ptrdiff_t vectors = (columns + WIDTH - 1) / WIDTH, tiles = (vectors + most_vectors - 1) / most_vectors;
    s.wide = (vectors + tiles - 1) / tiles;
    ptrdiff_t slab_rows = w->lanes ? w->rows : T2V_SLAB_ROWS, most_blocks = slab_rows / list_rows + (w->lanes ? w->lanes->count : 1);
    // With several slabs the next one would read the gradient again.
    s.streams = w->rows <= slab_rows && w->pieces * w->outputs * w->inputs * (ptrdiff_t)sizeof(float) >= streamed_bytes;
    for (s.row0 = 0; s.row0 < w->rows; s.row0 += slab_rows) {
        s.rows = w->rows - s.row0 < slab_rows ? w->rows - s.row0 : slab_rows;
        ptrdiff_t high = s.low = row_start(w, s.row0);
        for (ptrdiff_t row = s.row0 + 1; row < s.row0 + s.rows; row++) {
            ptrdiff_t start = row_start(w, row);
            if (start < s.low) s.low = start;
            if (start > high) high = start;
        }
        s.span = high - s.low + parts_of(w);
        ptrdiff_t lines = w->pieces * band_outputs * (most_vectors * WIDTH / 16 + 1);
        size_t sizes[] = {
            // Whole cache lines.
            (size_t)rounded_up(s.groups * s.rows * (ptrdiff_t)sizeof(entry), 64),
            sizeof(float) * (size_t)(s.span * s.wide * WIDTH),
            sizeof(float) * (size_t)(tile_floats(&s) * (w->lanes ? lane_places(w->lanes) : 1)),
            sizeof(float *) * (size_t)lines,
            sizeof(row_block) * (size_t)most_blocks,
            sizeof(int32_t) * (size_t)(most_blocks * s.groups * s.combinations),
        };
        char *scratch = t2v_thread_scratch(sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4] + sizes[5]);
        s.entries = (entry *)scratch;
        s.inputs = (float *)(scratch += sizes[0]);
        s.tile = (float *)(scratch += sizes[1]);
        s.ahead = (t2v_ahead){(const float **)(scratch += sizes[2]), 0, 0, 0};
        s.blocks = (row_block *)(scratch += sizes[3]);
        s.counts = (int32_t *)(scratch + sizes[4]);
        cut_slab(&s);
        for (ptrdiff_t block = 0; block < s.block_count; block++) sort_block(&s, block);
        for (ptrdiff_t column = 0; column < columns; column += s.wide * WIDTH) {
            take_inputs(&s, input, column);
            multiply_columns(&s, column, 0, d_weights);
            take_inputs(&s, d_input, column);
            multiply_columns(&s, column, weights, 0);
            give_inputs(&s, d_input, column);
        }
    }
    // Whoever gets the gradient next may be another thread.
    if (s.streams) _mm_sfence();
}
