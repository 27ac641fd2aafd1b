// AVX-512's kernels, emulated, against AVX2's and against the definition of bf16: prints what differs, and how much was compared.
#include "kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compared, wrong;

static void *room(size_t bytes) {
    void *made = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!made) abort();
    return made;
}

static float *values(size_t count) {
    float *made = room(4 * count);
    for (size_t i = 0; i < count; i++) made[i] = (float)(rand() % 20001) / 10000 - 1;
    return made;
}

static float *copy(const float *from, size_t count) { return memcpy(room(4 * count), from, 4 * count); }

static void expect_same_bytes(const char *what, const void *a, const void *b, size_t count) {
    compared++;
    if (memcmp(a, b, count) == 0) return;
    wrong++;
    printf("%s: other bits\n", what);
}

static void expect_same(const char *what, const float *a, const float *b, size_t count) { expect_same_bytes(what, a, b, 4 * count); }

static void expect_near(const char *what, const float *found, const double *wanted, size_t count) {
    compared++;
    for (size_t i = 0; i < count; i++) {
        if (fabs(found[i] - wanted[i]) < 2e-5) continue;
        wrong++;
        printf("%s: %g instead of %g at %zu\n", what, found[i], wanted[i], i);
        return;
    }
}

static double half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&value, &bits, 4);
    return value;
}

static void check_product(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, int flags) {
    char what[80];
    snprintf(what, sizeof what, "product %td x %td x %td, flags %d", m, n, k, flags);
    ptrdiff_t lda = flags & T2V_A_TRANSPOSED ? m : k, ldb = flags & T2V_B_TRANSPOSED ? k : n;
    float *a = values(m * k), *b = values(n * k), *start = values(m * n);
    float *narrow = copy(start, m * n), *wide = copy(start, m * n), *packed = copy(start, m * n), *halved = copy(start, m * n);
    t2v_gemm_avx2(flags, m, n, k, a, lda, b, ldb, narrow, n);
    t2v_gemm_avx512(flags, m, n, k, a, lda, b, ldb, wide, n);
    float *panels = room(t2v_packed_bytes_avx512(n, k));
    t2v_pack_avx512(flags, n, k, b, ldb, panels);
    t2v_gemm_avx512(flags | T2V_B_PACKED, m, n, k, a, lda, panels, 0, packed, n);
    expect_same(what, wide, narrow, m * n);
    expect_same(what, packed, narrow, m * n);
    float *narrow_panels = room(t2v_packed_bytes_avx2(n, k)), *narrow_packed = copy(start, m * n);
    t2v_pack_avx2(flags, n, k, b, ldb, narrow_panels);
    t2v_gemm_avx2(flags | T2V_B_PACKED, m, n, k, a, lda, narrow_panels, 0, narrow_packed, n);
    expect_same(what, narrow_packed, narrow, m * n);
    // However a product is cut into parts: one sum over the whole depth, in its order.
    float *sums = copy(start, m * n);
    for (ptrdiff_t i = 0; i < m * n; i++) {
        if (!(flags & T2V_ACCUMULATE)) sums[i] = 0;
        for (ptrdiff_t p = 0; p < k; p++)
            sums[i] = fmaf(a[flags & T2V_A_TRANSPOSED ? p * m + i / n : i / n * k + p],
                           b[flags & T2V_B_TRANSPOSED ? i % n * k + p : p * n + i % n], sums[i]);
    }
    expect_same(what, narrow, sums, m * n);
    double *wanted = room(8 * m * n);
    for (ptrdiff_t i = 0; i < m * n; i++) {
        wanted[i] = flags & T2V_ACCUMULATE ? start[i] : 0;
        for (ptrdiff_t p = 0; p < k; p++)
            wanted[i] += half(a[flags & T2V_A_TRANSPOSED ? p * m + i / n : i / n * k + p]) *
                         half(b[flags & T2V_B_TRANSPOSED ? i % n * k + p : p * n + i % n]);
    }
    float *again = copy(start, m * n);
    t2v_gemm_bf16(flags, m, n, k, a, lda, b, ldb, halved, n);
    void *pairs = room(t2v_packed_bytes_bf16(n, k));
    t2v_pack_bf16(flags, n, k, b, ldb, pairs);
    t2v_gemm_bf16(flags | T2V_B_PACKED, m, n, k, a, lda, pairs, 0, again, n);
    expect_near(what, halved, wanted, m * n);
    expect_same(what, again, halved, m * n);
}

