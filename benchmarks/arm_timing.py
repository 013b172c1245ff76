"""Models in the emulated machine, in both engines: the same numbers, and their instruction time."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from arm_vm import HOME, Vm
from engines import difference, of_onnxruntime, random_inputs

import edgecc

RUNNER = Path(__file__).with_name("arm_onnxruntime.py")
TARGET = "rpi4"


@dataclass(frozen=True)
class Job:
    """A model built for the device."""

    name: str
    bundle: Path
    build_s: float

    @classmethod
    def built(cls, name: str, model: Path, shape: Mapping[str, tuple[int, ...]], out: Path) -> Job:
        """Build `model` into `out`, rewriting nothing; inputs are made beside the library."""
        built = edgecc.build(model, TARGET, backend="tvm", passes="", shape=shape, out=out)
        job = cls(name, out, built.report["timings_s"]["lower"])
        for index, array in enumerate(random_inputs(job.model).values()):
            np.save(job.input(index), array)
        return job

    @property
    def model(self) -> Path:
        """What onnxruntime opens."""
        return self.bundle / "model.onnx"

    def input(self, index: int) -> Path:
        """Where an input's numbers lie."""
        return self.bundle.parent / f"{self.bundle.name}-input{index}.npy"

    def inputs(self) -> dict[str, np.ndarray]:
        """What the model is given, in its order."""
        return random_inputs(self.model)


@dataclass(frozen=True)
class Time:
    """Millions of instructions a run, and how far the outputs are from onnxruntime's here."""

    ours: float
    theirs: float
    error: float


def instruction_times(vm: Vm, jobs: Sequence[Job]) -> list[Time]:
    """Put all models into the machine and run each once in edgecc's runner, then onnxruntime.

    Those of onnxruntime are kept in the machine's folder by the model: they are always the same.
    """
    kept = vm.work / "arm_onnxruntime.json"
    known: dict[str, float] = json.loads(kept.read_text()) if kept.is_file() else {}
    digests = [hashlib.sha256(job.model.read_bytes()).hexdigest() for job in jobs]
    new = [job for job, digest in zip(jobs, digests, strict=True) if digest not in known]
    vm.place(_files(jobs, new))
    told = vm.run("\n".join(["set -e", *map(_command, jobs)])).splitlines()
    ours = [json.loads(line)["median_ms"] for line in told]
    if new:
        folders = " ".join(f"'{HOME}/{job.name}'" for job in new)
        told = vm.run(f"cd {HOME} && PYTHONPATH={HOME}/py python3 arm_onnxruntime.py {folders}")
        lines = map(json.loads, told.splitlines())
        for job, line in zip(new, lines, strict=True):
            known[digests[jobs.index(job)]] = line["ms"]
        kept.write_text(json.dumps(known))
    figures = zip(ours, digests, _errors(vm, jobs), strict=True)
    return [Time(ms, known[digest], error) for ms, digest, error in figures]


def _files(jobs: Sequence[Job], in_onnxruntime: Sequence[Job]) -> dict[str, Path]:
    """What the machine must hold, by its path below HOME."""
    files = {RUNNER.name: RUNNER}
    for job in jobs:
        for path in (job.bundle / "tvm").iterdir():
            files[f"{job.name}/{path.name}"] = path
        for index in range(len(job.inputs())):
            files[f"{job.name}/input{index}.npy"] = job.input(index)
    return files | {f"{job.name}/model.onnx": job.model for job in in_onnxruntime}


def _command(job: Job) -> str:
    """What runs a model in the machine, and prints a line of JSON."""
    words = [f"-i '{name}=input{index}.npy'" for index, name in enumerate(job.inputs())]
    line = f"cd '{HOME}/{job.name}'; rm -rf out; ./edgecc-run {' '.join(words)} -o out"
    return f"{line} --repeat 1 --warmup 0 --threads 1"


def _errors(vm: Vm, jobs: Sequence[Job]) -> list[float]:
    """How far what the runs left is from onnxruntime's outputs here."""
    with tempfile.TemporaryDirectory() as scratch:
        vm.fetch([f"{job.name}/out" for job in jobs], Path(scratch))
        return [_error(job, Path(scratch) / job.name / "out") for job in jobs]


def _error(job: Job, folder: Path) -> float:
    lines = (job.bundle / "tvm/signature.txt").read_text().splitlines()
    names = [line.split(" ", 4)[3] for line in lines if line.startswith("output ")]
    expected = of_onnxruntime(job.model, job.inputs(), 1).outputs()
    return difference([np.load(folder / name) for name in names], expected)
