// Gradients of weights. Row by row, each multiplication would load and store a sum of its own. So rows are sorted by what won in two
// outputs: rows of the same combination add to the same two rows of sums, which stay in registers.
//
// The order of additions does not depend on the width: rows by 128, outputs by 2, combinations of winners, rows.
#include "lanes.h"
#include "winners_tiles.h"

// The numbers of vectors that a packed row can have.
#define FOR_PACKED(X) X(1) X(2) X(3) X(4) X(5) X(6)

enum {
    // Outputs whose winners rows are sorted by; with as many combinations at most.
    group_outputs = 2,
    most_combinations = T2V_SORTED_PIECES * T2V_SORTED_PIECES,
    // Groups sorted in one pass over the rows: their gradients are whole cache lines.
    sorted_groups = 16,
    sorted_outputs = sorted_groups * group_outputs,
    // Rows sorted among themselves: a tile of their inputs is 48 KB with AVX-512, 24 KB with AVX2, and serves all groups of a band.
    list_rows = 128,
    most_packed = 6,
    // Groups whose sums are packed at a time.
    band_groups = 32,
    band_outputs = band_groups * group_outputs,
    // Bytes from which on a gradient of weights is written past the caches, which have no room for it until it is added to others: else
    // each line would be loaded from memory before it is overwritten.
    streamed_bytes = 1 << 20,
};

// What a row has in the list of a group: the gradients of the two outputs, 0 beyond the last, and where its inputs begin.
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

// A slab's rows, sorted. It has all lanes, or rows of one lane.
typedef struct {
    const t2v_winners *winners;
    ptrdiff_t row0, rows, block_count, groups, combinations;
    row_block *blocks;
    // Of each block, group after group, rows by combination; (blocks, groups, combinations).
    entry *entries;
    int32_t *counts;
    // Columns of a tile, and their inputs: packed (rows, size), or where they are.
    ptrdiff_t size;
    const float *inputs;
    float *packed;
    // (band's outputs, pieces, size), one for each sum of lanes; and the lines of memory that the next tile needs.
    float *tile;
    t2v_ahead ahead;
    // Whether gradients of weights go past the caches.
    int streams;
} slab;

static entry *entries_of(const slab *s, ptrdiff_t block, ptrdiff_t group) {
    return s->entries + s->blocks[block].first * s->groups + group * s->blocks[block].rows;
}

static int32_t *counts_of(const slab *s, ptrdiff_t block, ptrdiff_t group) {
    return s->counts + (block * s->groups + group) * s->combinations;
}

// What won in each of 8 pairs of outputs, as one number; `count` outputs are left.
ISA static inline __m128i combine(const t2v_winners *w, const uint8_t *won, ptrdiff_t count) {
    uint8_t first[16] = {0};
    if (count < 16) memcpy(first, won, (size_t)count);
    __m128i bytes = _mm_loadu_si128((const __m128i *)(count < 16 ? first : won));
    return _mm_maddubs_epi16(bytes, _mm_set1_epi16((short)(w->pieces | 1 << 8)));
}

// Counts the combinations in `groups` groups of a block, and keeps each row's.
ISA static void count_block(const slab *s, ptrdiff_t block, ptrdiff_t group0, ptrdiff_t groups, uint8_t *combinations) {
    const t2v_winners *w = s->winners;
    ptrdiff_t rows = s->blocks[block].rows, outputs = w->outputs - group0 * group_outputs;
    const uint8_t *won = w->won + (s->row0 + s->blocks[block].first) * w->outputs + group0 * group_outputs;
    if (outputs > groups * group_outputs) outputs = groups * group_outputs;
    int32_t counts[sorted_groups * most_combinations] = {0};
    // Lists are written next: their lines are fetched meanwhile.
    const char *lists = (const char *)entries_of(s, block, group0);
    ptrdiff_t list_bytes = groups * (ptrdiff_t)sizeof(entry);
    for (ptrdiff_t row = 0; row < rows; row++, won += w->outputs, combinations += sorted_groups) {
        if (row + 8 < rows) __builtin_prefetch(won + 8 * w->outputs);
        for (ptrdiff_t k = 0; k < list_bytes; k += 64) __builtin_prefetch(lists + row * list_bytes + k, 1);
        __m128i one = combine(w, won, outputs), two = outputs > 16 ? combine(w, won + 16, outputs - 16) : one;
        _mm_storeu_si128((__m128i *)combinations, _mm_packus_epi16(one, two));
        for (ptrdiff_t group = 0; group < groups; group++) counts[group * most_combinations + combinations[group]]++;
    }
    for (ptrdiff_t group = 0; group < groups; group++)
        memcpy(counts_of(s, block, group0 + group), counts + group * most_combinations, sizeof(int32_t) * (size_t)s->combinations);
}

