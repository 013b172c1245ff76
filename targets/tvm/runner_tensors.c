/* edgecc-run: reads signature.txt (written by signature.py), reads and writes .npy files. */
#define _POSIX_C_SOURCE 200809L
#include "runner.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 65536 };

void die(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("edgecc-run: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(code);
}

void *allocate(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, 64, bytes ? bytes : 64)) die(FAILED, "no memory for %zu bytes", bytes);
  return memory;
}

/* ---- the network's signature ---- */

static int type_of(const char *dtype, DLDataType *type) {
  static const struct { const char *prefix; uint8_t code; } kinds[] = {
      {"float", kDLFloat}, {"int", kDLInt}, {"uint", kDLUInt}};
  type->lanes = 1;
  if (!strcmp(dtype, "bool")) return type->code = kDLBool, type->bits = 8, 1;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    size_t length = strlen(kinds[k].prefix);
    int bits = strncmp(dtype, kinds[k].prefix, length) ? 0 : atoi(dtype + length);
    if (bits == 8 || bits == 16 || bits == 32 || bits == 64)
      return type->code = kinds[k].code, type->bits = (uint8_t)bits, 1;
  }
  return 0;
}

static int parse_sizes(Tensor *tensor, char *sizes) {
  tensor->bytes = tensor->type.bits / 8;
  if (!strcmp(sizes, "scalar")) return 1;
  for (char *size = strtok(sizes, "x"); size; size = strtok(NULL, "x")) {
    long long value = atoll(size);
    if (tensor->ndim == MAX_DIMS || value <= 0) return 0;
    tensor->shape[tensor->ndim++] = value;
    tensor->bytes *= (size_t)value;
  }
  return tensor->ndim > 0;
}

void read_signature(const char *path, Tensors *inputs, Tensors *outputs) {
  char line[MAX_PATH], direction[8], dtype[16], sizes[256], file[256];
  FILE *stream = fopen(path, "r");
  if (!stream) die(FAILED, "cannot read %s: %s", path, strerror(errno));
  while (fgets(line, sizeof line, stream)) {
    int name = 0;
    line[strcspn(line, "\n")] = 0;
    int fields = sscanf(line, "%7s %15s %255s %255s%n", direction, dtype, sizes, file, &name);
    Tensors *list = strcmp(direction, "input") ? outputs : inputs;
    list->item = realloc(list->item, sizeof(Tensor) * (size_t)(list->count + 1));
    if (!list->item) die(FAILED, "no memory for %s", path);
    Tensor *tensor = memset(&list->item[list->count++], 0, sizeof(Tensor));
    if (fields != 4 || line[name] != ' ' ||
        !type_of(strcpy(tensor->dtype, dtype), &tensor->type) || !parse_sizes(tensor, sizes))
      die(FAILED, "%s: cannot use the line '%s'", path, line);
    tensor->name = strdup(line + name + 1);
    tensor->file = strdup(file);
    if (!tensor->name || !tensor->file) die(FAILED, "no memory for %s", path);
  }
  fclose(stream);
}

const char *shape_text(int32_t ndim, const int64_t *shape) {
  static char text[2][32 * MAX_DIMS];
  static int turn;
  char *out = text[turn ^= 1], *end = out;
  for (int32_t i = 0; i < ndim && i < MAX_DIMS; i++)
    end += sprintf(end, i ? "x%lld" : "%lld", (long long)shape[i]);
  return ndim ? out : "scalar";
}

/* ---- .npy files ---- */

static const char *npy_descr(const Tensor *tensor) {
  static char descr[8];
  char kind = tensor->type.code == kDLFloat ? 'f' : tensor->type.code == kDLInt ? 'i' : 'u';
  if (tensor->type.code == kDLBool) kind = 'b';
  snprintf(descr, sizeof descr, "%c%c%d", tensor->type.bits == 8 ? '|' : '<', kind,
           tensor->type.bits / 8);
  return descr;
}

static void check_header(const Tensor *tensor, const char *header, const char *path) {
  const char *descr = strstr(header, "'descr':"), *order = strstr(header, "'fortran_order':");
  const char *shape = strstr(header, "'shape':");
  char given[16] = "";
  if (!descr || !order || !shape || sscanf(descr + 8, " '%15[^']'", given) != 1 ||
      !(shape = strchr(shape, '(')))
    die(USAGE, "%s: its .npy header cannot be read", path);
  if (strcmp(given, npy_descr(tensor)))
    die(USAGE, "%s: type '%s' given, input '%s' takes '%s' (%s)", path, given, tensor->name,
        npy_descr(tensor), tensor->dtype);
  if (strstr(order, "True")) die(USAGE, "%s: Fortran order given, only C order is read", path);
  int64_t sizes[MAX_DIMS];
  int32_t ndim = 0;
  char *end = (char *)shape + 1;
  while (ndim <= MAX_DIMS && (*end == ' ' || *end == ',' || (*end >= '0' && *end <= '9'))) {
    if (*end == ' ' || *end == ',') { end++; continue; }
    int64_t size = strtoll(end, &end, 10);
    if (ndim < MAX_DIMS) sizes[ndim] = size;
    ndim++;
  }
  if (ndim != tensor->ndim || memcmp(sizes, tensor->shape, sizeof *sizes * (size_t)ndim))
    die(USAGE, "%s: shape %s given, input '%s' takes %s", path, shape_text(ndim, sizes),
        tensor->name, shape_text(tensor->ndim, tensor->shape));
}