// The pre-activation for a window that begins at `d`, as t2v_convolve defines it: the first row of a pair, or the second.
static float convolved(const float *d, const float *windows, ptrdiff_t k, int is_second) {
    float m1 = 0, m2 = 0;
    // The pair's second to last rows of the input.
    const float *d1 = is_second ? d : d + k, *d2 = d1 + k, *outer = is_second ? d2 + k : d;
    for (ptrdiff_t p = 0; p < k; p++) {
        float x = windows[p], y = windows[k + p], z = windows[2 * k + p];
        m1 = fmaf(d1[p] + d2[p], 0.5f * (x + z + y), m1);
        m2 = fmaf(d2[p] - d1[p], 0.5f * (x + z - y), m2);
    }
    float sum = is_second ? m1 - m2 : m1 + m2;
    for (ptrdiff_t p = 0; p < k; p++)
        sum = is_second ? fmaf(outer[p] - d1[p], windows[2 * k + p], sum) : fmaf(outer[p] - d2[p], windows[p], sum);
    return sum;
}

// Rows come in runs of neighbours, the longest `longest`.
static void check_convolution(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, int longest) {
    char what[80];
    snprintf(what, sizeof what, "convolution of %td rows, %td x %td, runs of %d", m, n, k, longest);
    int32_t *starts = room(4 * m);
    int *is_second = room(sizeof(int) * m);
    for (ptrdiff_t row = 0, left = 0; row < m; row++, left--) {
        int begins = left == 0;
        if (begins) left = 1 + rand() % longest;
        starts[row] = row == 0 ? 1 : starts[row - 1] + (begins ? 2 : 1);
        is_second[row] = !begins && !is_second[row - 1];
    }
    ptrdiff_t below_rows = starts[m - 1] + 3;
    float *below = values(below_rows * k), *weights = values(n * 3 * k), *sums = room(4 * m * n);
    double *wanted = room(8 * m * n);
    for (ptrdiff_t i = 0; i < m * n; i++) {
        const float *d = below + starts[i / n] * k, *windows = weights + i % n * 3 * k;
        sums[i] = convolved(d, windows, k, is_second[i / n]);
        wanted[i] = 0;
        for (ptrdiff_t p = 0; p < 3 * k; p++) wanted[i] += (double)d[p] * windows[p];
    }
    expect_near(what, sums, wanted, m * n);
    for (int is_wide = 0; is_wide < 2; is_wide++) {
        float *found = values(m * n), *panels = room((is_wide ? t2v_packed_windows_bytes_avx512 : t2v_packed_windows_bytes_avx2)(n, k));
        (is_wide ? t2v_convolve_avx512 : t2v_convolve_avx2)(0, m, n, k, below, starts, weights, 3 * k, found, n);
        expect_same(what, found, sums, m * n);
        memset(found, 0, 4 * m * n);
        (is_wide ? t2v_pack_windows_avx512 : t2v_pack_windows_avx2)(n, k, weights, 3 * k, panels);
        (is_wide ? t2v_convolve_avx512 : t2v_convolve_avx2)(T2V_B_PACKED, m, n, k, below, starts, panels, 0, found, n);
        expect_same(what, found, sums, m * n);
    }
}

