// Maxout, LayerNorm, dropout and residual of rows; and backward.
//
// Sums over the units of a row are sixteen chains, unit j in chain j % 16, added in a fixed tree: the bits do not depend on the width.
#include "planes.h"
#include <math.h>

#pragma STDC FP_CONTRACT OFF

// All ones where something holds, else zeros.
typedef int32_t choice __attribute__((vector_size(4 * WIDTH)));

enum {
    // Units at a time: one vector or two.
    step_units = 16,
    step_vectors = step_units / WIDTH,
    // Units of 8 words of a plane.
    part_units = 256,
    // A row's pieces are compared at once up to so many.
    fused_pieces = 3,
};

// Calls BODY for each vector of units first..<first + count: its first unit u, the units that are left, whether it is whole, and its bit in
// the planes.
#define FOR_UNITS(FIRST, COUNT, BODY)                                                                                                      \
    do {                                                                                                                                   \
        plane_words bits = first_bits;                                                                                                     \
        ptrdiff_t end = (FIRST) + (COUNT), step = (FIRST);                                                                                 \
        for (; step + step_units <= end; step += step_units, bits <<= 2) {                                                                 \
            enum { whole = 1 };                                                                                                            \
            UNROLL for (int h = 0; h < step_vectors; h++) {                                                                                \
                const ptrdiff_t u = step + WIDTH * h, left = WIDTH;                                                                        \
                const plane_words bit = bits << h;                                                                                         \
                (void)left, (void)bit;                                                                                                     \
                BODY                                                                                                                       \
            }                                                                                                                              \
        }                                                                                                                                  \
        if (step < end) {                                                                                                                  \
            enum { whole = 0 };                                                                                                            \
            for (int h = 0; h < step_vectors; h++) {                                                                                       \
                const ptrdiff_t u = step + WIDTH * h, left = end - u;                                                                      \
                const plane_words bit = bits << h;                                                                                         \
                (void)bit;                                                                                                                 \
                BODY                                                                                                                       \
            }                                                                                                                              \
        }                                                                                                                                  \
    } while (0)

#if WIDTH == 16
static const plane_words first_bits = {1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2};
#else
static const plane_words first_bits = {1, 1, 1, 1, 1, 1, 1, 1};
#endif

ISA static inline vector at(const float *from, int whole, ptrdiff_t left) {
    return whole ? load_unaligned(from) : load_part(from, first_lanes(left));
}
ISA static inline void put(float *to, vector value, int whole, ptrdiff_t left) {
    if (whole) store_unaligned(to, value);
    else store_part(to, first_lanes(left), value);
}
ISA static inline vector where(choice choice, vector value) { return (vector)((plane_words)value & (plane_words)choice); }
ISA static inline vector either(choice choice, vector value, vector other) {
    return (vector)(((plane_words)value & (plane_words)choice) | ((plane_words)other & ~(plane_words)choice));
}
// Lanes of a row that end at its last unit.
ISA static inline vector within(vector value, int whole, ptrdiff_t left) {
    if (whole) return value;
    plane_words lanes = (plane_words)counting();
    return where((choice)lanes < (int)(left < 0 ? 0 : left), value);
}

// The 8 words of a part of a plane, in both halves of a wide vector.
ISA static inline plane_words words_of(const uint32_t *plane) {
    plane_words words;
    for (int h = 0; h < WIDTH / 8; h++) memcpy((char *)&words + 32 * h, plane, 32);
    return words;
}
ISA static inline choice chosen(plane_words words, plane_words bit) { return (choice)((words & bit) != 0); }

static inline ptrdiff_t words_in_plane(ptrdiff_t units) { return (units + part_units - 1) / part_units * 8; }

ISA static inline float chain_sum(const vector *sums) {
    float lanes[step_units];
    memcpy(lanes, sums, sizeof lanes);
    for (int width = step_units / 2; width > 0; width /= 2)
        for (int lane = 0; lane < width; lane++) lanes[lane] += lanes[lane + width];
    return lanes[0];
}

// The maxima of the first `pieces` pieces, which is a constant; adds them to `sums`.
ISA static inline __attribute__((always_inline)) void first_pieces(const t2v_maxout *w, int pieces, const float *z, uint32_t *winners,
                                                                   float *best, vector *sums) {
    ptrdiff_t outputs = w->outputs, words = words_in_plane(outputs);
    for (ptrdiff_t part = 0; part < outputs; part += part_units) {
        plane_words planes[fused_pieces] = {{0}};
        ptrdiff_t count = outputs - part < part_units ? outputs - part : part_units;
        FOR_UNITS(part, count, {
            vector value = at(z + u, whole, left);
            if (w->bias) value += at(w->bias + u, whole, left);
            UNROLL for (int p = 1; p < pieces; p++) {
                vector other = at(z + p * outputs + u, whole, left) + at(w->bias + p * outputs + u, whole, left);
                choice wins = other > value;
                value = either(wins, other, value);
                planes[p] |= (plane_words)wins & bit;
            }
            put(best + u, value, whole, left);
            sums[h] += value;
        });
        for (int p = 1; p < pieces; p++) put_words(winners + (p - 1) * words + part / 32, planes[p]);
    }
}

