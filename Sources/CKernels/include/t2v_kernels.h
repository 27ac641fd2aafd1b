// Products of a training step. In: row-major matrices. Out: sums whose order depends neither on the number of rows nor on the CPU.
//
// Each thread keeps one scratch buffer, which grows to what its largest product needs and is freed when the thread ends.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// 1 if this CPU and its operating system have AVX-512 F, BW, VL and DQ.
int t2v_has_avx512(void);
/// 1 if it has AVX512-BF16 as well.
int t2v_has_avx512_bf16(void);

/// Prefetches `bytes` bytes from `start` on.
static inline void t2v_prefetch(const void *start, ptrdiff_t bytes) {
    for (ptrdiff_t k = 0; k < bytes; k += 64) __builtin_prefetch((const char *)start + k);
}

/// How the operands of a product are stored, and what happens to C.
enum {
    /// A is stored (k, m).
    T2V_A_TRANSPOSED = 1,
    /// B is stored (n, k).
    T2V_B_TRANSPOSED = 2,
    /// Adds to C instead of overwriting it.
    T2V_ACCUMULATE = 4,
    /// Rounds both operands to bf16 (to nearest, ties to even); sums stay float32. Ask t2v_has_avx512_bf16() first.
    T2V_BF16 = 8,
    /// B is what t2v_pack made of it; ldb is ignored.
    T2V_B_PACKED = 16,
    /// Uses AVX2 even if the CPU has AVX-512. The bits are the same: for tests and measurements only.
    T2V_AVX2 = 32,
    /// Products through winners go row by row, as in version 0.1: slower, unless there are few rows. d_weights: rows in order. d_input:
    /// outputs by 16, then columns by 96 (by 8 and what is left at the end, where inputs of different rows can overlap), then rows.
    T2V_BY_ROW = 64,
    /// For t2v_pack: B is the weights of t2v_convolve, stored (n, k) with k = 3 K. Not with T2V_BF16.
    T2V_WINDOWS = 128,
};

/// C (m, n) = A (m, k) B (k, n). Each element is one chain of fused multiply-adds over k in ascending order, so a row's bits depend on
/// that row and B alone.
void t2v_gemm(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, float *c,
              ptrdiff_t ldc);

/// C (m, n) = windows of three rows times B (n, 3 K)^T, in float32. Row i's window begins at row starts[i] of `below` (rows, K).
///
/// Where starts[i + 1] is starts[i] + 1, rows i and i + 1 are computed as a pair, with two thirds of the multiplications (see
/// windows_float.h); pairs are made from row 0 on, and other rows are computed as the first of a pair. So a row's bits depend on its place
/// in a run of neighbours and on its window, not on other rows.
/// `k`: K. `flags`: T2V_B_PACKED, of t2v_pack with T2V_WINDOWS, and T2V_AVX2.
/// Returns how many rows of K it multiplied with n columns: four for a pair, three for another row.
ptrdiff_t t2v_convolve(int flags, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const float *below, const int32_t *starts, const float *b,
                       ptrdiff_t ldb, float *c, ptrdiff_t ldc);

/// Rows of lanes. A gradient of weights is summed over the rows of each lane, then over the lanes: after each lane's own sum, the two last
/// sums are added as often as `merges` says.
typedef struct {
    ptrdiff_t count;
    /// (count + 1): where each lane's rows begin, and the end. No lane is empty.
    const ptrdiff_t *starts;
    /// (count).
    const int32_t *merges;
} t2v_lanes;

/// C (m, n) = A (k, m)^T B (k, n), where the k rows of A and of B are those of lanes: for each, the bits of t2v_gemm. `flags`: 0, T2V_AVX2
/// or T2V_BF16.
void t2v_gemm_lanes(int flags, ptrdiff_t m, ptrdiff_t n, const t2v_lanes *lanes, const float *a, ptrdiff_t lda, const float *b,
                    ptrdiff_t ldb, float *c, ptrdiff_t ldc);

/// Bytes that t2v_pack writes. `flags`: T2V_BF16 and T2V_AVX2 if the product has them.
size_t t2v_packed_bytes(int flags, ptrdiff_t n, ptrdiff_t k);

/// Puts B into the order in which t2v_gemm reads it, for products of many A with the same B; flags as there.
/// `packed`: aligned to 64 bytes.
void t2v_pack(int flags, ptrdiff_t n, ptrdiff_t k, const float *b, ptrdiff_t ldb, void *packed);

/// Products with W (P * O, K) through the winning pieces of a Maxout layer: of the P pieces of an output one has a gradient.
typedef struct {
    /// O, P, K and the number of rows R.
    ptrdiff_t outputs, pieces, inputs, rows;
    /// (R, O): gradients of the maxima.
    const float *gradients;
    /// Floats from one row of W to the next; K or more.
    ptrdiff_t weight_stride;
    /// (R, O): the piece that won. Row (piece * O + o) of W is the winner's.
    const uint8_t *won;
    /// Row r's input begins at row_starts[r] * row_stride, or at r * row_stride if NULL. Inputs of different rows may overlap.
    const int32_t *row_starts;
    ptrdiff_t row_stride;
    /// Of the rows; NULL: they are one lane. See t2v_winners_join.
    const t2v_lanes *lanes;
} t2v_winners;

