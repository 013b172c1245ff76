/* libedgecc: reads signature.txt, which signature.py writes: a line for each input and output. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

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

static int parse_sizes(Tensor *tensor, const char *sizes) {
  tensor->shown.bytes = tensor->type.bits / 8;
  if (!strcmp(sizes, "scalar")) return 1;
  for (const char *at = sizes; at; at = *at == 'x' ? at + 1 : NULL) {
    char *end = NULL;
    long long size = strtoll(at, &end, 10);
    if (end == at || (*end && *end != 'x') || size <= 0 || tensor->shown.ndim == MAX_DIMS) return 0;
    tensor->shape[tensor->shown.ndim++] = size;
    tensor->shown.bytes *= (size_t)size;
    at = end;
  }
  return 1;
}

static int parse_line(const char *line, Tensor *tensor, char *direction) {
  char sizes[256], file[256];
  int name = 0;
  int fields = sscanf(line, "%7s %15s %255s %255s%n", direction, tensor->dtype, sizes, file, &name);
  int known = fields == 4 && line[name] == ' ' &&
              (!strcmp(direction, "input") || !strcmp(direction, "output")) &&
              type_of(tensor->dtype, &tensor->type) && parse_sizes(tensor, sizes);
  if (!known) return 0;
  tensor->shown.name = strdup(line + name + 1);
  tensor->shown.file = strdup(file);
  return 1;
}

/* Takes over what `tensor` points to. */
static int append(Tensors *list, const Tensor *tensor) {
  Tensor *longer = realloc(list->item, sizeof *longer * (size_t)(list->count + 1));
  if (longer) {
    list->item = longer;
    list->item[list->count++] = *tensor;
  }
  return longer && tensor->shown.name && tensor->shown.file;
}

/* A list moves while it grows: only then do its tensors point into themselves. */
static void settle(Tensors *list) {
  for (int i = 0; i < list->count; i++) {
    list->item[i].shown.dtype = list->item[i].dtype;
    list->item[i].shown.shape = list->item[i].shape;
  }
}

int read_signature(const char *path, edgecc_model *model) {
  char line[MAX_PATH], direction[8];
  FILE *stream = fopen(path, "r");
  if (!stream) return failed(EDGECC_FAILED, "cannot read %s: %s", path, strerror(errno));
  int status = EDGECC_OK;
  while (!status && fgets(line, sizeof line, stream)) {
    Tensor tensor = {0};
    line[strcspn(line, "\n")] = 0;
    if (!parse_line(line, &tensor, direction))
      status = failed(EDGECC_FAILED, "%s: cannot use the line '%.200s'", path, line);
    else if (!append(*direction == 'i' ? &model->inputs : &model->outputs, &tensor))
      status = failed(EDGECC_FAILED, "no memory for %s", path);
  }
  fclose(stream);
  settle(&model->inputs);
  settle(&model->outputs);
  if (!status && !model->outputs.count)
    status = failed(EDGECC_FAILED, "%s lists no outputs", path);
  return status;
}

void free_tensors(Tensors *tensors) {
  for (int i = 0; i < tensors->count; i++) {
    free((char *)tensors->item[i].shown.name);
    free((char *)tensors->item[i].shown.file);
  }
  free(tensors->item);
}
