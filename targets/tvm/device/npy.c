/* edgecc-run: reads and writes .npy files. */
#define _POSIX_C_SOURCE 200809L
#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 65536 };

const char *shape_text(int32_t ndim, const int64_t *shape) {
  static char text[2][32 * MAX_DIMS];
  static int turn;
  char *out = text[turn ^= 1], *end = out;
  for (int32_t i = 0; i < ndim && i < MAX_DIMS; i++)
    end += sprintf(end, i ? "x%lld" : "%lld", (long long)shape[i]);
  return ndim ? out : "scalar";
}

/* numpy's short name of a type: <f4 for float32. */
static const char *npy_descr(const edgecc_tensor *tensor) {
  static char descr[8];
  const char *digits = strpbrk(tensor->dtype, "0123456789");
  int bytes = digits ? atoi(digits) / 8 : 1;
  snprintf(descr, sizeof descr, "%c%c%d", bytes == 1 ? '|' : '<', *tensor->dtype, bytes);
  return descr;
}

static void check_header(const edgecc_tensor *tensor, const char *header, const char *path) {
  const char *descr = strstr(header, "'descr':"), *order = strstr(header, "'fortran_order':");
  const char *shape = strstr(header, "'shape':");
  char given[16] = "";
  if (!descr || !order || !shape || sscanf(descr + 8, " '%15[^']'", given) != 1 ||
      !(shape = strchr(shape, '(')))
    die(EDGECC_USAGE, "%s: its .npy header cannot be read", path);
  if (strcmp(given, npy_descr(tensor)))
    die(EDGECC_USAGE, "%s: type '%s' given, input '%s' takes '%s' (%s)", path, given, tensor->name,
        npy_descr(tensor), tensor->dtype);
  if (strstr(order, "True")) die(EDGECC_USAGE, "%s: Fortran order given, only C order is read", path);
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
    die(EDGECC_USAGE, "%s: shape %s given, input '%s' takes %s", path, shape_text(ndim, sizes),
        tensor->name, shape_text(tensor->ndim, tensor->shape));
}

static void read_header(FILE *stream, const edgecc_tensor *tensor, const char *path) {
  unsigned char start[12];
  if (fread(start, 1, 10, stream) != 10 || memcmp(start, "\x93NUMPY", 6))
    die(EDGECC_USAGE, "%s is not a .npy file", path);
  size_t length = start[8] | (size_t)start[9] << 8;
  if (start[6] != 1) {
    if (start[6] > 3 || fread(start + 10, 1, 2, stream) != 2)
      die(EDGECC_USAGE, "%s: .npy version %d is not read", path, start[6]);
    length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  }
  if (length >= MAX_HEADER) die(EDGECC_USAGE, "%s: its .npy header claims %zu bytes", path, length);
  char *header = allocate(length + 1);
  if (fread(header, 1, length, stream) != length)
    die(EDGECC_USAGE, "%s: ends in its header", path);
  header[length] = 0;
  check_header(tensor, header, path);
  free(header);
}

void *load_npy(const edgecc_tensor *tensor, const char *path) {
  FILE *stream = fopen(path, "rb");
  if (!stream) die(EDGECC_USAGE, "cannot read %s: %s", path, strerror(errno));
  read_header(stream, tensor, path);
  void *numbers = allocate(tensor->bytes);
  size_t got = fread(numbers, 1, tensor->bytes, stream);
  if (got != tensor->bytes || fgetc(stream) != EOF)
    die(EDGECC_USAGE, "%s: %s%zu bytes of numbers, its shape takes %zu", path,
        got == tensor->bytes ? "more than " : "", got, tensor->bytes);
  fclose(stream);
  return numbers;
}

void save_npy(const edgecc_tensor *tensor, const void *numbers, const char *folder) {
  char path[MAX_PATH], shape[32 * MAX_DIMS] = "", header[512];
  for (int32_t i = 0; i < tensor->ndim; i++)
    sprintf(shape + strlen(shape), "%lld,%s", (long long)tensor->shape[i],
            i + 1 < tensor->ndim ? " " : "");
  int used = snprintf(header, sizeof header - 64,
                      "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                      npy_descr(tensor), shape);
  int length = (10 + used + 1 + 63) / 64 * 64 - 10;
  memset(header + used, ' ', (size_t)(length - used));
  header[length - 1] = '\n';
  unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  start[8] = (unsigned char)(length & 255), start[9] = (unsigned char)(length >> 8);
  snprintf(path, sizeof path, "%s/%s", folder, tensor->file);
  FILE *stream = fopen(path, "wb");
  if (!stream) die(EDGECC_USAGE, "cannot write %s: %s", path, strerror(errno));
  size_t done = fwrite(start, 1, 10, stream) + fwrite(header, 1, (size_t)length, stream);
  done += fwrite(numbers, 1, tensor->bytes, stream);
  if (fclose(stream) || done != 10 + (size_t)length + tensor->bytes)
    die(EDGECC_FAILED, "cannot write all of %s: %s", path, strerror(errno));
}