/// The most pieces for which rows are sorted by their winners, and how many rows are sorted at a time.
enum { T2V_SORTED_PIECES = 4, T2V_SLAB_ROWS = 1024 };

/// d_weights(winner of o)[k] = sum over rows of gradient * input(row)[k]; all P * O rows of d_weights are written if there is a row.
/// d_input(row)[k] += sum over o of gradient * W(winner of o)[k]. Either may be NULL: it is then left out.
///
/// d_weights: rows by 128, outputs by 2, then rows by what won there. d_input: rows by 1,024, outputs by 32, then columns by row_stride,
/// rows, outputs. `flags`: T2V_BY_ROW, which is also the order if P > T2V_SORTED_PIECES; T2V_BF16 rounds inputs, weights and gradients, and
/// has an order of its own; T2V_AVX2. With lanes, rows are counted from the first one of their lane.
void t2v_winners_gradients(int flags, const t2v_winners *winners, const float *weights, const float *input, float *d_weights,
                           float *d_input);

/// 1 if t2v_winners_gradients can compute these lanes together; 0 if rows are sorted and a lane has more than 1,024.
int t2v_winners_join(int flags, const t2v_winners *winners);

/// What a dropout mask is drawn from: the key of Philox4x32-10, and three of a counter's four words; the last one counts 0, 1, 2, ...
typedef struct {
    uint32_t key0, key1;
    /// The counter's first two words, the low one first.
    uint64_t item;
    uint32_t index;
    /// A unit is kept when its 16 bits are not below this; 1 or more.
    uint32_t threshold;
} t2v_mask;

/// Writes the plane of kept units: unit j is bit j / 8 % 32 of word 8 * (j / 256) + j % 8.
///
/// Four counters decide 32 units. Random bits of unit j: its chunk is q = j / 8; the counter is 4 * (q / 4) + j % 8 / 2, its word is
/// j % 2 + 2 * (q / 2 % 2), of which even q take the low half, odd q the high half.
/// `width`: of the mask; units beyond it, up to a multiple of 32, are drawn as well. `plane`: 8 words for each 256 units. `flags`:
/// T2V_AVX2.
void t2v_keep(int flags, const t2v_mask *mask, ptrdiff_t width, uint32_t *plane);

/// A Maxout layer followed by LayerNorm and dropout (thinc 8 `maxout.py`, `layernorm.py`). Sums over the units of a row are sixteen chains,
/// unit j in chain j % 16, which are then halved: chain i gets chain i + 8, and so on.
typedef struct {
    /// O and P.
    ptrdiff_t outputs, pieces;
    /// Of LayerNorm; and 1 / (1 - dropout rate).
    float epsilon, keep_scale;
    /// (P, O), or NULL with one piece; G and b of LayerNorm, (O).
    const float *bias, *gain, *shift;
} t2v_maxout;

/// out = residual + dropout(LayerNorm(max over pieces(z + bias))), row by row.
/// `z`: (rows, P, O); with one piece it may be `normalized`. `residual`: row r's is number residual_rows[r], or r if these are NULL; NULL:
/// none. `kept`: planes of kept units (see t2v_keep), NULL without dropout. `winners`: written; for each piece but the first the plane of
/// units in which it beat every piece before it; NULL with one piece. `normalized`: (rows, O), written: (maximum - mean) / deviation.
/// `inverse`: (rows), written: 1 / deviation. `flags`: T2V_AVX2.
void t2v_maxout_forward(int flags, const t2v_maxout *layer, ptrdiff_t rows, const float *z, const float *residual,
                        const int32_t *residual_rows, const uint32_t *kept, uint32_t *winners, float *normalized, float *inverse,
                        float *out);

/// Back through dropout and LayerNorm. `d_gain`, `d_shift`: (O), added to. `d_max`: (rows, O), written: gradients of the maxima; it may be
/// `d_out`.
void t2v_norm_backward(int flags, const t2v_maxout *layer, ptrdiff_t rows, const float *d_out, const uint32_t *kept,
                       const float *normalized, const float *inverse, float *d_gain, float *d_shift, float *d_max);

/// For t2v_winners: `won`, (rows, O), written: the piece that won. `d_bias`: (P, O): gradients of the maxima are added to the winners'
/// biases, and 0 to the others.
void t2v_bias_backward(int flags, const t2v_maxout *layer, ptrdiff_t rows, const float *d_max, const uint32_t *winners, uint8_t *won,
                       float *d_bias);
