// Dropout masks as bit planes: Philox4x32-10 (Salmon et al., SC'11), a counter for each 64-bit lane.
#pragma once
#include "t2v_kernels.h"
#include "vectors.h"
#include <string.h>

// Words of planes.
typedef uint32_t plane_words __attribute__((vector_size(4 * WIDTH)));

// Writes the 8 words of a part of a plane, of which a wide vector has two halves.
ISA static inline void put_words(uint32_t *plane, plane_words words) {
    uint32_t made[WIDTH];
    memcpy(made, &words, sizeof made);
    for (int word = 0; word < 8; word++) plane[word] = made[word] | made[word + WIDTH - 8];
}

// One counter in each lane: two products of 32 bits a round. Upper halves of the words are of no use until the end.
typedef uint64_t counters __attribute__((vector_size(4 * WIDTH)));

enum {
    // Four counters decide 32 units.
    group_units = 32,
    vector_groups = WIDTH / 8,
    // The groups of 8 words of a plane.
    part_groups = 8,
    // A round is a chain of some ten cycles: so many vectors hide it.
    most_vectors = 4,
};

// 1 where 16 random bits are not below the threshold: threshold - 1 minus them is then negative.
ISA static inline plane_words kept(plane_words limit, plane_words bits) { return (limit - bits) >> 31; }

// Adds to `plane` the units of V vectors of groups, the first of which is `group` (a multiple of vector_groups).
#define DEFINE_KEEP(V)                                                                                                                     \
    ISA static inline plane_words keep_##V(const t2v_mask *mask, ptrdiff_t group, plane_words plane) {                                     \
        counters x0[V], x1[V], x2[V], x3[V];                                                                                               \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            x0[v] = (counters){0} + (uint32_t)mask->item;                                                                                  \
            x1[v] = (counters){0} + (mask->item >> 32);                                                                                    \
            x2[v] = (counters){0} + mask->index;                                                                                           \
            x3[v] = lane_numbers + (uint64_t)(4 * (group + v * vector_groups));                                                            \
        }                                                                                                                                  \
        uint32_t k0 = mask->key0, k1 = mask->key1;                                                                                         \
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85)                                                       \
            UNROLL for (int v = 0; v < V; v++) {                                                                                           \
                counters p0 = (x0[v] & 0xFFFFFFFF) * 0xD2511F53, p1 = (x2[v] & 0xFFFFFFFF) * 0xCD9E8D57;                                   \
                x0[v] = (p1 >> 32) ^ x1[v] ^ k0;                                                                                           \
                x1[v] = p1;                                                                                                                \
                x2[v] = (p0 >> 32) ^ x3[v] ^ k1;                                                                                           \
                x3[v] = p0;                                                                                                                \
            }                                                                                                                              \
        plane_words limit = (plane_words){0} + (mask->threshold - 1);                                                                      \
        UNROLL for (int v = 0; v < V; v++) {                                                                                               \
            plane_words first = (plane_words)((x0[v] & 0xFFFFFFFF) | (x1[v] << 32));                                                       \
            plane_words second = (plane_words)((x2[v] & 0xFFFFFFFF) | (x3[v] << 32));                                                      \
            plane_words bit = lane_bits + (uint32_t)(4 * ((group + v * vector_groups) % part_groups));                                     \
            plane |= kept(limit, first & 0xFFFF) << bit | kept(limit, first >> 16) << (bit + 1);                                           \
            plane |= kept(limit, second & 0xFFFF) << (bit + 2) | kept(limit, second >> 16) << (bit + 3);                                   \
        }                                                                                                                                  \
        return plane;                                                                                                                      \
    }

#if WIDTH == 16
static const counters lane_numbers = {0, 1, 2, 3, 4, 5, 6, 7};
static const plane_words lane_bits = {0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4};
#else
static const counters lane_numbers = {0, 1, 2, 3};
static const plane_words lane_bits = {0, 0, 0, 0, 0, 0, 0, 0};
#endif

DEFINE_KEEP(1)
DEFINE_KEEP(2)
DEFINE_KEEP(3)
DEFINE_KEEP(4)

ISA void NAMED(t2v_keep)(const t2v_mask *mask, ptrdiff_t width, uint32_t *plane) {
    ptrdiff_t groups = (width + group_units - 1) / group_units;
    for (ptrdiff_t part = 0; part < groups; part += part_groups, plane += part_groups) {
        ptrdiff_t left = groups - part < part_groups ? groups - part : part_groups;
        plane_words kept = {0};
        for (ptrdiff_t group = 0; group < left; group += most_vectors * vector_groups) {
            ptrdiff_t vectors = (left - group + vector_groups - 1) / vector_groups;
            if (vectors >= 4) kept = keep_4(mask, part + group, kept);
            else if (vectors == 3) kept = keep_3(mask, part + group, kept);
            else if (vectors == 2) kept = keep_2(mask, part + group, kept);
            else kept = keep_1(mask, part + group, kept);
        }
        // A group beyond the last has no units.
        uint32_t units = left < part_groups ? (1u << 4 * left) - 1 : 0xFFFFFFFF;
        put_words(plane, kept & units);
    }
}
