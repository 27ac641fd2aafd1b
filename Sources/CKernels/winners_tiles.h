// Tiles of the matrices of products through winners: some columns of their rows, packed as whole vectors.
#pragma once
#include "winners.h"

// Columns of a tile, at most `most`: whole vectors if these have one. Tiles of a row are about equal.
static ptrdiff_t tile_columns(ptrdiff_t inputs, ptrdiff_t most) {
    if (most < WIDTH) return most;
    most -= most % WIDTH;
    ptrdiff_t tiles = (inputs + most - 1) / most;
    return rounded_up((inputs + tiles - 1) / tiles, WIDTH);
}

// `length` floats of a row, and zeros up to `size`.
ISA static inline void take(const float *from, ptrdiff_t length, float *packed, ptrdiff_t size) {
    ptrdiff_t k = 0;
    for (; k + WIDTH <= length; k += WIDTH) store(packed + k, load_unaligned(from + k));
    if (k < length) {
        store(packed + k, load_part(from + k, first_lanes(length - k)));
        k += WIDTH;
    }
    for (; k < size; k += WIDTH) store(packed + k, zeros());
}

// The other way round.
ISA static inline void give(const float *packed, float *to, ptrdiff_t length) {
    ptrdiff_t k = 0;
    for (; k + WIDTH <= length; k += WIDTH) store_unaligned(to + k, load(packed + k));
    if (k < length) store_part(to + k, first_lanes(length - k), load(packed + k));
}

// The same past the caches: whole cache lines.
ISA static inline void give_past(const float *packed, float *to, ptrdiff_t length) {
    for (ptrdiff_t k = 0; k < length; k += WIDTH) stream(to + k, load(packed + k));
}

// Copies `columns` columns of W's shape to a tile (count, pieces, size), from output `first` on.
ISA static void take_weights(const t2v_winners *w, const float *from, ptrdiff_t first, ptrdiff_t count, ptrdiff_t columns, float *packed,
                             ptrdiff_t size) {
    for (ptrdiff_t o = first; o < first + count; o++)
        for (ptrdiff_t p = 0; p < w->pieces; p++, packed += size)
            take(from + (p * w->outputs + o) * w->weight_stride, columns, packed, size);
}