static void check_winners(ptrdiff_t outputs, ptrdiff_t pieces, ptrdiff_t inputs, ptrdiff_t stride, ptrdiff_t rows) {
    char what[80];
    snprintf(what, sizeof what, "winners of %td x %td, %td inputs, %td rows", pieces, outputs, inputs, rows);
    ptrdiff_t space = rows * stride + inputs, weights = pieces * outputs * inputs;
    float *gradients = values(rows * outputs), *w = values(weights), *input = values(space), *start = values(space);
    int32_t *row_starts = room(4 * rows);
    uint8_t *won = room(rows * outputs);
    for (ptrdiff_t r = 0; r < rows; r++) {
        row_starts[r] = (int32_t)(stride == inputs ? rand() % rows : r);
        for (ptrdiff_t o = 0; o < outputs; o++) won[r * outputs + o] = (uint8_t)(rand() % pieces);
    }
    t2v_winners winners = {outputs, pieces, inputs, rows, gradients, inputs, won, row_starts, stride};
    float *narrow = copy(start, space), *wide = copy(start, space), *halved = copy(start, space);
    float *narrow_weights = values(weights), *wide_weights = values(weights), *half_weights = values(weights);
    t2v_winners_input_gradient_by_row_avx2(&winners, w, narrow);
    t2v_winners_input_gradient_by_row_avx512(&winners, w, wide);
    t2v_winners_weight_gradient_by_row_avx2(&winners, input, narrow_weights);
    t2v_winners_weight_gradient_by_row_avx512(&winners, input, wide_weights);
    expect_same(what, wide, narrow, space);
    expect_same(what, wide_weights, narrow_weights, weights);
    if (pieces <= T2V_SORTED_PIECES) {
        memcpy(narrow, start, 4 * space);
        memcpy(wide, start, 4 * space);
        t2v_winners_gradients_avx2(&winners, w, input, narrow_weights, narrow);
        t2v_winners_gradients_avx512(&winners, w, input, wide_weights, wide);
        expect_same(what, wide, narrow, space);
        expect_same(what, wide_weights, narrow_weights, weights);
    }
    double *wanted = room(8 * space), *wanted_weights = room(8 * weights);
    for (ptrdiff_t i = 0; i < space; i++) wanted[i] = start[i];
    memset(wanted_weights, 0, 8 * weights);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t o = 0; o < outputs; o++)
            for (ptrdiff_t k = 0; k < inputs; k++) {
                ptrdiff_t at = row_starts[r] * stride + k, from = (won[r * outputs + o] * outputs + o) * inputs + k;
                wanted[at] += half(gradients[r * outputs + o]) * half(w[from]);
                wanted_weights[from] += half(gradients[r * outputs + o]) * half(input[at]);
            }
    t2v_winners_input_gradient_bf16(&winners, w, halved);
    t2v_winners_weight_gradient_bf16(&winners, input, half_weights);
    expect_near(what, halved, wanted, space);
    expect_near(what, half_weights, wanted_weights, weights);
}

// Sums of lanes against lanes one by one, which are then added: (0 + 1) + ((2 + 3) + 4).
enum { lane_count = 5 };
static const int32_t merges[lane_count] = {0, 1, 0, 1, 2};