// Puts every row of a block in its place.
ISA static void sort_block(const slab *s, ptrdiff_t block, ptrdiff_t group0, ptrdiff_t groups, const uint8_t *combinations) {
    const t2v_winners *w = s->winners;
    ptrdiff_t rows = s->blocks[block].rows, outputs = w->outputs - group0 * group_outputs;
    const float *from = w->gradients + (s->row0 + s->blocks[block].first) * w->outputs + group0 * group_outputs;
    if (outputs > groups * group_outputs) outputs = groups * group_outputs;
    entry *next[sorted_groups * most_combinations];
    for (ptrdiff_t group = 0; group < groups; group++) {
        entry *place = entries_of(s, block, group0 + group);
        const int32_t *counts = counts_of(s, block, group0 + group);
        for (ptrdiff_t c = 0; c < s->combinations; place += counts[c++]) next[group * most_combinations + c] = place;
    }
    ptrdiff_t first = s->blocks[block].first;
    for (ptrdiff_t row = 0; row < rows; row++, from += w->outputs, combinations += sorted_groups) {
        int32_t place = (int32_t)(s->packed ? (first + row) * s->size : input_of(w, s->row0 + first + row));
        float gradients[sorted_outputs] __attribute__((aligned(64)));
        ptrdiff_t soon = row + 8 < rows ? 8 * w->outputs : 0;
        for (ptrdiff_t o = 0; o < outputs; o += 16) __builtin_prefetch(from + soon + o);
        for (ptrdiff_t o = 0; o < outputs; o += WIDTH) store(gradients + o, load_part(from + o, first_lanes(outputs - o)));
        for (ptrdiff_t group = 0; group < groups; group++) {
            entry *made = next[group * most_combinations + combinations[group]]++;
            memcpy(made->gradients, gradients + group * group_outputs, sizeof made->gradients);
            made->place = place;
        }
    }
}

ISA static void sort_slab(const slab *s) {
    uint8_t combinations[list_rows * sorted_groups];
    for (ptrdiff_t block = 0; block < s->block_count; block++)
        for (ptrdiff_t group = 0; group < s->groups; group += sorted_groups) {
            ptrdiff_t groups = s->groups - group < sorted_groups ? s->groups - group : sorted_groups;
            count_block(s, block, group, groups, combinations);
            sort_block(s, block, group, groups, combinations);
        }
}

