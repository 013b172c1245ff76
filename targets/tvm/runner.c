/* edgecc-run: runs model.so on a device without Python, on the stable TVM-FFI C ABI.
 * model.so, signature.txt, libtvm_runtime.so and libtvm_ffi.so lie beside it.
 * Exit code: 0 done, 2 the call or an input file is wrong, 1 the network cannot be loaded or run. */
#define _POSIX_C_SOURCE 200809L
#include "runner.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  const char *folder;
  long repeat, warmup, threads;
} Options;

static const char *USAGE_TEXT =
    "usage: edgecc-run -i NAME=FILE.npy ... -o FOLDER [--repeat N] [--warmup N] [--threads T]\n"
    "Runs the network once and writes every output to FOLDER as .npy.\n"
    "  -i NAME=FILE.npy  an input: C order, type and shape as listed below\n"
    "  -o FOLDER         where the outputs go (made when missing)\n"
    "  --repeat N        run N times more; prints min, median and max in ms as one line of JSON\n"
    "  --warmup N        runs before those that are timed (default 1)\n"
    "  --threads T       threads of TVM's pool (default: TVM_NUM_THREADS, or every core)\n";

/* ---- the command line ---- */

static void print_help(const Tensors *inputs, const Tensors *outputs) {
  fputs(USAGE_TEXT, stdout);
  for (int i = 0; i < inputs->count; i++)
    printf("input  %s: %s %s\n", inputs->item[i].name, inputs->item[i].dtype,
           shape_text(inputs->item[i].ndim, inputs->item[i].shape));
  for (int i = 0; i < outputs->count; i++)
    printf("output %s: %s %s, written to %s\n", outputs->item[i].name, outputs->item[i].dtype,
           shape_text(outputs->item[i].ndim, outputs->item[i].shape), outputs->item[i].file);
}

/* A name may hold '=': the split is where a known name ends; without one, at the first '='. */
static void take_input(Tensors *inputs, const char *argument) {
  for (int i = 0; i < inputs->count; i++) {
    size_t length = strlen(inputs->item[i].name);
    if (strncmp(argument, inputs->item[i].name, length) || argument[length] != '=') continue;
    if (inputs->item[i].value.v_obj) die(USAGE, "input '%s' is given twice", inputs->item[i].name);
    load_npy(&inputs->item[i], argument + length + 1);
    return;
  }
  if (!strchr(argument, '=')) die(USAGE, "-i %s: it is written NAME=FILE.npy", argument);
  int length = (int)strcspn(argument, "=");
  die(USAGE, "no input is named '%.*s'; --help lists them", length, argument);
}

static long number(const char *option, const char *text, long least) {
  char *end = NULL;
  long value = text ? strtol(text, &end, 10) : 0;
  if (!text || end == text || *end || value < least || value > 100000000)
    die(USAGE, "%s takes a whole number of at least %ld", option, least);
  return value;
}

static Options read_options(int count, char **words, Tensors *inputs) {
  Options options = {NULL, 0, 1, 0};
  for (int i = 1; i < count; i += 2) {
    char *option = words[i], *value = words[i + 1]; /* argv ends in NULL */
    if (!strcmp(option, "--repeat")) options.repeat = number(option, value, 0);
    else if (!strcmp(option, "--warmup")) options.warmup = number(option, value, 0);
    else if (!strcmp(option, "--threads")) options.threads = number(option, value, 1);
    else if (strcmp(option, "-i") && strcmp(option, "-o"))
      die(USAGE, "there is no option %s; --help lists them", option);
    else if (!value) die(USAGE, "%s needs a value; --help shows how", option);
    else if (option[1] == 'o') options.folder = value;
    else take_input(inputs, value);
  }
  if (!options.folder) die(USAGE, "-o FOLDER is missing: where the outputs go");
  for (int i = 0; i < inputs->count; i++)
    if (!inputs->item[i].value.v_obj)
      die(USAGE, "input '%s' is missing: -i '%s=FILE.npy'", inputs->item[i].name,
          inputs->item[i].name);
  if (mkdir(options.folder, 0777) && errno != EEXIST)
    die(USAGE, "cannot make %s: %s", options.folder, strerror(errno));
  return options;
}

/* ---- TVM ---- */

static void tvm_failed(const char *what) {
  TVMFFIObjectHandle error = NULL;
  TVMFFIErrorMoveFromRaised(&error);
  if (!error) die(FAILED, "%s", what);
  TVMFFIErrorCell *cell = (TVMFFIErrorCell *)((char *)error + sizeof(TVMFFIObject));
  size_t length = 0;
  while (length < cell->message.size && cell->message.data[length] != '\n') length++;
  die(FAILED, "%s: %.*s", what, (int)length, cell->message.data);
}

static TVMFFIAny call(const char *what, void *function, TVMFFIAny *arguments, int count) {
  TVMFFIAny result = {0};
  if (TVMFFIFunctionCall(function, arguments, count, &result)) tvm_failed(what);
  return result;
}

