"""An engine on this machine's GPU, as a session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy.typing as npt

from edgecc.errors import BuildError
from edgecc.target import Arrays, Session, TensorSpec, checked_inputs
from targets.tensorrt_rtx.run import Network, NoGpuError


class RtxSession(Session):
    """An engine of TensorRT for RTX on the first GPU.

    Errors: `edgecc.errors.BuildError` where there is none that it runs on.
    """

    def __init__(self, engine: Path) -> None:
        try:
            self._network = Network(engine.read_bytes())
        except NoGpuError as error:
            raise BuildError(
                f"the engine needs an NVIDIA GPU of compute capability 7.5 or newer: {error}",
                hint="its model.onnx runs in onnxruntime; copy the bundle to a PC with such a GPU",
            ) from None
        self.inputs = self._specs(self._network.inputs)
        self.outputs = self._specs(self._network.outputs)

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run the network once."""
        self._network.put(checked_inputs(self.inputs, inputs))
        self._network.compute()
        found: Arrays = self._network.get()
        return found

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._network.close()

    def _specs(self, names: list[str]) -> tuple[TensorSpec, ...]:
        network = self._network
        return tuple(TensorSpec(name, network.dtype(name), network.shape(name)) for name in names)
