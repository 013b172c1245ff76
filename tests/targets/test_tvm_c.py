"""libedgecc.so from C, C++ and a program that opens it late, against onnxruntime."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from c_application import PIPE, compile_application
from tvm_networks import build, by_onnxruntime, classifier_of, error, given, normal

from edgecc.target import Artifact

OLDEST_GLIBC = 27


@pytest.fixture(scope="module")
def application(bundle: tuple[Path, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("application") / "application"
    compile_application(PIPE, bundle[0] / "tvm", program, "-std=c99")
    return program


def run(
    program: Path, folder: Path, data: bytes, *words: str
) -> subprocess.CompletedProcess[bytes]:
    line = [program, folder / "tvm", *words]
    return subprocess.run(line, input=data, capture_output=True, check=False)


@pytest.mark.parametrize("threads", [(), ("1",), ("3",)])
def test_a_c_application_equals_onnxruntime(
    bundle: tuple[Path, Artifact], application: Path, threads: tuple[str, ...]
) -> None:
    model = classifier_of(bundle[0])
    x = given(model)["x"]
    done = run(application, bundle[0], x.tobytes(), *threads)
    assert done.returncode == 0, done.stderr  # TVM warns of more threads than cores
    assert threads > ("1",) or done.stderr == b""
    got = np.frombuffer(done.stdout, np.float32).reshape(1, 5)
    assert error(by_onnxruntime(model, {"x": x})[0], got) < 1e-5
    assert run(application, bundle[0], x.tobytes(), *threads).stdout == done.stdout


def test_several_inputs_outputs_and_types(application: Path, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[2,3] a, int64[2,3] b) => (float[2,3] sum, int64[2,3] b2, bool[2,3] more) {
            c = Cast <to = 1> (b)
            sum = Add (a, c)
            b2 = Add (b, b)
            more = Greater (a, c)
        }"""
    )
    build(model, tmp_path)
    inputs = {"a": normal(2, 3), "b": np.arange(6).reshape(2, 3)}
    # Another bundle's model through the library that the application was linked with.
    done = run(application, tmp_path, b"".join(array.tobytes() for array in inputs.values()))
    wanted = b"".join(array.tobytes() for array in by_onnxruntime(model, inputs))
    assert (done.returncode, done.stdout) == (0, wanted)


def test_the_header_is_c_plus_plus_too(bundle: tuple[Path, Artifact], tmp_path: Path) -> None:
    source = """
    #include "edgecc.h"
    #include <stdio.h>
    int main(int, char **words) {
      edgecc_model *model = nullptr;
      if (edgecc_open(words[1], &model)) return 1;
      const edgecc_tensor *x = edgecc_input(model, 0), *none = edgecc_output(model, 1);
      printf("%s %s %d %d %d %s", x->name, x->dtype, int(x->ndim), int(x->shape[3]),
                  int(x->bytes), none ? "?" : edgecc_output(model, 0)->file);
      edgecc_close(model);
    }"""
    folder = bundle[0] / "tvm"
    compile_application(source, folder, tmp_path / "cpp", "-xc++", "-std=c++11")
    done = subprocess.run([tmp_path / "cpp", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "x float32 4 16 3072 _fc_prob.npy")


LATE = """
import ctypes, sys, threading
folder = sys.argv[1].encode()
edgecc = ctypes.CDLL(sys.argv[1] + "/libedgecc.so", mode=ctypes.RTLD_LOCAL)
edgecc.edgecc_error.restype = ctypes.c_char_p
def opened():
    model = ctypes.c_void_p()
    assert edgecc.edgecc_open(folder, ctypes.byref(model)) == 0, edgecc.edgecc_error()
    return model
def run(model, number):
    x, y = (ctypes.c_float * 768)(*[number] * 768), (ctypes.c_float * 5)()
    inputs, outputs = ((ctypes.c_void_p * 1)(ctypes.addressof(array)) for array in (x, y))
    assert edgecc.edgecc_run(model, inputs, outputs) == 0, edgecc.edgecc_error()
    return list(y)
models = [opened(), opened()]
wanted = [run(models[0], number) for number in range(4)]
def again(number):
    for turn in range(200):
        assert run(models[turn % 2], number) == wanted[number]
    done.append(number)
done = []
threads = [threading.Thread(target=again, args=[number]) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
[edgecc.edgecc_close(model) for model in models]
for turn in range(20):
    edgecc.edgecc_close(opened())
print(sorted(done))
"""


def test_a_program_that_opens_it_late_and_in_many_threads(bundle: tuple[Path, Artifact]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, bundle[0] / "tvm"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2, 3]\n"), done.stderr


def damaged(folder: Path, tmp_path: Path, name: str, data: bytes | None) -> Path:
    copy = Path(shutil.copytree(folder / "tvm", tmp_path / "tvm"))
    (copy / name).unlink()
    if data is not None:
        (copy / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("model.so", None, "cannot read .*model.so: No such file"),
        ("model.so", b"not a library" * 10, "is damaged: no ELF header"),
        ("model.so", b"\x7fELF\x02\x01", "is damaged: no ELF header"),
        ("signature.txt", None, "cannot read .*signature.txt: No such file"),
        ("signature.txt", b"", "lists no outputs"),
        ("signature.txt", b"input float32 1xx3 x.npy x\n", "cannot use the line 'input float32"),
        ("signature.txt", b"output complex64 3 x.npy x\n", "cannot use the line 'output complex"),
        ("signature.txt", b"sideways float32 3 x.npy x\n", "cannot use the line"),
        ("signature.txt", b"\xff\0" * 3000, "cannot use the line"),
    ],
)
def test_what_is_damaged_is_named_and_the_program_lives(
    bundle: tuple[Path, Artifact],
    application: Path,
    tmp_path: Path,
    name: str,
    data: bytes | None,
    message: str,
) -> None:
    done = run(application, damaged(bundle[0], tmp_path, name, data), b"")
    assert done.returncode == 1
    (line,) = done.stderr.decode("utf-8", "replace").splitlines()
    assert re.search(message, line)


