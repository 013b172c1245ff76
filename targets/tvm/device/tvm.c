/* libedgecc: the calls into TVM, on its stable FFI C ABI. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model.h"

enum { ALIGNMENT = 64, POOLED_ALLOCATOR = 2 };
#ifdef __aarch64__
enum { MACHINE = EM_AARCH64 };
#else
enum { MACHINE = EM_X86_64 };
#endif

/* Of libtvm_runtime.so, for the calling thread; it has no name in C. */
extern void set_max_concurrency(int) __asm__("_ZN3tvm7runtime9threading17SetMaxConcurrencyEi");

/* ---- values and calls ---- */

void release(TVMFFIAny *value) {
  if (value->type_index >= kTVMFFIStaticObjectBegin && value->v_obj)
    TVMFFIObjectDecRef(value->v_obj);
  memset(value, 0, sizeof *value);
}

DLTensor *numbers_of(const TVMFFIAny *value) {
  return (DLTensor *)((char *)value->v_obj + sizeof(TVMFFIObject));
}

static TVMFFIAny integer(int64_t value) {
  TVMFFIAny any = {.type_index = kTVMFFIInt};
  any.v_int64 = value;
  return any;
}

static TVMFFIAny text(const char *value) {
  TVMFFIAny any = {.type_index = kTVMFFIRawStr};
  any.v_c_str = value;
  return any;
}

/* The first line of what TVM raised. */
static int tvm_failed(const char *what) {
  TVMFFIObjectHandle error = NULL;
  TVMFFIErrorMoveFromRaised(&error);
  if (!error) return failed(EDGECC_FAILED, "%s", what);
  TVMFFIErrorCell *cell = (TVMFFIErrorCell *)((char *)error + sizeof(TVMFFIObject));
  size_t length = 0;
  while (length < cell->message.size && cell->message.data[length] != '\n') length++;
  failed(EDGECC_FAILED, "%s: %.*s", what, (int)length, cell->message.data);
  TVMFFIObjectDecRef(error);
  return EDGECC_FAILED;
}

static int call(const char *what, const TVMFFIAny *function, TVMFFIAny *arguments, int count,
                TVMFFIAny *result) {
  memset(result, 0, sizeof *result);
  return TVMFFIFunctionCall(function->v_ptr, arguments, count, result) ? tvm_failed(what) : 0;
}

static int call_global(const char *what, const char *name, TVMFFIAny *arguments, int count,
                       TVMFFIAny *result) {
  TVMFFIByteArray key = {name, strlen(name)};
  TVMFFIAny function = {.type_index = kTVMFFIFunction};
  if (TVMFFIFunctionGetGlobal(&key, &function.v_ptr) || !function.v_ptr)
    return failed(EDGECC_FAILED, "this libtvm_runtime.so has no function %s", name);
  int status = call(what, &function, arguments, count, result);
  release(&function);
  return status;
}

static int method(const TVMFFIAny *module, const char *name, TVMFFIAny *function) {
  TVMFFIAny with_imports = {.type_index = kTVMFFIBool};
  with_imports.v_int64 = 1;
  TVMFFIAny arguments[3] = {*module, text(name), with_imports};
  int status = call_global(name, "ffi.ModuleGetFunction", arguments, 3, function);
  if (!status && function->type_index != kTVMFFIFunction)
    status = failed(EDGECC_FAILED, "model.so has no function %s", name);
  return status;
}

static int call_method(const char *what, const TVMFFIAny *module, const char *name,
                       TVMFFIAny *arguments, int count, TVMFFIAny *result) {
  TVMFFIAny function = {0};
  int status = method(module, name, &function);
  if (!status) status = call(what, &function, arguments, count, result);
  release(&function);
  return status;
}

/* ---- loading ---- */

/* dlopen may crash on a library that was cut short: its section table lies at its end. */
static int check_library(const char *path) {
  Elf64_Ehdr header;
  struct stat status;
  FILE *stream = fopen(path, "rb");
  if (!stream) return failed(EDGECC_FAILED, "cannot read %s: %s", path, strerror(errno));
  int whole = fread(&header, sizeof header, 1, stream) == 1 && !fstat(fileno(stream), &status);
  fclose(stream);
  if (!whole || memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64)
    return failed(EDGECC_FAILED, "%s is damaged: no ELF header", path);
  uint64_t end = header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize;
  if ((uint64_t)status.st_size < end)
    return failed(EDGECC_FAILED, "%s is damaged: %lld of %llu bytes", path,
                  (long long)status.st_size, (unsigned long long)end);
  if (header.e_machine != MACHINE)
    return failed(EDGECC_FAILED, "%s is for another processor (ELF machine %d, not %d)", path,
                  header.e_machine, MACHINE);
  return EDGECC_OK;
}