// The same after one more piece.
ISA static void next_piece(const t2v_maxout *w, ptrdiff_t p, const float *z, uint32_t *winners, float *best, vector *sums) {
    ptrdiff_t outputs = w->outputs, words = words_in_plane(outputs);
    for (ptrdiff_t part = 0; part < outputs; part += part_units) {
        plane_words plane = {0};
        ptrdiff_t count = outputs - part < part_units ? outputs - part : part_units;
        FOR_UNITS(part, count, {
            vector value = at(best + u, whole, left);
            vector other = at(z + p * outputs + u, whole, left) + at(w->bias + p * outputs + u, whole, left);
            choice wins = other > value;
            value = either(wins, other, value);
            plane |= (plane_words)wins & bit;
            put(best + u, value, whole, left);
            sums[h] += value;
        });
        put_words(winners + (p - 1) * words + part / 32, plane);
    }
}

ISA static float maxima(const t2v_maxout *w, const float *z, uint32_t *winners, float *best) {
    vector sums[step_vectors] = {{0}};
    if (w->pieces == 1) first_pieces(w, 1, z, winners, best, sums);
    else if (w->pieces == 2) first_pieces(w, 2, z, winners, best, sums);
    else first_pieces(w, fused_pieces, z, winners, best, sums);
    for (ptrdiff_t p = fused_pieces; p < w->pieces; p++) {
        memset(sums, 0, sizeof sums);
        next_piece(w, p, z, winners, best, sums);
    }
    return chain_sum(sums);
}

// out = residual + dropout(LayerNorm(normalized)). `drops` and `adds` are constants.
ISA static inline __attribute__((always_inline)) void finish_row(const t2v_maxout *w, int drops, int adds, vector mean, vector inverse,
                                                                 const float *residual, const uint32_t *kept, float *normalized,
                                                                 float *out) {
    for (ptrdiff_t part = 0; part < w->outputs; part += part_units) {
        plane_words words = drops ? words_of(kept + part / 32) : (plane_words){0};
        ptrdiff_t count = w->outputs - part < part_units ? w->outputs - part : part_units;
        FOR_UNITS(part, count, {
            vector value = (at(normalized + u, whole, left) - mean) * inverse;
            put(normalized + u, value, whole, left);
            value = multiply_add(value, at(w->gain + u, whole, left), at(w->shift + u, whole, left));
            if (drops) value = where(chosen(words, bit), value * filled(w->keep_scale));
            if (adds) value = at(residual + u, whole, left) + value;
            put(out + u, value, whole, left);
        });
    }
}

// Returns 1 / deviation.
ISA static float norm_row(const t2v_maxout *w, float sum, const float *residual, const uint32_t *kept, float *normalized, float *out) {
    float count = (float)w->outputs;
    vector mean = filled(sum / count), squares[step_vectors] = {{0}};
    FOR_UNITS(0, w->outputs, {
        vector distance = within(at(normalized + u, whole, left) - mean, whole, left);
        squares[h] = multiply_add(distance, distance, squares[h]);
    });
    float inverse = 1 / sqrtf(chain_sum(squares) / count + w->epsilon);
    vector scale = filled(inverse);
    if (kept && residual) finish_row(w, 1, 1, mean, scale, residual, kept, normalized, out);
    else if (kept) finish_row(w, 1, 0, mean, scale, residual, kept, normalized, out);
    else if (residual) finish_row(w, 0, 1, mean, scale, residual, kept, normalized, out);
    else finish_row(w, 0, 0, mean, scale, residual, kept, normalized, out);
    return inverse;
}

ISA void NAMED(t2v_maxout_forward)(const t2v_maxout *w, ptrdiff_t rows, const float *z, const float *residual, const int32_t *residual_rows,
                                   const uint32_t *kept, uint32_t *winners, float *normalized, float *inverse, float *out) {
    ptrdiff_t outputs = w->outputs, wide = w->pieces * outputs, words = words_in_plane(outputs);
    for (ptrdiff_t row = 0; row < rows; row++) {
        float *own = normalized + row * outputs;
        float sum = maxima(w, z + row * wide, winners ? winners + row * (w->pieces - 1) * words : 0, own);
        const float *added = residual ? residual + (residual_rows ? residual_rows[row] : row) * outputs : 0;
        inverse[row] = norm_row(w, sum, added, kept ? kept + row * words : 0, own, out + row * outputs);
    }
}

