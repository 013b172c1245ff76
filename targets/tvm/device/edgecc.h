/* edgecc.h: runs a network that edgecc compiled, from C99 or C++.
 *
 * Link with -ledgecc; libedgecc.so, libtvm_runtime.so, libtvm_ffi.so, model.so and signature.txt
 * stay together in one folder, as the bundle has them in tvm/.
 *
 * Every function that can fail returns EDGECC_OK, or another number and says why in edgecc_error().
 * None ends the process or keeps a pointer that it is given.
 *
 * Threads: any thread may use any model. Runs of one model wait for each other, runs of different
 * models do not. A model is closed when no other thread uses it. */
#ifndef EDGECC_H_
#define EDGECC_H_

#include <stddef.h>
#include <stdint.h>

#define EDGECC_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum {
  EDGECC_OK = 0,
  EDGECC_FAILED = 1, /* a file is missing or damaged, no memory, or the network cannot run */
  EDGECC_USAGE = 2   /* the call is wrong */
};

typedef struct edgecc_model edgecc_model;

/* An input or output. It and what it points to live until the model is closed. */
typedef struct edgecc_tensor {
  const char *name;
  const char *dtype;    /* numpy's name: float32, int64, bool ... */
  const char *file;     /* a name for its .npy file, as edgecc-run uses it */
  const int64_t *shape; /* ndim sizes, the last is that of neighbours in memory (C order) */
  int32_t ndim;         /* 0 is a scalar */
  size_t bytes;         /* of all its numbers */
} edgecc_tensor;

/* Loads the network of a bundle's tvm/ folder. *model is NULL where that fails. */
EDGECC_API int edgecc_open(const char *folder, edgecc_model **model);

/* How many inputs and outputs there are; 0 for NULL. */
EDGECC_API int edgecc_input_count(const edgecc_model *model);
EDGECC_API int edgecc_output_count(const edgecc_model *model);

/* What they are, in the order that edgecc_run takes them; NULL where there is no such index. */
EDGECC_API const edgecc_tensor *edgecc_input(const edgecc_model *model, int index);
EDGECC_API const edgecc_tensor *edgecc_output(const edgecc_model *model, int index);

/* Runs the network once. inputs[i] and outputs[i] point to `bytes` bytes of tensor i, of any
 * alignment, and stay the caller's. Outputs hold nothing of use where the run fails. */
EDGECC_API int edgecc_run(edgecc_model *model, const void *const *inputs, void *const *outputs);

/* How many threads compute what the calling thread runs, of all models. Without it that is
 * TVM_NUM_THREADS from the environment, or every core (on x86 half of them). To be called before
 * the thread's first run: it can be made fewer later, but not always more. */
EDGECC_API int edgecc_set_threads(int threads);

/* Why the last call in this thread failed, in one line; "" where none has. */
EDGECC_API const char *edgecc_error(void);

/* Releases the model; NULL is none. */
EDGECC_API void edgecc_close(edgecc_model *model);

#ifdef __cplusplus
}
#endif
#endif
