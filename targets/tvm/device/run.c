/* edgecc-run: a command line for libedgecc.so, on devices without Python.
 * Exit code: 0 done, 2 the call or an input file is wrong, 1 the network cannot be loaded or run. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "npy.h"

typedef struct {
  const char *folder;
  long repeat, warmup, threads;
  double seconds;    /* repeat until so many have passed */
  const char *times; /* the file that takes the time of each run, or NULL */
  void **inputs, **outputs; /* the numbers of each; an input not given is NULL */
} Options;

static const char *USAGE_TEXT =
    "usage: edgecc-run -i NAME=FILE.npy ... -o FOLDER [--repeat N] [--warmup N] [--threads T]\n"
    "                  [--for SECONDS] [--times FILE]\n"
    "Runs the network once and writes every output to FOLDER as .npy.\n"
    "  -i NAME=FILE.npy  an input: C order, type and shape as listed below\n"
    "  -o FOLDER         where the outputs go (made when missing)\n"
    "  --repeat N        run N times more; prints min, median and max in ms as one line of JSON\n"
    "  --for SECONDS     run until then, and N times at least (once without --repeat)\n"
    "  --times FILE      write the time of each of these runs in ms, one a line, in their order\n"
    "  --warmup N        runs before those that are timed (default 1)\n"
    "  --threads T       threads of TVM's pool (default: TVM_NUM_THREADS, or every core; half on x86)\n";

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
  void *memory = calloc(bytes ? bytes : 1, 1);
  if (!memory) die(EDGECC_FAILED, "no memory for %zu bytes", bytes);
  return memory;
}

static void check(int status) {
  if (status) die(status, "%s", edgecc_error());
}

/* ---- the command line ---- */

static void print_tensor(const char *direction, const edgecc_tensor *tensor, const char *end) {
  printf("%-6s %s: %s %s%s", direction, tensor->name, tensor->dtype,
         shape_text(tensor->ndim, tensor->shape), end);
}

static void print_help(const edgecc_model *model) {
  for (int i = 0; i < edgecc_input_count(model); i++)
    print_tensor("input", edgecc_input(model, i), "\n");
  for (int i = 0; i < edgecc_output_count(model); i++) {
    print_tensor("output", edgecc_output(model, i), ", written to ");
    puts(edgecc_output(model, i)->file);
  }
}

/* A name may hold '=': the split is where a known name ends; without one, at the first '='. */
static void take_input(const edgecc_model *model, void **inputs, const char *argument) {
  for (int i = 0; i < edgecc_input_count(model); i++) {
    const edgecc_tensor *tensor = edgecc_input(model, i);
    size_t length = strlen(tensor->name);
    if (strncmp(argument, tensor->name, length) || argument[length] != '=') continue;
    if (inputs[i]) die(EDGECC_USAGE, "input '%s' is given twice", tensor->name);
    inputs[i] = load_npy(tensor, argument + length + 1);
    return;
  }
  if (!strchr(argument, '=')) die(EDGECC_USAGE, "-i %s: it is written NAME=FILE.npy", argument);
  int length = (int)strcspn(argument, "=");
  die(EDGECC_USAGE, "no input is named '%.*s'; --help lists them", length, argument);
}

static long number(const char *option, const char *text, long least) {
  char *end = NULL;
  long value = text ? strtol(text, &end, 10) : 0;
  if (!text || end == text || *end || value < least || value > 100000000)
    die(EDGECC_USAGE, "%s takes a whole number of at least %ld", option, least);
  return value;
}

static double seconds(const char *text) {
  char *end = NULL;
  double value = text ? strtod(text, &end) : 0;
  if (!text || end == text || *end || !(value > 0) || value > 1e6)
    die(EDGECC_USAGE, "--for takes a number of seconds above 0");
  return value;
}

