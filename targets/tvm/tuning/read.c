/* The device's answer to who it is: reads a file over TVM's RPC, those of /proc too.
 * buffer: a tensor of bytes, which holds the path and then the content; returns how many bytes. */
#include <stdio.h>
#include <tvm/ffi/c_api.h>

__attribute__((visibility("default"))) int __tvm_ffi_edgecc_read(void *self, const TVMFFIAny *args,
                                                                 int32_t count, TVMFFIAny *result) {
  (void)self;
  (void)count;
  const DLTensor *tensor = args[0].type_index == kTVMFFIDLTensorPtr
                               ? args[0].v_ptr
                               : (const DLTensor *)((const char *)args[0].v_ptr + sizeof(TVMFFIObject));
  char *buffer = (char *)tensor->data + tensor->byte_offset;
  FILE *file = fopen(buffer, "rb");
  result->type_index = kTVMFFIInt;
  result->v_int64 = file ? (int64_t)fread(buffer, 1, tensor->shape[0], file) : -1;
  if (file) fclose(file);
  return 0;
}