// A list, V vectors of inputs: gradients times inputs, added to sums (outputs, pieces). Lists come from the L2 cache or from beyond.
#define DEFINE_COLLECT(V)                                                                                                                  \
    ISA static void collect_##V(const slab *s, const entry *e, const int32_t *count, float *sums) {                                        \
        ptrdiff_t pieces = s->winners->pieces, size = s->size;                                                                             \
        const float *inputs = s->inputs;                                                                                                   \
        for (ptrdiff_t p = 0; p < pieces; p++) {                                                                                           \
            float *one = sums + p * size, *two = sums + pieces * size;                                                                     \
            vector a[V], b[V];                                                                                                             \
            UNROLL for (int v = 0; v < V; v++) a[v] = load(one + WIDTH * v);                                                               \
            for (ptrdiff_t q = 0; q < pieces; q++, two += size) {                                                                          \
                int32_t left = *count++;                                                                                                   \
                if (left == 0) continue;                                                                                                   \
                UNROLL for (int v = 0; v < V; v++) b[v] = load(two + WIDTH * v);                                                           \
                do {                                                                                                                       \
                    const float *source = inputs + e->place;                                                                               \
                    vector x = filled(e->gradients[0]), y = filled(e->gradients[1]);                                                       \
                    __builtin_prefetch(e++ + 64);                                                                                          \
                    UNROLL for (int v = 0; v < V; v++) {                                                                                   \
                        vector input = load(source + WIDTH * v);                                                                           \
                        a[v] = multiply_add(x, input, a[v]);                                                                               \
                        b[v] = multiply_add(y, input, b[v]);                                                                               \
                    }                                                                                                                      \
                } while (--left);                                                                                                          \
                UNROLL for (int v = 0; v < V; v++) store(two + WIDTH * v, b[v]);                                                           \
            }                                                                                                                              \
            UNROLL for (int v = 0; v < V; v++) store(one + WIDTH * v, a[v]);                                                               \
        }                                                                                                                                  \
    }
FOR_PACKED(DEFINE_COLLECT)
typedef void (*collect_function)(const slab *, const entry *, const int32_t *, float *);
#define COLLECT_NAME(V) collect_##V,
static const collect_function collect_list[] = {0, FOR_PACKED(COLLECT_NAME)};

// Copies sums of `count` outputs from `first` on to a gradient of weights.
ISA static void give_weights(const slab *s, const float *sums, float *to, ptrdiff_t first, ptrdiff_t count, ptrdiff_t columns) {
    const t2v_winners *w = s->winners;
    for (ptrdiff_t o = first; o < first + count && o < w->outputs; o++)
        for (ptrdiff_t p = 0; p < w->pieces; p++, sums += s->size) {
            float *target = to + (p * w->outputs + o) * w->weight_stride;
            if (s->streams && columns % 16 == 0 && (uintptr_t)target % 64 == 0) give_past(sums, target, columns);
            else give(sums, target, columns);
        }
}

// All rows of a slab in one tile: `groups` groups from group0 on. Where a lane ends, its sums are added to others and those of the next
// lane begin. A sum is copied to d_weights as soon as it is done: memory takes its time to write while others are computed.
ISA static void collect_tile(slab *s, ptrdiff_t group0, ptrdiff_t groups, float *d_weights, ptrdiff_t columns) {
    collect_function collect = collect_list[(columns + WIDTH - 1) / WIDTH];
    ptrdiff_t group_floats = group_outputs * s->winners->pieces * s->size, size = groups * group_floats, first = group0 * group_outputs;
    int begins = s->row0 == 0, has_lanes = s->winners->lanes != 0;
    for (ptrdiff_t block = 0; block < s->block_count; block++) {
        int32_t merges = s->blocks[block].merges;
        int is_last = block + 1 == s->block_count;
        for (ptrdiff_t group = 0; group < groups; group++) {
            float *sums = s->tile + group * group_floats;
            ahead_ask(&s->ahead);
            if (begins) memset(sums, 0, sizeof(float) * (size_t)group_floats);
            collect(s, entries_of(s, block, group0 + group), counts_of(s, block, group0 + group), sums);
            if (is_last && !has_lanes) give_weights(s, sums, d_weights, first + group * group_outputs, group_outputs, columns);
        }
        begins = merges >= 0;
        if (!begins) continue;
        s->tile = merge_lanes(s->tile, size, merges);
        if (!is_last) s->tile += size;
    }
    if (has_lanes) give_weights(s, s->tile, d_weights, first, groups * group_outputs, columns);
}

// Packs some columns of the slab's inputs.
ISA static void take_inputs(const slab *s, const float *input, ptrdiff_t columns) {
    for (ptrdiff_t row = 0; row < s->rows; row++) {
        const float *soon = input + input_of(s->winners, s->row0 + (row + 12 < s->rows ? row + 12 : row));
        for (ptrdiff_t k = 0; k < columns; k += 16) __builtin_prefetch(soon + k);
        take(input + input_of(s->winners, s->row0 + row), columns, s->packed + row * s->size, s->size);
    }
}

