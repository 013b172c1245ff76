/* libedgecc: what edgecc.h promises. */
#define _POSIX_C_SOURCE 200809L
#include "edgecc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static _Thread_local char reason[1024];

int failed(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  return status;
}

const char *edgecc_error(void) { return reason; }

static int open_parts(const char *folder, edgecc_model *model) {
  char path[MAX_PATH];
  int status = EDGECC_OK;
  if (snprintf(path, sizeof path, "%s/signature.txt", folder) >= MAX_PATH)
    return failed(EDGECC_USAGE, "the path of the folder is longer than %d bytes", MAX_PATH);
  if ((status = read_signature(path, model))) return status;
  snprintf(path, sizeof path, "%s/model.so", folder); /* shorter than the other */
  if ((status = load_network(path, model))) return status;
  model->values = calloc((size_t)model->inputs.count + 1, sizeof *model->values);
  if (!model->values) return failed(EDGECC_FAILED, "no memory for the inputs");
  for (int i = 0; i < model->inputs.count && !status; i++)
    status = make_input(&model->inputs.item[i], &model->values[i]);
  return status;
}

int edgecc_open(const char *folder, edgecc_model **model) {
  if (!model) return failed(EDGECC_USAGE, "edgecc_open is given no place for the model");
  *model = NULL;
  if (!folder) return failed(EDGECC_USAGE, "edgecc_open is given no folder");
  edgecc_model *made = calloc(1, sizeof *made);
  if (!made || pthread_mutex_init(&made->lock, NULL)) {
    free(made);
    return failed(EDGECC_FAILED, "no memory for a model");
  }
  int status = open_parts(folder, made);
  if (status) edgecc_close(made);
  else *model = made;
  return status;
}

void edgecc_close(edgecc_model *model) {
  if (!model) return;
  for (int i = 0; model->values && i < model->inputs.count; i++) release(&model->values[i]);
  free(model->values);
  release(&model->network);
  release(&model->vm);
  release(&model->library);
  free_tensors(&model->inputs);
  free_tensors(&model->outputs);
  pthread_mutex_destroy(&model->lock);
  free(model);
}

int edgecc_input_count(const edgecc_model *model) { return model ? model->inputs.count : 0; }

int edgecc_output_count(const edgecc_model *model) { return model ? model->outputs.count : 0; }

const edgecc_tensor *edgecc_input(const edgecc_model *model, int index) {
  int there = index >= 0 && index < edgecc_input_count(model);
  return there ? &model->inputs.item[index].shown : NULL;
}

const edgecc_tensor *edgecc_output(const edgecc_model *model, int index) {
  int there = index >= 0 && index < edgecc_output_count(model);
  return there ? &model->outputs.item[index].shown : NULL;
}

static int copy_outputs(const edgecc_model *model, const TVMFFIAny *result, void *const *outputs) {
  const TVMFFIAny *values = result;
  int64_t count = 1;
  if (result->type_index == kTVMFFIArray) {
    const TVMFFISeqCell *list = (const void *)((const char *)result->v_obj + sizeof(TVMFFIObject));
    values = list->data;
    count = list->size;
  }
  if (count != model->outputs.count)
    return failed(EDGECC_FAILED, "model.so returns %lld outputs, signature.txt has %d",
                  (long long)count, model->outputs.count);
  int status = EDGECC_OK;
  for (int i = 0; i < model->outputs.count && !status; i++)
    status = copy_output(&model->outputs.item[i], &values[i], outputs[i]);
  return status;
}

int edgecc_run(edgecc_model *model, const void *const *inputs, void *const *outputs) {
  if (!model) return failed(EDGECC_USAGE, "edgecc_run is given no model");
  for (int i = 0; i < model->inputs.count; i++)
    if (!inputs || !inputs[i])
      return failed(EDGECC_USAGE, "input '%s' is missing", model->inputs.item[i].shown.name);
  for (int i = 0; i < model->outputs.count; i++)
    if (!outputs || !outputs[i])
      return failed(EDGECC_USAGE, "output '%s' has no memory", model->outputs.item[i].shown.name);
  TVMFFIAny result = {0};
  pthread_mutex_lock(&model->lock);
  for (int i = 0; i < model->inputs.count; i++)
    memcpy(numbers_of(&model->values[i])->data, inputs[i], model->inputs.item[i].shown.bytes);
  int status = call_network(model, &result);
  if (!status) status = copy_outputs(model, &result, outputs);
  release(&result);
  pthread_mutex_unlock(&model->lock);
  return status;
}

int edgecc_set_threads(int threads) {
  if (threads < 1) return failed(EDGECC_USAGE, "%d threads cannot run a network", threads);
  return set_threads(threads);
}
