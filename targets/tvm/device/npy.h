/* edgecc-run: .npy files, and the way it ends. */
#ifndef EDGECC_NPY_H_
#define EDGECC_NPY_H_
#include "edgecc.h"

enum { MAX_DIMS = 8, MAX_PATH = 4096 };

/* Prints one line to stderr and exits: EDGECC_USAGE the call or an input is wrong, EDGECC_FAILED
 * the network cannot be loaded or run. */
void die(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
void *allocate(size_t bytes);

const char *shape_text(int32_t ndim, const int64_t *shape);
/* The numbers of an input; the caller's to free. */
void *load_npy(const edgecc_tensor *tensor, const char *path);
void save_npy(const edgecc_tensor *tensor, const void *numbers, const char *folder);
#endif
