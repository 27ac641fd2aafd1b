// Products in float32 with AVX-512.
#define WIDTH 16
#include "gemm_float.h"
#include "kernels.h"
#include "planes.h"
#include "rows.h"
#include "winners_float.h"
#include "windows_float.h"