static void *global(const char *name) {
  TVMFFIByteArray key = {name, strlen(name)};
  void *function = NULL;
  if (TVMFFIFunctionGetGlobal(&key, &function) || !function)
    die(FAILED, "this libtvm_runtime.so has no function %s", name);
  return function;
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

static void *method(TVMFFIAny module, const char *name) {
  TVMFFIAny with_imports = {.type_index = kTVMFFIBool};
  with_imports.v_int64 = 1;
  TVMFFIAny arguments[3] = {module, text(name), with_imports};
  TVMFFIAny function = call(name, global("ffi.ModuleGetFunction"), arguments, 3);
  if (function.type_index != kTVMFFIFunction) die(FAILED, "model.so has no function %s", name);
  return function.v_ptr;
}

/* dlopen may crash on a library that was cut short: its section table lies at its end. */
static void check_library(const char *path) {
  Elf64_Ehdr library, self;
  struct stat status;
  FILE *stream = fopen(path, "rb"), *program = fopen("/proc/self/exe", "rb");
  if (!stream || stat(path, &status)) die(FAILED, "cannot read %s: %s", path, strerror(errno));
  if (fread(&library, sizeof library, 1, stream) != 1 ||
      memcmp(library.e_ident, ELFMAG, SELFMAG) || library.e_ident[EI_CLASS] != ELFCLASS64)
    die(FAILED, "%s is damaged: no ELF header", path);
  uint64_t end = library.e_shoff + (uint64_t)library.e_shnum * library.e_shentsize;
  if ((uint64_t)status.st_size < end)
    die(FAILED, "%s is damaged: %lld of %llu bytes", path, (long long)status.st_size,
        (unsigned long long)end);
  if (program && fread(&self, sizeof self, 1, program) == 1 && self.e_machine != library.e_machine)
    die(FAILED, "%s is for another processor (ELF machine %d, not %d)", path, library.e_machine,
        self.e_machine);
  fclose(stream);
  if (program) fclose(program);
}

static void *load_network(const char *path) {
  enum { POOLED_ALLOCATOR = 2 };
  TVMFFIAny file = text(path);
  check_library(path);
  TVMFFIAny library = call("cannot load model.so", global("ffi.ModuleLoadFromFile"), &file, 1);
  TVMFFIAny vm = call("cannot load model.so", method(library, "vm_load_executable"), NULL, 0);
  TVMFFIAny device[3] = {integer(kDLCPU), integer(0), integer(POOLED_ALLOCATOR)};
  call("cannot start TVM's virtual machine", method(vm, "vm_initialization"), device, 3);
  return method(vm, "main");
}

/* ---- running ---- */

static void save_outputs(TVMFFIAny result, const Tensors *outputs, const char *folder) {
  const TVMFFISeqCell *list = (const void *)((const char *)result.v_obj + sizeof(TVMFFIObject));
  int is_list = result.type_index == kTVMFFIArray;
  if (outputs->count != (is_list ? list->size : 1))
    die(FAILED, "model.so does not return the %d outputs of signature.txt", outputs->count);
  for (int i = 0; i < outputs->count; i++)
    save_npy(&outputs->item[i], is_list ? ((TVMFFIAny *)list->data)[i] : result, folder);
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(void *network, TVMFFIAny *values, int count, const Options *options) {
  double *ms = allocate(sizeof *ms * (size_t)options->repeat);
  for (long i = -options->warmup; i < options->repeat; i++) {
    double start = now_ms();
    TVMFFIAny result = call("the network failed", network, values, count);
    if (i >= 0) ms[i] = now_ms() - start;
    TVMFFIObjectDecRef(result.v_obj);
  }
  qsort(ms, (size_t)options->repeat, sizeof *ms, ascending);
  long last = options->repeat - 1;
  printf("{\"repeat\": %ld, \"warmup\": %ld, \"min_ms\": %.6f, \"median_ms\": %.6f, "
         "\"max_ms\": %.6f}\n", options->repeat, options->warmup, ms[0],
         (ms[last / 2] + ms[(last + 1) / 2]) / 2, ms[last]);
}

/* The folder this program lies in, without a slash at its end. */
static void find_own_folder(char *folder, size_t size, const char *called_as) {
  ssize_t length = readlink("/proc/self/exe", folder, size - 1);
  if (length < 0) length = snprintf(folder, size, "%s", called_as);
  if (length < 0 || (size_t)length >= size - 1) die(FAILED, "the path of this program is too long");
  folder[length] = 0;
  char *slash = strrchr(folder, '/');
  strcpy(slash ? slash : folder, slash ? "" : ".");
}

int main(int count, char **words) {
  char folder[MAX_PATH - 64], path[MAX_PATH];
  find_own_folder(folder, sizeof folder, words[0]);
  Tensors inputs = {NULL, 0}, outputs = {NULL, 0};
  snprintf(path, sizeof path, "%s/signature.txt", folder);
  read_signature(path, &inputs, &outputs);
  for (int i = 1; i < count; i++)
    if (!strcmp(words[i], "--help") || !strcmp(words[i], "-h"))
      return print_help(&inputs, &outputs), 0;
  Options options = read_options(count, words, &inputs);
  char threads[32];
  snprintf(threads, sizeof threads, "%ld", options.threads);
  if (options.threads) setenv("TVM_NUM_THREADS", threads, 1);
  snprintf(path, sizeof path, "%s/model.so", folder);
  void *network = load_network(path);
  TVMFFIAny *values = allocate(sizeof *values * (size_t)inputs.count);
  for (int i = 0; i < inputs.count; i++) values[i] = inputs.item[i].value;
  save_outputs(call("the network failed", network, values, inputs.count), &outputs,
               options.folder);
  if (options.repeat) measure(network, values, inputs.count, &options);
  return 0;
}
