// What the products through winners share, in float32 and in bf16.
#pragma once
#include "t2v_kernels.h"
#include "vectors.h"

// Where a row's input, or the gradient of it, begins.
static inline ptrdiff_t input_of(const t2v_winners *w, ptrdiff_t row) { return (w->row_starts ? w->row_starts[row] : row) * w->row_stride; }

// All rows of w, whose targets are `length` wide. TWO does rows `open` and `next` where these do not overlap, ONE does `open` alone. NEXT
// makes the row with number `row`. Each row prefetches some lines of `ahead`.
#define PAIR_ROWS(TYPE, NEXT, TWO, ONE)                                                                                                    \
    TYPE open = {0};                                                                                                                       \
    for (ptrdiff_t row = 0; row < w->rows; row++) {                                                                                        \
        TYPE next = NEXT;                                                                                                                  \
        ahead_ask(ahead);                                                                                                                  \
        if (!open.target) {                                                                                                                \
            open = next;                                                                                                                   \
        } else if (next.target - open.target >= length || open.target - next.target >= length) {                                           \
            TWO;                                                                                                                           \
            open.target = 0;                                                                                                               \
        } else {                                                                                                                           \
            ONE;                                                                                                                           \
            open = next;                                                                                                                   \
        }                                                                                                                                  \
    }                                                                                                                                      \
    if (open.target) ONE

// For up to WIDTH outputs: lane * unit + winning piece * step.
ISA static inline integers places(const uint8_t *won, ptrdiff_t count, int unit, int step) {
    return add_integers(times(counting(), unit), times(load_bytes(won, count), step));
}

// The weights of the next tile, to be prefetched: `length` columns from `column` on, of all pieces of outputs `first` to `first + count`.
static inline void ask_for_weights(const t2v_winners *w, const float *weights, ptrdiff_t first, ptrdiff_t count, ptrdiff_t column,
                                   ptrdiff_t length, t2v_ahead *ahead) {
    ahead->count = ahead->next = 0;
    for (ptrdiff_t p = 0; p < w->pieces; p++)
        for (ptrdiff_t o = first; o < first + count && o < w->outputs; o++)
            ahead_add(ahead, weights + (p * w->outputs + o) * w->weight_stride + column, length);
}