static void add(float *to, const float *from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

static float *sum_of_lanes(float *lanes[lane_count], size_t count) {
    add(lanes[0], lanes[1], count);
    add(lanes[2], lanes[3], count);
    add(lanes[2], lanes[4], count);
    add(lanes[0], lanes[2], count);
    return lanes[0];
}

static void check_product_of_lanes(ptrdiff_t m, ptrdiff_t n, const ptrdiff_t *starts) {
    char what[80];
    snprintf(what, sizeof what, "product of lanes %td x %td", m, n);
    t2v_lanes lanes = {lane_count, starts, merges};
    float *a = values(starts[lane_count] * m), *b = values(starts[lane_count] * n), *one_by_one[lane_count];
    float *narrow = values(m * n), *wide = values(m * n);
    for (int lane = 0; lane < lane_count; lane++) {
        one_by_one[lane] = values(m * n);
        t2v_gemm_avx2(T2V_A_TRANSPOSED, m, n, starts[lane + 1] - starts[lane], a + starts[lane] * m, m, b + starts[lane] * n, n,
                      one_by_one[lane], n);
    }
    t2v_gemm_lanes_avx2(m, n, &lanes, a, m, b, n, narrow, n);
    t2v_gemm_lanes_avx512(m, n, &lanes, a, m, b, n, wide, n);
    float *sum = sum_of_lanes(one_by_one, m * n);
    expect_same(what, narrow, sum, m * n);
    expect_same(what, wide, sum, m * n);
    for (int lane = 0; lane < lane_count; lane++)
        t2v_gemm_bf16(T2V_A_TRANSPOSED, m, n, starts[lane + 1] - starts[lane], a + starts[lane] * m, m, b + starts[lane] * n, n,
                      one_by_one[lane], n);
    t2v_gemm_lanes_bf16(m, n, &lanes, a, m, b, n, wide, n);
    expect_same(what, wide, sum_of_lanes(one_by_one, m * n), m * n);
}

static void check_winners_of_lanes(ptrdiff_t outputs, ptrdiff_t pieces, ptrdiff_t inputs, ptrdiff_t stride, const ptrdiff_t *rows) {
    char what[80];
    snprintf(what, sizeof what, "winners of lanes, %td x %td, %td inputs", pieces, outputs, inputs);
    ptrdiff_t all = rows[lane_count], space = (all + 2 * lane_count) * stride + inputs, weights = pieces * outputs * inputs;
    float *gradients = values(all * outputs), *w = values(weights), *input = values(space), *start = values(space);
    int32_t *row_starts = room(4 * all);
    uint8_t *won = room(all * outputs);
    for (ptrdiff_t r = 0, lane = 0; r < all; r++) {
        while (r >= rows[lane + 1]) lane++;
        // Lanes have inputs of their own.
        row_starts[r] = (int32_t)(stride == inputs ? rows[lane] + rand() % (rows[lane + 1] - rows[lane]) : r + 2 * lane);
        for (ptrdiff_t o = 0; o < outputs; o++) won[r * outputs + o] = (uint8_t)(rand() % pieces);
    }
    t2v_lanes lanes = {lane_count, rows, merges};
    t2v_winners joined = {outputs, pieces, inputs, all, gradients, inputs, won, row_starts, stride, &lanes};
    enum { sorted, row_by_row, half };
    for (int order = pieces > T2V_SORTED_PIECES ? row_by_row : sorted; order <= half; order++) {
        float *wanted = copy(start, space), *one_by_one[lane_count];
        for (int lane = 0; lane < lane_count; lane++) {
            t2v_winners own = {outputs, pieces, inputs, rows[lane + 1] - rows[lane], gradients + rows[lane] * outputs, inputs,
                               won + rows[lane] * outputs, row_starts + rows[lane], stride, 0};
            one_by_one[lane] = values(weights);
            if (order == half) {
                t2v_winners_weight_gradient_bf16(&own, input, one_by_one[lane]);
                t2v_winners_input_gradient_bf16(&own, w, wanted);
            } else if (order == row_by_row) {
                t2v_winners_weight_gradient_by_row_avx2(&own, input, one_by_one[lane]);
                t2v_winners_input_gradient_by_row_avx2(&own, w, wanted);
            } else {
                t2v_winners_gradients_avx2(&own, w, input, one_by_one[lane], wanted);
            }
        }
        float *sum = sum_of_lanes(one_by_one, weights);
        for (int is_wide = order == half; is_wide < 2; is_wide++) {
            float *d_input = copy(start, space), *d_weights = values(weights);
            if (order == half) {
                t2v_winners_weight_gradient_bf16(&joined, input, d_weights);
                t2v_winners_input_gradient_bf16(&joined, w, d_input);
            } else if (order == row_by_row) {
                (is_wide ? t2v_winners_weight_gradient_by_row_avx512 : t2v_winners_weight_gradient_by_row_avx2)(&joined, input, d_weights);
                (is_wide ? t2v_winners_input_gradient_by_row_avx512 : t2v_winners_input_gradient_by_row_avx2)(&joined, w, d_input);
            } else {
                (is_wide ? t2v_winners_gradients_avx512 : t2v_winners_gradients_avx2)(&joined, w, input, d_weights, d_input);
            }
            expect_same(what, d_input, wanted, space);
            expect_same(what, d_weights, sum, weights);
        }
    }
}

// The mask of t2v_keep by its definition, block by block.
static void check_mask(ptrdiff_t width) {
    char what[80];
    snprintf(what, sizeof what, "mask of %td", width);
    t2v_mask mask = {(uint32_t)rand() * 5u, (uint32_t)rand() * 7u, (uint64_t)rand() << 33 | (uint64_t)rand(), (uint32_t)rand(), 20000};
    ptrdiff_t words = (width + 255) / 256 * 8, drawn = (width + 31) / 32 * 32;
    uint32_t *wanted = room(4 * words);
    memset(wanted, 0, 4 * words);
    for (ptrdiff_t j = 0; j < drawn; j++) {
        ptrdiff_t q = j / 8;
        uint32_t x[4] = {(uint32_t)mask.item, (uint32_t)(mask.item >> 32), mask.index, (uint32_t)(4 * (q / 4) + j % 8 / 2)};
        uint32_t k0 = mask.key0, k1 = mask.key1;
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
            uint64_t p0 = (uint64_t)x[0] * 0xD2511F53, p1 = (uint64_t)x[2] * 0xCD9E8D57;
            x[0] = (uint32_t)(p1 >> 32) ^ x[1] ^ k0;
            x[1] = (uint32_t)p1;
            x[2] = (uint32_t)(p0 >> 32) ^ x[3] ^ k1;
            x[3] = (uint32_t)p0;
        }
        uint32_t word = x[j % 2 + 2 * (q / 2 % 2)], bits = q % 2 ? word >> 16 : word & 0xffff;
        if (bits >= mask.threshold) wanted[8 * (j / 256) + j % 8] |= 1u << j / 8 % 32;
    }
    for (int is_wide = 0; is_wide < 2; is_wide++) {
        uint32_t *found = room(4 * words);
        (is_wide ? t2v_keep_avx512 : t2v_keep_avx2)(&mask, width, found);
        expect_same(what, (float *)found, (float *)wanted, words);
    }
}

