"""From a model to the bytes of an engine, and why there is none where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecc.errors import BuildError
from edgecc.target import Tell

TURING = "7.5"


@dataclass(frozen=True)
class Built:
    """An engine, and which GPUs it is for."""

    plan: bytes
    capabilities: tuple[str, ...]
    notes: tuple[str, ...] = ()


def build_engine(model: Path, capabilities: Sequence[str], tell: Tell) -> Built:
    """Return an engine for GPUs of all of `capabilities`.

    Turing multiplies matrices in float16 alone: where that is what stands in the way, the engine
    is for the others.
    Errors: `edgecc.errors.BuildError` with the node and the reason.
    """
    try:
        return Built(_build(model, capabilities, tell), tuple(capabilities))
    except BuildError as failure:
        newer = tuple(each for each in capabilities if each != TURING)
        if "Turing" not in failure.message or not newer or len(newer) == len(capabilities):
            raise
        note = f"not for compute capability {TURING}: {failure.message}"
    return Built(_build(model, newer, tell), newer, (note,))


def _build(model: Path, capabilities: Sequence[str], tell: Tell) -> bytes:
    import tensorrt_rtx as trt

    logger = _logger()
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    tell("reading the model")
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        raise _parse_error([parser.get_error(index) for index in range(parser.num_errors)])
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(_capability(capability), index)
    tell(f"building the engine for compute capability {', '.join(capabilities)}")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(
            f"TensorRT for RTX cannot build the engine: {_reason(logger.errors)}",
            hint="another --precision may have what it lacks; the model itself runs in onnxruntime",
        )
    return bytes(plan)


def _logger() -> Any:
    """A logger that keeps what goes wrong, and prints nothing."""
    import tensorrt_rtx as trt

    class Kept(trt.ILogger):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(text)

    return Kept()


def _capability(text: str) -> Any:
    """TensorRT's name of a compute capability: "8.6" is SM86."""
    import tensorrt_rtx as trt

    name = f"SM{text.replace('.', '')}"
    if not hasattr(trt.ComputeCapability, name):
        known = [each for each in trt.ComputeCapability.__members__ if each.startswith("SM")]
        raise BuildError(
            f"TensorRT for RTX {trt.__version__} builds nothing for compute capability {text}",
            hint=f"it builds for {', '.join(known)}",
        )
    return getattr(trt.ComputeCapability, name)


def _parse_error(errors: Sequence[Any]) -> BuildError:
    """What its parser does not take; it says "false" of an operator that it lacks."""
    import tensorrt_rtx as trt

    if not errors:
        return BuildError("TensorRT for RTX cannot read the model, and does not say why")
    lacking = (trt.ErrorCode.UNSUPPORTED_NODE, trt.ErrorCode.UNSUPPORTED_GRAPH)
    words = []
    for error in errors:
        reason = error.desc().strip()
        missing = error.code() in lacking and reason in ("", "false")
        words.append(
            f"node '{error.node_name()}' ({error.node_operator()}): "
            + ("there is no such operator" if missing else reason)
        )
    return BuildError(
        f"TensorRT for RTX does not take this model: {'; '.join(words)}",
        hint="--backend onnxruntime runs it on the CPU",
    )


def _reason(errors: Sequence[str]) -> str:
    """The builder's own words, without where in its source they stand."""
    text = errors[-1] if errors else "it does not say why"
    return text.partition("Error Code")[2].partition(": ")[2].partition(" In ")[0] or text