def test_a_signature_of_another_network_is_found_out(
    bundle: tuple[Path, Artifact], application: Path, tmp_path: Path
) -> None:
    text = (bundle[0] / "tvm" / "signature.txt").read_text()
    wrong = text.replace("1x5", "1x6").encode()
    folder = damaged(bundle[0], tmp_path, "signature.txt", wrong)
    assert run(application, folder, bytes(3072)).returncode == 2


WRONG = """
#include <stdio.h>
#include "edgecc.h"
int main(int count, char **words) {
  static float x[768], y[5];
  const void *in[] = {x}, *no_in[] = {NULL};
  void *out[] = {y}, *no_out[] = {NULL};
  edgecc_model *model = (edgecc_model *)x;
  printf("[%s]\\n", edgecc_error());
#define SHOW(call) printf("%d %s\\n", call, edgecc_error())
  SHOW(edgecc_open(NULL, &model));
  SHOW(model != NULL);
  SHOW(edgecc_open(words[count - 1], NULL));
  SHOW(edgecc_run(NULL, in, out));
  SHOW(edgecc_set_threads(0));
  if (edgecc_open(words[1], &model)) return 1;
  SHOW(edgecc_run(model, NULL, out));
  SHOW(edgecc_run(model, no_in, out));
  SHOW(edgecc_run(model, in, no_out));
  printf("%d %d %d\\n", edgecc_input_count(NULL), edgecc_input(model, -1) != NULL,
         edgecc_output(model, 1) != NULL);
  edgecc_close(NULL);
  edgecc_close(model);
  return 0;
}
"""


def test_wrong_calls_are_answered(bundle: tuple[Path, Artifact], tmp_path: Path) -> None:
    folder = bundle[0] / "tvm"
    compile_application(WRONG, folder, tmp_path / "wrong", "-std=c99")
    done = subprocess.run([tmp_path / "wrong", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "[]",
            "2 edgecc_open is given no folder",
            "0 edgecc_open is given no folder",
            "2 edgecc_open is given no place for the model",
            "2 edgecc_run is given no model",
            "2 0 threads cannot run a network",
            "2 input 'x' is missing",
            "2 input 'x' is missing",
            "2 output '/fc/prob' has no memory",
            "0 0 0",
        ],
    )


def test_it_starts_on_an_old_glibc(bundle: tuple[Path, Artifact]) -> None:
    folder, artifact = bundle
    for name in artifact.files:
        found = re.findall(rb"GLIBC_2\.(\d+)", (folder / name).read_bytes())
        assert all(int(minor) <= OLDEST_GLIBC for minor in found), name
        assert found or not name.endswith((".so", "edgecc-run")), name


def test_the_library_shows_its_own_functions_only(bundle: tuple[Path, Artifact]) -> None:
    folder = bundle[0] / "tvm"
    promised = re.findall(r"^EDGECC_API .*?(edgecc_\w+)\(", (folder / "edgecc.h").read_text(), re.M)
    exported = subprocess.run(
        [sys.executable, "-c", EXPORTED, folder / "libedgecc.so"], capture_output=True, check=True
    )
    assert sorted(promised) == sorted(exported.stdout.decode().split())


EXPORTED = """
import re, sys
data = open(sys.argv[1], "rb").read()
print(*sorted({name.decode() for name in re.findall(rb"(?<=\\0)edgecc_[a-z_]+(?=\\0)", data)}))
"""