static void read_options(int count, char **words, const edgecc_model *model, Options *options) {
  for (int i = 1; i < count; i += 2) {
    char *option = words[i], *value = words[i + 1]; /* argv ends in NULL */
    if (!strcmp(option, "--repeat")) options->repeat = number(option, value, 0);
    else if (!strcmp(option, "--warmup")) options->warmup = number(option, value, 0);
    else if (!strcmp(option, "--threads")) options->threads = number(option, value, 1);
    else if (!strcmp(option, "--for")) options->seconds = seconds(value);
    else if (strcmp(option, "-i") && strcmp(option, "--times") && strcmp(option, "-o"))
      die(EDGECC_USAGE, "there is no option %s; --help lists them", option);
    else if (!value) die(EDGECC_USAGE, "%s needs a value; --help shows how", option);
    else if (option[1] == 'o') options->folder = value;
    else if (option[1] == '-') options->times = value;
    else take_input(model, options->inputs, value);
  }
  if (options->times && !options->repeat && !(options->seconds > 0))
    die(EDGECC_USAGE, "--times needs --repeat or --for");
  if (!options->folder) die(EDGECC_USAGE, "-o FOLDER is missing: where the outputs go");
  for (int i = 0; i < edgecc_input_count(model); i++) {
    const char *name = edgecc_input(model, i)->name;
    if (!options->inputs[i]) die(EDGECC_USAGE, "input '%s' is missing: -i '%s=FILE.npy'", name, name);
  }
  if (mkdir(options->folder, 0777) && errno != EEXIST)
    die(EDGECC_USAGE, "cannot make %s: %s", options->folder, strerror(errno));
}

/* ---- running ---- */

static void run(edgecc_model *model, const Options *options) {
  check(edgecc_run(model, (const void *const *)options->inputs, options->outputs));
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

static void save_times(const char *path, const double *ms, long count) {
  FILE *file = fopen(path, "w");
  if (!file) die(EDGECC_USAGE, "cannot write %s: %s", path, strerror(errno));
  int bad = 0;
  for (long i = 0; i < count; i++) bad |= fprintf(file, "%.6f\n", ms[i]) < 0;
  if (fclose(file) || bad) die(EDGECC_FAILED, "cannot write %s: %s", path, strerror(errno));
}

static void measure(edgecc_model *model, const Options *options) {
  long room = options->repeat ? options->repeat : 1, count = 0;
  double *ms = allocate(sizeof *ms * (size_t)room);
  for (long i = 0; i < options->warmup; i++) run(model, options);
  double start = now_ms(), end = start;
  for (; count < options->repeat || !count || end - start < options->seconds * 1e3; count++) {
    if (count == room && !(ms = realloc(ms, sizeof *ms * (size_t)(room *= 2))))
      die(EDGECC_FAILED, "no memory for the times of %ld runs", room);
    double begin = now_ms();
    run(model, options);
    end = now_ms();
    ms[count] = end - begin;
  }
  if (options->times) save_times(options->times, ms, count);
  qsort(ms, (size_t)count, sizeof *ms, ascending);
  long last = count - 1;
  printf("{\"repeat\": %ld, \"warmup\": %ld, \"min_ms\": %.6f, \"median_ms\": %.6f, "
         "\"max_ms\": %.6f, \"start_s\": %.6f, \"end_s\": %.6f}\n", count, options->warmup, ms[0],
         (ms[last / 2] + ms[(last + 1) / 2]) / 2, ms[last], start / 1e3, end / 1e3);
  free(ms);
}

/* The folder this program lies in, without a slash at its end. */
static void find_own_folder(char *folder, size_t size, const char *called_as) {
  ssize_t length = readlink("/proc/self/exe", folder, size - 1);
  if (length < 0) length = snprintf(folder, size, "%s", called_as);
  if (length < 0 || (size_t)length >= size - 1) die(EDGECC_FAILED, "the path of this program is too long");
  folder[length] = 0;
  char *slash = strrchr(folder, '/');
  strcpy(slash ? slash : folder, slash ? "" : ".");
}

int main(int count, char **words) {
  char folder[MAX_PATH - 64];
  edgecc_model *model = NULL;
  int help = 0;
  for (int i = 1; i < count; i++) help |= !strcmp(words[i], "--help") || !strcmp(words[i], "-h");
  if (help) fputs(USAGE_TEXT, stdout);
  find_own_folder(folder, sizeof folder, words[0]);
  check(edgecc_open(folder, &model));
  if (help) return print_help(model), 0;
  int inputs = edgecc_input_count(model), outputs = edgecc_output_count(model);
  Options options = {.warmup = 1, .inputs = allocate(sizeof(void *) * (size_t)inputs),
                     .outputs = allocate(sizeof(void *) * (size_t)outputs)};
  read_options(count, words, model, &options);
  for (int i = 0; i < outputs; i++) options.outputs[i] = allocate(edgecc_output(model, i)->bytes);
  if (options.threads) check(edgecc_set_threads((int)options.threads));
  run(model, &options);
  for (int i = 0; i < outputs; i++)
    save_npy(edgecc_output(model, i), options.outputs[i], options.folder);
  if (options.repeat || options.seconds > 0) measure(model, &options);
  edgecc_close(model);
  return 0;
}
