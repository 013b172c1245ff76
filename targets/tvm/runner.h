/* edgecc-run: the tensors of a network, their signature and .npy files. See runner.c. */
#ifndef EDGECC_RUNNER_H_
#define EDGECC_RUNNER_H_
#include <tvm/ffi/c_api.h>

enum { MAX_DIMS = 8, MAX_PATH = 4096 };
enum { FAILED = 1, USAGE = 2 }; /* exit codes */

typedef struct {
  char *name, *file;
  char dtype[16]; /* numpy's name */
  int32_t ndim;
  int64_t shape[MAX_DIMS];
  size_t bytes;
  DLDataType type;
  TVMFFIAny value; /* an input's tensor, once loaded */
} Tensor;

typedef struct {
  Tensor *item;
  int count;
} Tensors;

/* Prints one line to stderr and exits. */
void die(int code, const char *format, ...);
void *allocate(size_t bytes);

void read_signature(const char *path, Tensors *inputs, Tensors *outputs);
const char *shape_text(int32_t ndim, const int64_t *shape);
void load_npy(Tensor *tensor, const char *path);
void save_npy(const Tensor *wanted, TVMFFIAny value, const char *folder);
#endif