static void no_delete(DLManagedTensor *tensor) { (void)tensor; }

void load_npy(Tensor *tensor, const char *path) {
  unsigned char start[12];
  FILE *stream = fopen(path, "rb");
  if (!stream) die(USAGE, "cannot read %s: %s", path, strerror(errno));
  if (fread(start, 1, 10, stream) != 10 || memcmp(start, "\x93NUMPY", 6))
    die(USAGE, "%s is not a .npy file", path);
  size_t length = start[8] | (size_t)start[9] << 8;
  if (start[6] != 1) {
    if (start[6] > 3 || fread(start + 10, 1, 2, stream) != 2)
      die(USAGE, "%s: .npy version %d is not read", path, start[6]);
    length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  }
  if (length >= MAX_HEADER) die(USAGE, "%s: its .npy header claims %zu bytes", path, length);
  char *header = allocate(length + 1);
  if (fread(header, 1, length, stream) != length) die(USAGE, "%s: ends in its header", path);
  header[length] = 0;
  check_header(tensor, header, path);
  free(header);
  DLManagedTensor *managed = allocate(sizeof *managed);
  memset(managed, 0, sizeof *managed);
  managed->dl_tensor = (DLTensor){.data = allocate(tensor->bytes), .device = {kDLCPU, 0},
                                  .ndim = tensor->ndim, .dtype = tensor->type,
                                  .shape = tensor->shape};
  managed->deleter = no_delete;
  size_t got = fread(managed->dl_tensor.data, 1, tensor->bytes, stream);
  if (got != tensor->bytes || fgetc(stream) != EOF)
    die(USAGE, "%s: %s%zu bytes of numbers, its shape takes %zu", path,
        got == tensor->bytes ? "more than " : "", got, tensor->bytes);
  fclose(stream);
  tensor->value.type_index = kTVMFFITensor;
  if (TVMFFITensorFromDLPack(managed, 64, 1, (TVMFFIObjectHandle *)&tensor->value.v_obj))
    die(FAILED, "TVM does not take the tensor '%s'", tensor->name);
}

void save_npy(const Tensor *wanted, TVMFFIAny value, const char *folder) {
  char path[MAX_PATH], shape[32 * MAX_DIMS] = "", header[512];
  const DLTensor *given = (const DLTensor *)((const char *)value.v_obj + sizeof(TVMFFIObject));
  if (value.type_index != kTVMFFITensor || given->ndim != wanted->ndim ||
      memcmp(given->shape, wanted->shape, sizeof *given->shape * (size_t)given->ndim) ||
      given->dtype.code != wanted->type.code || given->dtype.bits != wanted->type.bits)
    die(FAILED, "output '%s' is not %s %s as signature.txt says", wanted->name, wanted->dtype,
        shape_text(wanted->ndim, wanted->shape));
  for (int32_t i = 0; i < wanted->ndim; i++)
    sprintf(shape + strlen(shape), "%lld,%s", (long long)wanted->shape[i],
            i + 1 < wanted->ndim ? " " : "");
  int used = snprintf(header, sizeof header - 64,
                      "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                      npy_descr(wanted), shape);
  int length = (10 + used + 1 + 63) / 64 * 64 - 10;
  memset(header + used, ' ', (size_t)(length - used));
  header[length - 1] = '\n';
  unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  start[8] = (unsigned char)(length & 255), start[9] = (unsigned char)(length >> 8);
  snprintf(path, sizeof path, "%s/%s", folder, wanted->file);
  FILE *stream = fopen(path, "wb");
  if (!stream) die(USAGE, "cannot write %s: %s", path, strerror(errno));
  size_t done = fwrite(start, 1, 10, stream) + fwrite(header, 1, (size_t)length, stream);
  done += fwrite((const char *)given->data + given->byte_offset, 1, wanted->bytes, stream);
  if (fclose(stream) || done != 10 + (size_t)length + wanted->bytes)
    die(FAILED, "cannot write all of %s: %s", path, strerror(errno));
}
