#pragma once
#if __has_include(<openblas-pthread/cblas.h>)
#include <openblas-pthread/cblas.h>
#else
#include <cblas.h>
#endif
/* Present in every OpenBLAS, declared only in some of its headers. */
char *openblas_get_config(void);
char *openblas_get_corename(void);