static int plane_bit(const uint32_t *plane, ptrdiff_t unit) { return plane[8 * (unit / 256) + unit % 8] >> unit / 8 % 32 & 1; }

// The sum over a row's units as t2v_maxout defines it.
static float chain_sum(float *chains) {
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++) chains[i] += chains[i + width];
    return chains[0];
}

// Buffers of a Maxout layer's rows.
typedef struct {
    uint32_t *winners;
    float *normalized, *inverse, *out, *d_max, *d_gain, *d_shift, *d_bias;
    uint8_t *won;
} row_buffers;

static row_buffers buffers_of(const t2v_maxout *w, ptrdiff_t rows, const float *d_gain, const float *d_bias) {
    ptrdiff_t units = rows * w->outputs, words = rows * (w->pieces - 1) * ((w->outputs + 255) / 256 * 8);
    row_buffers made = {
        memset(room(4 * words + 4), 0, 4 * words + 4), values(units), values(rows), values(units), values(units), copy(d_gain, w->outputs),
        copy(d_gain, w->outputs), copy(d_bias, w->pieces * w->outputs), room(units),
    };
    return made;
}

// A row by the definition, in scalars.
static void define_row(const t2v_maxout *w, ptrdiff_t row, const float *z, const float *residual, const uint32_t *kept, const float *d_out,
                       row_buffers *b) {
    ptrdiff_t outputs = w->outputs, words = (outputs + 255) / 256 * 8;
    float sums[16] = {0}, squares[16] = {0}, backs[16] = {0}, products[16] = {0};
    float *n = b->normalized + row * outputs, *d_max = b->d_max + row * outputs, count = (float)outputs;
    uint32_t *winners = b->winners + row * (w->pieces - 1) * words;
    for (ptrdiff_t j = 0; j < outputs; j++) {
        n[j] = z[j] + w->bias[j];
        b->won[row * outputs + j] = 0;
        for (ptrdiff_t p = 1; p < w->pieces; p++) {
            float other = z[p * outputs + j] + w->bias[p * outputs + j];
            if (!(other > n[j])) continue;
            n[j] = other;
            winners[(p - 1) * words + 8 * (j / 256) + j % 8] |= 1u << j / 8 % 32;
            b->won[row * outputs + j] = (uint8_t)p;
        }
        sums[j % 16] += n[j];
    }
    float mean = chain_sum(sums) / count;
    for (ptrdiff_t j = 0; j < outputs; j++) squares[j % 16] = fmaf(n[j] - mean, n[j] - mean, squares[j % 16]);
    float inverse = 1 / sqrtf(chain_sum(squares) / count + w->epsilon);
    b->inverse[row] = inverse;
    for (ptrdiff_t j = 0; j < outputs; j++) {
        n[j] = (n[j] - mean) * inverse;
        float out = fmaf(n[j], w->gain[j], w->shift[j]), gradient = d_out[j];
        if (kept) {
            out = plane_bit(kept, j) ? out * w->keep_scale : 0;
            gradient = plane_bit(kept, j) ? gradient * w->keep_scale : 0;
        }
        b->out[row * outputs + j] = residual ? residual[j] + out : out;
        b->d_gain[j] = fmaf(gradient, n[j], b->d_gain[j]);
        b->d_shift[j] += gradient;
        d_max[j] = gradient * w->gain[j];
        backs[j % 16] += d_max[j];
        products[j % 16] = fmaf(d_max[j], n[j], products[j % 16]);
    }
    float middle = chain_sum(backs) / count, slope = -chain_sum(products) / count;
    for (ptrdiff_t j = 0; j < outputs; j++) {
        float centered = d_max[j] - middle;
        d_max[j] = fmaf(n[j], slope, centered) * inverse;
        b->d_bias[b->won[row * outputs + j] * outputs + j] += d_max[j];
    }
}