/* model.so finds TVM's functions only where they are visible to all, which they are not where
 * this library came in by dlopen. They are loaded already: this one depends on them. */
static void show_tvm(void) {
  dlopen("libtvm_ffi.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  dlopen("libtvm_runtime.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

int load_network(const char *path, edgecc_model *model) {
  static const char *const what = "cannot load model.so";
  TVMFFIAny file = text(path), none = {0};
  TVMFFIAny device[3] = {integer(kDLCPU), integer(0), integer(POOLED_ALLOCATOR)};
  int status = check_library(path);
  show_tvm();
  if (!status) status = call_global(what, "ffi.ModuleLoadFromFile", &file, 1, &model->library);
  if (!status)
    status = call_method(what, &model->library, "vm_load_executable", NULL, 0, &model->vm);
  if (!status) status = call_method("cannot start TVM's virtual machine", &model->vm,
                                    "vm_initialization", device, 3, &none);
  release(&none);
  return status ? status : method(&model->vm, "main", &model->network);
}

/* ---- running ---- */

static void delete_input(DLManagedTensor *tensor) {
  free(tensor->dl_tensor.data);
  free(tensor);
}

int make_input(const Tensor *wanted, TVMFFIAny *value) {
  const edgecc_tensor *shown = &wanted->shown;
  DLManagedTensor *managed = calloc(1, sizeof *managed);
  void *memory = NULL;
  if (!managed || posix_memalign(&memory, ALIGNMENT, shown->bytes)) {
    free(managed);
    return failed(EDGECC_FAILED, "no memory for the %zu bytes of input '%s'", shown->bytes,
                  shown->name);
  }
  managed->dl_tensor = (DLTensor){.data = memory, .device = {kDLCPU, 0}, .ndim = shown->ndim,
                                  .dtype = wanted->type, .shape = (int64_t *)wanted->shape};
  managed->deleter = delete_input;
  TVMFFIObjectHandle made = NULL;
  if (TVMFFITensorFromDLPack(managed, ALIGNMENT, 1, &made)) {
    delete_input(managed);
    return tvm_failed("TVM does not take an input");
  }
  value->type_index = kTVMFFITensor;
  value->v_obj = made;
  return EDGECC_OK;
}

int call_network(edgecc_model *model, TVMFFIAny *result) {
  return call("the network failed", &model->network, model->values, model->inputs.count, result);
}

int copy_output(const Tensor *wanted, const TVMFFIAny *value, void *memory) {
  const edgecc_tensor *shown = &wanted->shown;
  const DLTensor *given = numbers_of(value);
  if (value->type_index != kTVMFFITensor || given->ndim != shown->ndim ||
      memcmp(given->shape, wanted->shape, sizeof *given->shape * (size_t)given->ndim) ||
      given->dtype.code != wanted->type.code || given->dtype.bits != wanted->type.bits)
    return failed(EDGECC_FAILED, "output '%s' is not what signature.txt says", shown->name);
  memcpy(memory, (const char *)given->data + given->byte_offset, shown->bytes);
  return EDGECC_OK;
}

int set_threads(int threads) {
  static const char *const what = "cannot set the number of threads";
  enum { FASTEST_CORES = 1 };
  TVMFFIAny wanted[2] = {integer(FASTEST_CORES), integer(threads)}, found = {0};
  set_max_concurrency(threads);
  if (threads == 1) return EDGECC_OK; /* then there is no pool */
  int status = call_global(what, "runtime.NumThreads", NULL, 0, &found); /* makes the pool */
  if (status || found.v_int64 == threads) return status;
  status = call_global(what, "runtime.config_threadpool", wanted, 2, &found);
  set_max_concurrency(threads); /* which that took back */
  if (!status) status = call_global(what, "runtime.NumThreads", NULL, 0, &found);
  if (!status && found.v_int64 != threads)
    status = failed(EDGECC_USAGE, "%d threads are too late: this thread began with %d", threads,
                    (int)found.v_int64);
  return status;
}