// Gradients of gain and shift, and those of what LayerNorm gets. `drops` is a constant.
ISA static inline __attribute__((always_inline)) void norm_row_back(const t2v_maxout *w, int drops, const float *d_out,
                                                                    const uint32_t *kept, const float *normalized, float inverse,
                                                                    float *d_gain, float *d_shift, float *d_max) {
    vector sums[step_vectors] = {{0}}, products[step_vectors] = {{0}};
    for (ptrdiff_t part = 0; part < w->outputs; part += part_units) {
        plane_words words = drops ? words_of(kept + part / 32) : (plane_words){0};
        ptrdiff_t count = w->outputs - part < part_units ? w->outputs - part : part_units;
        FOR_UNITS(part, count, {
            vector gradient = at(d_out + u, whole, left);
            vector value = at(normalized + u, whole, left);
            if (drops) gradient = where(chosen(words, bit), gradient * filled(w->keep_scale));
            put(d_gain + u, multiply_add(gradient, value, at(d_gain + u, whole, left)), whole, left);
            put(d_shift + u, at(d_shift + u, whole, left) + gradient, whole, left);
            vector back = gradient * at(w->gain + u, whole, left);
            put(d_max + u, back, whole, left);
            sums[h] += back;
            products[h] = multiply_add(back, value, products[h]);
        });
    }
    float count = (float)w->outputs;
    vector mean = filled(chain_sum(sums) / count), slope = filled(-chain_sum(products) / count), scale = filled(inverse);
    FOR_UNITS(0, w->outputs, {
        vector centered = at(d_max + u, whole, left) - mean;
        put(d_max + u, multiply_add(at(normalized + u, whole, left), slope, centered) * scale, whole, left);
    });
}

ISA void NAMED(t2v_norm_backward)(const t2v_maxout *w, ptrdiff_t rows, const float *d_out, const uint32_t *kept, const float *normalized,
                                  const float *inverse, float *d_gain, float *d_shift, float *d_max) {
    ptrdiff_t outputs = w->outputs, words = words_in_plane(outputs);
    for (ptrdiff_t row = 0; row < rows; row++) {
        const float *d = d_out + row * outputs, *own = normalized + row * outputs;
        if (kept) norm_row_back(w, 1, d, kept + row * words, own, inverse[row], d_gain, d_shift, d_max + row * outputs);
        else norm_row_back(w, 0, d, 0, own, inverse[row], d_gain, d_shift, d_max + row * outputs);
    }
}

// A row of t2v_bias_backward. `pieces` is a constant, or more than fused_pieces.
ISA static inline __attribute__((always_inline)) void bias_row(const t2v_maxout *w, ptrdiff_t pieces, const float *d_max,
                                                               const uint32_t *winners, uint8_t *won, float *d_bias) {
    ptrdiff_t outputs = w->outputs, words = words_in_plane(outputs);
    for (ptrdiff_t part = 0; part < outputs; part += part_units) {
        plane_words planes[fused_pieces] = {{0}};
        UNROLL for (int p = 1; p < fused_pieces; p++)
            if (p < pieces) planes[p] = words_of(winners + (p - 1) * words + part / 32);
        ptrdiff_t count = outputs - part < part_units ? outputs - part : part_units;
        FOR_UNITS(part, count, {
            vector gradient = at(d_max + u, whole, left);
            // The last piece that beat all before it is the winner.
            choice open = ~(choice){0};
            plane_words piece = {0};
            for (ptrdiff_t p = pieces - 1; p >= 0; p--) {
                choice wins = open;
                if (p >= fused_pieces) wins &= chosen(words_of(winners + (p - 1) * words + part / 32), bit);
                else if (p > 0) wins &= chosen(planes[p], bit);
                open &= ~wins;
                float *bias = d_bias + p * outputs + u;
                put(bias, at(bias, whole, left) + where(wins, gradient), whole, left);
                piece |= (plane_words)wins & (uint32_t)p;
            }
            store_bytes(won + u, left, (integers)piece);
        });
    }
}

ISA void NAMED(t2v_bias_backward)(const t2v_maxout *w, ptrdiff_t rows, const float *d_max, const uint32_t *winners, uint8_t *won,
                                  float *d_bias) {
    ptrdiff_t outputs = w->outputs, words = (w->pieces - 1) * words_in_plane(outputs);
    for (ptrdiff_t row = 0; row < rows; row++, d_max += outputs, winners += words, won += outputs) {
        if (w->pieces == 1) bias_row(w, 1, d_max, winners, won, d_bias);
        else if (w->pieces == 2) bias_row(w, 2, d_max, winners, won, d_bias);
        else if (w->pieces == 3) bias_row(w, 3, d_max, winners, won, d_bias);
        else bias_row(w, w->pieces, d_max, winners, won, d_bias);
    }
}
