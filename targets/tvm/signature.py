"""The network's inputs and outputs, as a text file that the C runner and Python both read.

    input float32 1x3x32x32 input.npy input
    output float32 1x10 _fc_Gemm_output_0.npy /fc/Gemm_output_0

Five columns: direction, numpy's type, sizes (`scalar` for none), file name, and the rest of the
line is the tensor's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgecc.errors import BuildError
from edgecc.target import TensorSpec
from targets.tvm.refusal import NotInTvmError

TYPES = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)) | {
    "bool",
    "float16",
    "float32",
    "float64",
}
LONGEST_NAME = 1000
MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs in the order that the compiled function takes and returns them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of_model(cls, model: onnx.ModelProto) -> Signature:
        """Read it from a model. Errors: `NotInTvmError` for what a C program cannot be given."""
        weights = {tensor.name for tensor in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in weights]
        return cls(tuple(map(compiled_spec, inputs)), tuple(map(compiled_spec, model.graph.output)))

    @classmethod
    def read(cls, path: Path) -> Signature:
        """Read the text file. Errors: `BuildError`."""
        try:
            rows = [line.split(" ", 4) for line in path.read_text("utf-8").splitlines()]
            found: dict[str, list[TensorSpec]] = {"input": [], "output": []}
            for direction, dtype, sizes, _, name in rows:
                shape = () if sizes == "scalar" else tuple(map(int, sizes.split("x")))
                found[direction].append(TensorSpec(name, dtype, shape))
        except (OSError, ValueError, KeyError) as error:
            raise BuildError(
                f"{path} does not list inputs and outputs: {error}", hint="build the bundle again"
            ) from error
        return cls(tuple(found["input"]), tuple(found["output"]))

    def files(self) -> dict[str, str]:
        """Return a file name (`.npy`) for every tensor: `input NAME` and `output NAME` are keys."""
        names: dict[str, str] = {}
        for direction, specs in (("input", self.inputs), ("output", self.outputs)):
            taken: set[str] = set()
            for spec in specs:
                stem = re.sub(r"[^A-Za-z0-9._-]", "_", spec.name).lstrip(".-")[:100] or "tensor"
                count = 1
                while f"{stem}.npy" in taken:
                    count += 1
                    stem = f"{stem.rsplit('__', 1)[0]}__{count}"
                taken.add(f"{stem}.npy")
                names[f"{direction} {spec.name}"] = f"{stem}.npy"
        return names

    def write(self, path: Path) -> None:
        """Write the text file."""
        files = self.files()
        lines = []
        for direction, specs in (("input", self.inputs), ("output", self.outputs)):
            for spec in specs:
                sizes = "x".join(map(str, spec.shape)) or "scalar"
                file = files[f"{direction} {spec.name}"]
                lines.append(f"{direction} {spec.dtype} {sizes} {file} {spec.name}\n")
        path.write_text("".join(lines), "utf-8")


def spec_of(value: onnx.ValueInfoProto) -> TensorSpec:
    """Return a tensor's type and sizes as the model has them.

    Errors: `NotInTvmError` for what is no tensor of a known rank.
    """
    kind, tensor = value.type.WhichOneof("value"), value.type.tensor_type
    if kind not in (None, "tensor_type"):
        raise NotInTvmError(f"'{value.name}' is no tensor but a {kind.removesuffix('_type')}")
    if not tensor.HasField("shape"):
        raise NotInTvmError(f"the tensor '{value.name}' has no shape")
    shape = tuple(
        size.dim_value if size.HasField("dim_value") else size.dim_param or None
        for size in tensor.shape.dim
    )
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return TensorSpec(value.name, dtype, shape)


def compiled_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """Return what a compiled network takes or returns.

    Errors: `NotInTvmError` for what TVM or a C program cannot be given.
    """
    spec = spec_of(value)
    if not value.name.isprintable() or len(value.name.encode()) > LONGEST_NAME:
        raise NotInTvmError(f"the tensor {value.name!r} has a name that does not fit on a line")
    if 0 in spec.shape:
        raise NotInTvmError(f"{spec} is an empty tensor, which TVM takes for one of unknown size")
    if not spec.is_static:
        raise NotInTvmError(
            f"TVM is given static shapes only, and {spec} is not", hint="fix it with --shape"
        )
    if spec.dtype not in TYPES or len(spec.shape) > MOST_DIMENSIONS:
        raise NotInTvmError(
            f"the TVM runner cannot pass {spec}: it takes at most {MOST_DIMENSIONS} dimensions of "
            + ", ".join(sorted(TYPES))
        )
    return spec
