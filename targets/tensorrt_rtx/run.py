#!/usr/bin/env python3
"""Run an engine of TensorRT for RTX on this machine's GPU: numpy files in, numpy files out.

Needs numpy, tensorrt_rtx and NVIDIA's driver (libcuda), nothing of edgecc; Python 3.9 and later.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import time
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

OLDEST = (7, 5)
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


class NoGpuError(Exception):
    """There is no GPU that could run an engine."""


class Driver:
    """The calls of CUDA's driver that moving arrays takes, on the first GPU."""

    def __init__(self) -> None:
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")
        except OSError:
            raise NoGpuError("NVIDIA's driver is not installed (no libcuda.so.1)") from None
        device, context = ctypes.c_int(), ctypes.c_void_p()
        try:
            self._call("cuInit", 0)
            self._call("cuDeviceGet", ctypes.byref(device), 0)
        except RuntimeError as error:
            raise NoGpuError(f"CUDA finds no GPU: {error}") from None
        self.capability = tuple(self._attribute(which, device) for which in (MAJOR, MINOR))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self.stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(self.stream), 1)

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value or 0

    def free(self, address: int) -> None:
        """Give an address back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def put(self, array: Array, address: int) -> None:
        """Copy an array to the GPU."""
        data = array.ctypes.data_as(ctypes.c_void_p)
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), data, ctypes.c_size_t(array.nbytes))

    def get(self, address: int, array: Array) -> None:
        """Copy into an array from the GPU."""
        data = array.ctypes.data_as(ctypes.c_void_p)
        self._call("cuMemcpyDtoH_v2", data, ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))

    def wait(self) -> None:
        """Wait until all that was started has ended."""
        self._call("cuStreamSynchronize", self.stream)

    def _attribute(self, which: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), which, device)
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._cuda, name)(*arguments):
            raise RuntimeError(f"{name} failed with CUDA's error {status}")


class Network:
    """An engine on the GPU: arrays by name in, arrays by name out."""

    def __init__(self, plan: bytes) -> None:
        import tensorrt_rtx as trt

        self.driver = Driver()
        if self.driver.capability < OLDEST:
            raise NoGpuError(
                "this GPU has compute capability {}.{}".format(*self.driver.capability)
            )
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(plan)
        if self._engine is None:
            raise NoGpuError(
                "TensorRT for RTX {} does not take this engine on a GPU of compute capability "
                "{}.{}".format(trt.__version__, *self.driver.capability)
            )
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = trt.TensorIOMode.INPUT
        self.inputs = [n for n in names if self._engine.get_tensor_mode(n) == is_input]
        self.outputs = [n for n in names if n not in self.inputs]
        self._results: dict[str, Array] = {}
        self._addresses: dict[str, int] = {}
        for name in names:
            array = np.empty(self.shape(name), self.dtype(name))
            self._addresses[name] = self.driver.allocate(array.nbytes)
            self._context.set_tensor_address(name, self._addresses[name])
            if name in self.outputs:
                self._results[name] = array

    def dtype(self, name: str) -> str:
        """Return numpy's name of a tensor's type."""
        import tensorrt_rtx as trt

        return str(np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the sizes of a tensor."""
        return tuple(self._engine.get_tensor_shape(name))

    def put(self, feed: dict[str, Array]) -> None:
        """Copy the inputs to the GPU."""
        for name in self.inputs:
            array = np.ascontiguousarray(feed[name], self.dtype(name))
            self.driver.put(array, self._addresses[name])

    def compute(self) -> None:
        """Run once on what was put there, and wait for it."""
        if not self._context.execute_async_v3(self.driver.stream.value or 0):
            raise RuntimeError("the engine did not run")
        self.driver.wait()

    def get(self) -> dict[str, Array]:
        """Return copies of the outputs."""
        for name, array in self._results.items():
            self.driver.get(self._addresses[name], array)
        return {name: array.copy() for name, array in self._results.items()}

    def close(self) -> None:
        """Give the GPU's memory back."""
        for address in self._addresses.values():
            self.driver.free(address)
        self._addresses = {}


def main() -> None:
    """Run the engine once, or time it."""
    parser = argparse.ArgumentParser(description="Run an engine of TensorRT for RTX.")
    parser.add_argument("engine")
    parser.add_argument("-i", "--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("-o", "--out", default=".", help="folder for OUTPUT.npy")
    parser.add_argument("--repeat", type=int, default=0, help="timed runs")
    parser.add_argument("--warmup", type=int, default=10, help="untimed runs before them")
    parser.add_argument("--for", dest="seconds", type=float, default=0, help="time for SECONDS")
    parser.add_argument("--times", metavar="FILE", help="write every time, in ms, a line each")
    arguments = parser.parse_args()
    with open(arguments.engine, "rb") as file:
        plan = file.read()
    try:
        network = Network(plan)
    except NoGpuError as error:
        parser.exit(4, f"{parser.prog}: {error}\n")
    feed = dict(read(parser, item) for item in arguments.input)
    if missing := [name for name in network.inputs if name not in feed]:
        parser.error(f"no -i for the input {missing[0]}")
    network.put(feed)
    network.compute()
    os.makedirs(arguments.out, exist_ok=True)
    for name, array in network.get().items():
        np.save(os.path.join(arguments.out, name.replace("/", "_") + ".npy"), array)
    if arguments.repeat or arguments.seconds:
        times_ms = timed(network, arguments.repeat, arguments.seconds, arguments.warmup)
        if arguments.times:
            with open(arguments.times, "w") as file:
                file.writelines(f"{time_ms:.6f}\n" for time_ms in times_ms)
        times_ms = sorted(times_ms)
        middle = times_ms[len(times_ms) // 2]
        told = {"repeat": len(times_ms), "min_ms": times_ms[0], "median_ms": middle}
        print(json.dumps({**told, "max_ms": times_ms[-1]}))


def read(parser: argparse.ArgumentParser, item: str) -> tuple[str, Array]:
    """Return the name and the array of NAME=FILE.npy."""
    name, equals, path = item.partition("=")
    if not equals:
        parser.error("-i takes NAME=FILE.npy, not " + item)
    try:
        return name, np.load(path)
    except (OSError, ValueError) as error:
        parser.error(f"cannot read {path} for the input {name}: {error}")


def timed(network: Network, repeat: int, seconds: float, warmup: int) -> list[float]:
    """Return the times of `repeat` runs, or of those in `seconds`, on the GPU alone, in ms."""
    for _ in range(warmup):
        network.compute()
    times_ms: list[float] = []
    end = time.perf_counter() + seconds
    while len(times_ms) < repeat or time.perf_counter() < end or not times_ms:
        start = time.perf_counter()
        network.compute()
        times_ms.append((time.perf_counter() - start) * 1e3)
    return times_ms


if __name__ == "__main__":
    main()