static void check_rows(ptrdiff_t outputs, ptrdiff_t pieces, ptrdiff_t rows, int has_kept, int has_residual) {
    char what[80];
    snprintf(what, sizeof what, "rows of %td x %td, kept %d, residual %d", pieces, outputs, has_kept, has_residual);
    ptrdiff_t words = (outputs + 255) / 256 * 8;
    float *bias = values(pieces * outputs), *d_gain = values(outputs), *d_bias = values(pieces * outputs);
    t2v_maxout w = {outputs, pieces, 1e-8f, 1.25f, bias, values(outputs), values(outputs)};
    float *z = values(rows * pieces * outputs), *residual = values((rows + 2) * outputs), *d_out = values(rows * outputs);
    uint32_t *kept = room(4 * rows * words);
    int32_t *residual_rows = room(4 * rows);
    for (ptrdiff_t i = 0; i < rows * words; i++) kept[i] = (uint32_t)rand() * 3u;
    for (ptrdiff_t row = 0; row < rows; row++) residual_rows[row] = rand() % (int32_t)(rows + 2);
    // A tie: the first piece wins.
    if (pieces > 1) z[outputs] = z[0], bias[outputs] = bias[0];
    row_buffers wanted = buffers_of(&w, rows, d_gain, d_bias);
    for (ptrdiff_t row = 0; row < rows; row++)
        define_row(&w, row, z + row * pieces * outputs, has_residual ? residual + residual_rows[row] * outputs : 0,
                   has_kept ? kept + row * words : 0, d_out + row * outputs, &wanted);
    for (int is_wide = 0; is_wide < 2; is_wide++) {
        row_buffers b = buffers_of(&w, rows, d_gain, d_bias);
        (is_wide ? t2v_maxout_forward_avx512 : t2v_maxout_forward_avx2)(&w, rows, z, has_residual ? residual : 0, residual_rows,
                                                                        has_kept ? kept : 0, b.winners, b.normalized, b.inverse, b.out);
        (is_wide ? t2v_norm_backward_avx512 : t2v_norm_backward_avx2)(&w, rows, d_out, has_kept ? kept : 0, b.normalized, b.inverse,
                                                                      b.d_gain, b.d_shift, b.d_max);
        (is_wide ? t2v_bias_backward_avx512 : t2v_bias_backward_avx2)(&w, rows, b.d_max, b.winners, b.won, b.d_bias);
        expect_same(what, (float *)b.winners, (float *)wanted.winners, rows * (pieces - 1) * words);
        expect_same(what, b.normalized, wanted.normalized, rows * outputs);
        expect_same(what, b.inverse, wanted.inverse, rows);
        expect_same(what, b.out, wanted.out, rows * outputs);
        expect_same(what, b.d_max, wanted.d_max, rows * outputs);
        expect_same(what, b.d_gain, wanted.d_gain, outputs);
        expect_same(what, b.d_shift, wanted.d_shift, outputs);
        expect_same(what, b.d_bias, wanted.d_bias, pieces * outputs);
        expect_same_bytes(what, b.won, wanted.won, rows * outputs);
    }
}