ISA static void collect_slab(slab *s, const float *input, float *d_weights) {
    const t2v_winners *w = s->winners;
    for (ptrdiff_t column = 0; column < w->inputs; column += s->size) {
        ptrdiff_t columns = w->inputs - column < s->size ? w->inputs - column : s->size;
        if (s->packed) take_inputs(s, input + column, columns);
        s->inputs = s->packed ? s->packed : input + column;
        for (ptrdiff_t group = 0; group < s->groups; group += band_groups) {
            ptrdiff_t groups = s->groups - group < band_groups ? s->groups - group : band_groups, first = group * group_outputs;
            ptrdiff_t count = w->outputs - first < band_outputs ? w->outputs - first : band_outputs;
            if (s->row0 > 0) take_weights(w, d_weights + column, first, count, columns, s->tile, s->size);
            ask_for_weights(w, d_weights, first + band_outputs, s->streams ? 0 : band_outputs, column, columns, &s->ahead);
            ahead_spread(&s->ahead, s->block_count * groups);
            collect_tile(s, group, groups, d_weights + column, columns);
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

// Whether inputs must be packed: where they are not whole vectors, where rows begin in few sets of the first-level cache, which then cannot
// hold a tile, and where an entry cannot say where they are: rows of a level begin at rows of the one below, which has three times as many
// at most.
static int must_pack(const slab *s, const float *input) {
    const t2v_winners *w = s->winners;
    ptrdiff_t stride = w->row_stride;
    return stride % WIDTH != 0 || w->inputs % WIDTH != 0 || (uintptr_t)input % 64 != 0 || (stride & -stride) > s->size ||
           w->rows > INT32_MAX / 4 / stride;
}

ISA static void collect(const t2v_winners *w, const float *input, float *d_weights) {
    slab s = {.winners = w, .groups = (w->outputs + group_outputs - 1) / group_outputs};
    s.combinations = w->pieces * w->pieces;
    s.size = tile_columns(w->inputs, most_packed * WIDTH);
    int is_packed = must_pack(&s, input);
    ptrdiff_t slab_rows = w->lanes ? w->rows : T2V_SLAB_ROWS, most_blocks = slab_rows / list_rows + (w->lanes ? w->lanes->count : 1);
    // With several slabs the next one would read the gradient again.
    s.streams = w->rows <= slab_rows && w->pieces * w->outputs * w->inputs * (ptrdiff_t)sizeof(float) >= streamed_bytes;
    for (s.row0 = 0; s.row0 < w->rows; s.row0 += slab_rows) {
        s.rows = w->rows - s.row0 < slab_rows ? w->rows - s.row0 : slab_rows;
        size_t sizes[] = {
            // Whole cache lines.
            (size_t)rounded_up(s.groups * s.rows * (ptrdiff_t)sizeof(entry), 64),
            is_packed ? sizeof(float) * (size_t)(s.rows * s.size) : 0,
            sizeof(float) * (size_t)(w->pieces * band_outputs * s.size * (w->lanes ? lane_places(w->lanes) : 1)),
            sizeof(float *) * (size_t)(w->pieces * band_outputs * (s.size / 16 + 1)),
            sizeof(row_block) * (size_t)most_blocks,
            sizeof(int32_t) * (size_t)(most_blocks * s.groups * s.combinations),
        };
        char *scratch = t2v_thread_scratch(sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4] + sizes[5]);
        s.entries = (entry *)scratch;
        s.packed = is_packed ? (float *)(scratch + sizes[0]) : 0;
        s.tile = (float *)(scratch += sizes[0] + sizes[1]);
        s.ahead = (t2v_ahead){(const float **)(scratch += sizes[2]), 0, 0, 0};
        s.blocks = (row_block *)(scratch += sizes[3]);
        s.counts = (int32_t *)(scratch + sizes[4]);
        cut_slab(&s);
        sort_slab(&s);
        collect_slab(&s, input, d_weights);
    }
    // Whoever gets the gradient next may be another thread.
    if (s.streams) _mm_sfence();
}
