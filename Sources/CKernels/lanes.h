// Sums over lanes, for one width of vectors.
#pragma once
#include "t2v_kernels.h"
#include "vectors.h"

static inline ptrdiff_t lane_rows(const t2v_lanes *lanes, ptrdiff_t lane) { return lanes->starts[lane + 1] - lanes->starts[lane]; }

// The most sums that there are at a time.
static inline ptrdiff_t lane_places(const t2v_lanes *lanes) {
    ptrdiff_t place = 0, most = 0;
    for (ptrdiff_t lane = 0; lane < lanes->count; lane++) {
        if (++place > most) most = place;
        place -= lanes->merges[lane];
    }
    return most;
}

// The two last sums, `size` floats each, become one as often as `merges` says. Returns the last sum.
ISA static inline float *merge_lanes(float *last, ptrdiff_t size, int32_t merges) {
    for (; merges > 0; merges--) {
        float *sum = last - size;
        for (ptrdiff_t k = 0; k < size; k += WIDTH) store(sum + k, plus(load(sum + k), load(last + k)));
        last = sum;
    }
    return last;
}