int main(void) {
    static const int products[][3] = {
        {1, 1, 1}, {14, 32, 16}, {15, 33, 17}, {29, 70, 40}, {3, 200, 5}, {45, 96, 288}, {31, 45, 37}, {70, 40, 300}, {460, 40, 300},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        for (int flags = 0; flags < 8; flags++) check_product(products[i][0], products[i][1], products[i][2], flags);
    static const int convolutions[][4] = {
        {1, 1, 1, 1}, {2, 33, 16, 2}, {7, 40, 17, 1}, {29, 96, 32, 9}, {60, 70, 40, 3}, {200, 48, 96, 20}, {300, 35, 130, 100},
    };
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        check_convolution(convolutions[i][0], convolutions[i][1], convolutions[i][2], convolutions[i][3]);
    static const int layers[][5] = {
        {96, 3, 288, 96, 70}, {17, 2, 51, 17, 77}, {33, 5, 203, 203, 50}, {5, 1, 96, 96, 40}, {7, 16, 9, 3, 33}, {16, 3, 104, 20, 99},
        {20, 3, 256, 256, 101}, {64, 3, 192, 64, 49}, {256, 3, 768, 256, 60}, {40, 3, 100, 50, 55}, {300, 3, 96, 96, 45},
        {19, 4, 130, 65, 300}, {6, 3, 40, 40, 1100},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        check_winners(layers[i][0], layers[i][1], layers[i][2], layers[i][3], layers[i][4]);
    static const ptrdiff_t few[] = {0, 3, 4, 20, 29, 70}, many[] = {0, 300, 310, 823, 900, 1100};
    check_product_of_lanes(14, 32, few);
    check_product_of_lanes(47, 71, few);
    check_product_of_lanes(5, 33, many);
    static const int joined[][4] = {{17, 2, 51, 17}, {33, 5, 203, 203}, {40, 3, 100, 50}, {64, 3, 192, 64}, {19, 4, 130, 65},
                                       {67, 3, 60, 20}};
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        check_winners_of_lanes(joined[i][0], joined[i][1], joined[i][2], joined[i][3], few);
        check_winners_of_lanes(joined[i][0], joined[i][1], joined[i][2], joined[i][3], many);
    }
    static const int widths[] = {1, 31, 32, 33, 96, 128, 200, 256, 257, 300, 600};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) check_mask(widths[i]);
    static const int rows[][3] = {{1, 1, 2}, {16, 3, 5}, {5, 2, 3}, {96, 3, 9}, {264, 4, 3}, {300, 3, 4}, {256, 3, 3}, {520, 6, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int flags = 0; flags < 4; flags++) check_rows(rows[i][0], rows[i][1], rows[i][2], flags & 1, flags >> 1);
    printf("%d compared, %d wrong\n", compared, wrong);
    return wrong != 0;
}
