/* libedgecc, inside: a network, what its signature says, and the calls into TVM. */
#ifndef EDGECC_MODEL_H_
#define EDGECC_MODEL_H_
#include <pthread.h>
#include <tvm/ffi/c_api.h>

#include "edgecc.h"

enum { MAX_DIMS = 8, MAX_PATH = 4096 };

typedef struct {
  edgecc_tensor shown; /* first: what the caller sees; it points into the rest */
  char dtype[16];
  int64_t shape[MAX_DIMS];
  DLDataType type;
} Tensor;

typedef struct {
  Tensor *item;
  int count;
} Tensors;

struct edgecc_model {
  Tensors inputs, outputs;
  TVMFFIAny library, vm, network; /* the module of model.so, TVM's machine, its function `main` */
  TVMFFIAny *values;              /* the inputs' own memory, one tensor each */
  pthread_mutex_t lock;           /* the machine keeps one set of registers */
};

/* Keeps the reason for edgecc_error() and returns `status`. */
int failed(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* signature.c: fills inputs and outputs from signature.txt, all of it or none that is usable. */
int read_signature(const char *path, edgecc_model *model);
void free_tensors(Tensors *tensors);

/* tvm.c: all return EDGECC_OK or what failed() gave. */
int load_network(const char *path, edgecc_model *model);
int make_input(const Tensor *wanted, TVMFFIAny *value);
int call_network(edgecc_model *model, TVMFFIAny *result);
int copy_output(const Tensor *wanted, const TVMFFIAny *value, void *memory);
int set_threads(int threads);
DLTensor *numbers_of(const TVMFFIAny *value);
void release(TVMFFIAny *value);
#endif
