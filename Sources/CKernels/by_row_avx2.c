// Products through winners row by row, in float32 with AVX2.
#define WIDTH 8
#include "kernels.h"
#include "winners_by_row.h"
