// What the products through winners share, in float32 and in bf16.
#pragma once
#include "common.h"
#include "t2v_kernels.h"

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

// Whether sorting rows by their winners pays. With more pieces or fewer rows, most combinations have a row or two.
static inline int is_worth_sorting(const t2v_winners *w) { return w->pieces <= T2V_SORTED_PIECES && w->rows >= T2V_SORTED_ROWS; }

// The weights of the next tile, to be prefetched: `length` columns from `column` on, of all pieces of outputs `first` to `first + count`.
static inline void ask_for_weights(const t2v_winners *w, const float *weights, ptrdiff_t first, ptrdiff_t count, ptrdiff_t column,
                                   ptrdiff_t length, t2v_ahead *ahead) {
    ahead->count = ahead->next = 0;
    for (ptrdiff_t p = 0; p < w->pieces; p++)
        for (ptrdiff_t o = first; o < first + count && o < w->outputs; o++)
            ahead_add(ahead, weights + (p * w->outputs + o) * w->weight_stride + column, length);
}
