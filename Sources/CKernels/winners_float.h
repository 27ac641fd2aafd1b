// Products through the winners of a Maxout layer, for one width of vectors.
//
// Of the P pieces of an output, only one has a gradient. A dense product of the routed gradient multiplies P - 1 times as many zeros; these
// kernels skip them.
#include "winners_collect.h"
#include "winners_spread.h"

ISA void NAMED(t2v_winners_gradients)(const t2v_winners *w, const float *weights, const float *input, float *d_weights, float *d_input) {
    if (d_weights) collect(w, input, d_weights);
    if (d_input) spread(w, weights, d_input);
}
