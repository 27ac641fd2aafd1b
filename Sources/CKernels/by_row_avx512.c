// Products through winners row by row, in float32 with AVX-512.
#define WIDTH 16
#include "kernels.h"
#include "winners_by_row.h"
