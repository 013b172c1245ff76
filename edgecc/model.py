"""Reading a model that nobody vouches for: validated, bounded, as an onnx_ir.Model.

Everything after this file may take a model at its word: every file it names lies in its own
folder, every tensor holds what its shape says, every operator exists, every value is made before
it is used.
"""

from __future__ import annotations

import hashlib
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir

from edgecc.errors import ModelError
from edgecc.graph import without_weights
from edgecc.model_tensors import check_tensors, external_files, tensors

PROTOBUF_LIMIT = 2**31 - 1
"""A protobuf message is smaller than 2 GB; larger models keep their weights in files beside."""
EXPORT_AGAIN = "the file is damaged, or its exporter is wrong; export it again"
MAX_NODES = 200_000
"""Of a graph whose functions are inlined."""
RUNTIME_DOMAINS = {"com.microsoft", "com.ms.internal.nhwc"}
"""Operators that onnxruntime brings along."""
_MAGIC = {
    b"PK\x03\x04": "a zip archive (a PyTorch checkpoint, perhaps): export it to ONNX",
    b"version https://git-lfs": "a Git LFS pointer: run 'git lfs pull' for the model itself",
    b"\x89HDF": "an HDF5 file (Keras, perhaps): convert it with tf2onnx",
    b"<": "a web page or XML: download the model itself",
    b"\x1f\x8b": "a gzip archive: unpack it first",
}


def load(path: Path) -> ir.Model:
    """Read and validate the model at `path`; large weights stay on disk until they are needed.

    Errors: `edgecc.errors.ModelError`.
    """
    proto = _parse(path)
    try:
        check_tensors(proto, path.parent)
        _check_graph(proto)
        _check_onnx(proto, path.name)
        model = ir.from_proto(proto)
        without_weights(model)  # what cannot be written again is not sound
    except (ir.serde.SerdeError, UnicodeError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path.name} is not a sound ONNX model: {_first_line(error)}", hint=EXPORT_AGAIN
        ) from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    for value in model.graph.inputs:
        if not isinstance(value.type, ir.TensorType) or value.shape is None:
            raise ModelError(
                f"the input '{value.name}' of {path.name} is not a tensor of a known rank",
                hint="export the model with the shapes of its inputs",
            )
    return model


def model_sha256(path: Path) -> str:
    """Return the digest of a model: of its file, then of the files its weights lie in."""
    return sha256(path, *external_files(_parse(path), path.parent))


def sha256(*files: Path) -> str:
    """Return the digest of files, one behind the other, without holding them in memory."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _parse(path: Path) -> onnx.ModelProto:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is not a file", hint="give the .onnx file itself")
    if status.st_size > PROTOBUF_LIMIT:
        raise ModelError(
            f"{path.name} has {status.st_size / 1e9:.1f} GB; an ONNX file ends at 2 GB",
            hint="export it with external data",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (google.protobuf.message.DecodeError, RecursionError):
        raise ModelError(
            f"{path.name} is no ONNX model, or not all of one", hint=_guess(data)
        ) from None
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path.name} is no ONNX model: it has no graph", hint=_guess(data))
    return proto


def _guess(data: bytes) -> str:
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            return f"it looks like {what}"
    return f"it has {len(data)} bytes; was it cut short, or exported by something else?"


def _check_graph(proto: onnx.ModelProto) -> None:
    """What onnx's checker leaves out, or says of the first case only."""
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in proto.opset_import}
    _check_operators(proto, opsets)
    _check_functions(proto)
    if proto.graph.sparse_initializer:
        raise ModelError(
            "the model has sparse initialisers, which edgecc does not read",
            hint="export it with dense weights",
        )
    made = {value.name for value in proto.graph.input}
    made |= {tensor.name for tensor in proto.graph.initializer}
    _check_wiring(proto.graph, made)
    for output in proto.graph.output:
        if output.name not in made:
            raise ModelError(f"no node makes the model's output '{output.name}'", hint=EXPORT_AGAIN)


def _check_operators(proto: onnx.ModelProto, opsets: dict[str, int]) -> None:
    newest = onnx.defs.onnx_opset_version()
    if (opset := opsets.get("", 0)) > newest:
        raise ModelError(
            f"the model is at opset {opset}, and the installed onnx knows {newest} at most",
            hint="pip install -U onnx onnxruntime, or export the model at an older opset",
        )
    if opset and opset < 7:
        raise ModelError(
            f"the model is at opset {opset}; edgecc reads opset 7 and later",
            hint="raise it with onnx.version_converter.convert_version(model, 13)",
        )
    functions = {(f.domain, f.name) for f in proto.functions}
    unknown: Counter[str] = Counter()
    for node in _all_nodes(proto.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain in RUNTIME_DOMAINS or (domain, node.op_type) in functions:
            continue
        version = opsets.get(domain, 0)
        if not onnx.defs.has(node.op_type, version, domain):
            unknown[f"{domain}::{node.op_type}" if domain else node.op_type] += 1
    if unknown:
        names = ", ".join(f"{name} ({count} nodes)" for name, count in sorted(unknown.items()))
        raise ModelError(
            f"operators that do not exist in ONNX opset {opsets.get('', 0)}: {names}",
            hint="export the model again with a newer exporter; onnxruntime cannot run it either",
        )


def _check_functions(proto: onnx.ModelProto) -> None:
    """Calls within calls, unrolled, must stay a graph that can be handled; and end."""
    bodies = {(f.domain, f.name): f.node for f in proto.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], callers: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in callers:
                raise ModelError(f"the function {'::'.join(key)} calls itself")
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*callers, key))
            total += sizes.get(key, 1)
        return total

    unrolled = size(_all_nodes(proto.graph), ())
    if unrolled > MAX_NODES:
        raise ModelError(
            f"the model's functions unroll to {unrolled:.3g} nodes; edgecc takes {MAX_NODES}",
            hint="export it without functions",
        )


def _check_wiring(graph: onnx.GraphProto, made: set[str]) -> None:
    """Every input of every node is made before it; `made` gathers the names."""
    outputs = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        label = f"{node.op_type} '{node.name or (node.output[0] if node.output else '')}'"
        for name in filter(None, node.input):
            if name not in made and name not in outputs:
                raise ModelError(
                    f"{label} reads '{name}', which nothing makes",
                    hint="an initialiser or an input is missing from the file",
                )
            if name not in made:
                raise ModelError(
                    f"{label} reads '{name}' before it is made: the graph has a cycle, or its "
                    "nodes are not in order",
                    hint="if there is no cycle, onnx-graphsurgeon's toposort puts it in order",
                )
        for name in filter(None, node.output):
            if name in made:
                raise ModelError(
                    f"two nodes, inputs or initialisers make '{name}'", hint=EXPORT_AGAIN
                )
            made.add(name)


def _check_onnx(proto: onnx.ModelProto, name: str) -> None:
    """ONNX's own checker, but that an output may lack a shape, as onnxruntime allows too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for output in copy.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    for tensor in tensors(copy):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:  # checked by check_tensors
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
            tensor.dims[:] = [0]
            tensor.raw_data = b""
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"{name} is not valid ONNX: {_first_line(error)}", hint=EXPORT_AGAIN
        ) from None


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _all_nodes(inner)


def _first_line(error: BaseException) -> str:
    """The first line of what an error ultimately comes from."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
