"""Programs that link libedgecc.so, as a user of the bundle writes and builds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgecc.target import this_arch

# Reads the inputs' numbers from stdin, one after the other, and writes the outputs' to stdout.
PIPE = """
#include <stdio.h>
#include <stdlib.h>
#include "edgecc.h"

int main(int count, char **words) {
  edgecc_model *model;
  void *inputs[8], *outputs[8];
  if (count > 2 && edgecc_set_threads(atoi(words[2]))) return fputs(edgecc_error(), stderr), 3;
  if (edgecc_open(words[1], &model)) return fprintf(stderr, "%s\\n", edgecc_error()), 1;
  for (int i = 0; i < edgecc_input_count(model); i++) {
    const edgecc_tensor *tensor = edgecc_input(model, i);
    inputs[i] = malloc(tensor->bytes);
    if (fread(inputs[i], 1, tensor->bytes, stdin) != tensor->bytes) return 4;
  }
  for (int i = 0; i < edgecc_output_count(model); i++)
    outputs[i] = malloc(edgecc_output(model, i)->bytes);
  if (edgecc_run(model, (const void *const *)inputs, outputs)) return 2;
  for (int i = 0; i < edgecc_output_count(model); i++)
    fwrite(outputs[i], 1, edgecc_output(model, i)->bytes, stdout);
  edgecc_close(model);
  return 0;
}
"""


def compile_application(
    source: str, tvm: Path, program: Path, *options: str, target: str = f"{this_arch()}-linux-gnu"
) -> None:
    """Compile and link `source` against the header and library in the bundle's folder `tvm`."""
    file = program.with_suffix(".c")
    file.write_text(source)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ziglang", "cc", "-target", target, *options),
            *("-Wall", "-Wextra", "-Werror", "-pedantic", file, f"-I{tvm}", f"-L{tvm}", "-ledgecc"),
            *(f"-Wl,-rpath,{tvm}", "-o", program),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
