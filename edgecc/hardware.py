"""What a board can do, as data: peaks, one of its cores, its engine, modes and power sensors."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["fp32", "fp16", "int8"]


class Efficiency(BaseModel):
    """What each kind of operator reaches of the peak, 0..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dense: float = Field(gt=0, le=1)
    pointwise: float = Field(gt=0, le=1)
    grouped: float = Field(gt=0, le=1)
    """Wide groups."""
    narrow: float = Field(gt=0, le=1)
    """Narrow groups, for each channel of their width (the geometric mean of in and out)."""
    depthwise: float = Field(gt=0, le=1)
    """One channel in, one out."""
    gemm: float = Field(gt=0, le=1)


class Peaks(BaseModel):
    """What a board can do at best: the roofline that layers are priced with, unmeasured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = "fp32"
    """What its backend computes and moves."""
    gmacs_per_s: float = Field(gt=0)
    gbytes_per_s: float = Field(gt=0)
    per_core: bool = False
    """Whether the two rates and `base_w` are one core's."""
    cache_mb: float = Field(default=0.0, ge=0)
    """Activations up to this size stay in the cache."""
    cache_gbytes_per_s: float | None = Field(default=None, gt=0)
    overhead_us: float = Field(ge=0)
    """What an operator takes however small it is."""
    efficiency: Efficiency
    base_w: float = Field(ge=0)
    """Drawn while the network runs, whatever it computes."""
    pj_per_mac: float = Field(ge=0)
    pj_per_byte: float = Field(ge=0)
    """For what is moved to and from memory."""


class PeaksAt(BaseModel):
    """What of `Peaks` is another number in another precision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gmacs_per_s: float = Field(gt=0)
    pj_per_mac: float = Field(ge=0)
    efficiency: Efficiency | None = None
    """None where each kind of operator reaches the same share of the peak."""


class Core(BaseModel):
    """One core as the loops of a network see it: tile sizes are chosen from these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lanes: int = Field(ge=1)
    """fp32 numbers in a vector register."""
    registers: int = Field(ge=1)
    """Vector registers."""
    l1_kb: float = Field(gt=0)
    """First-level data cache, KiB."""
    l2_kb: float = Field(gt=0)
    """A core's part of the second-level cache where every core works, KiB."""
    fma_per_cycle: float = Field(gt=0)
    """Vector multiply-adds started in a cycle."""
    loads_per_cycle: float = Field(gt=0)
    """Whole vector registers loaded from the first-level cache in a cycle."""
    fma_cycles: float = Field(gt=0)
    """From a multiply-add to the next into the same accumulator."""


class Rail(BaseModel):
    """One supply that a board's sensor measures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """As tegrastats and the sensor's label in sysfs print it."""
    aliases: tuple[str, ...] = ()
    """What older releases call it."""
    feeds: str
    """What hangs on it, in words."""
    volts: float = Field(gt=0)
    """Its nominal supply: a step of the sensor's current times this is a step of power."""
    in_total: bool
    """Whether the board's power is a sum that has it; rails fed by another rail are not."""


class Power(BaseModel):
    """What a board's power sensors tell, and which of it makes the board's power."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rails: tuple[Rail, ...] = Field(min_length=1)
    step_ma: float = Field(default=8.0, gt=0)
    """The smallest difference of current that the sensor tells."""
    tolerance: float = Field(default=0.02, ge=0)
    """The sensor's gain error, a fraction."""

    @property
    def total(self) -> tuple[str, ...]:
        """The rails whose sum is the board's power."""
        return tuple(rail.name for rail in self.rails if rail.in_total)


class PowerMode(BaseModel):
    """One mode of `nvpmodel`: caps on clocks and cores, not on watts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(ge=0)
    name: str
    cpus: int = Field(ge=1)
    cpu_mhz: float | None = None
    gpu_mhz: float | None = None
    dla_mhz: float | None = None
    emc_mhz: float | None = None
    reboot: bool = False
    """Whether entering or leaving it takes a reboot."""


class Engine(BaseModel):
    """What a board's TensorRT can have, and which releases of it there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: tuple[str, ...] = Field(min_length=1)
    """Releases of TensorRT for the board, the newest first: it is the one built for by default."""
    compute_capability: str
    further_capabilities: tuple[str, ...] = ()
    """What one engine can serve besides: GPUs of other compute capabilities."""
    precisions: tuple[Precision, ...] = Field(min_length=1)
    """Those that the GPU has kernels for, the default first."""
    granules: dict[Precision, int] = {}
    """Channels that a kernel computes in one go, by precision."""
    dla_cores: int = Field(default=0, ge=0)
    sparsity: bool = False
    """Whether 2:4 sparse weights are faster."""


class Jetson(BaseModel):
    """How a Jetson says what it is, and the modes it can be put into."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    soc: str
    """As `/proc/device-tree/compatible` ends: tegra194."""
    models: tuple[str, ...] = Field(min_length=1)
    """Parts of `/proc/device-tree/model`, any of which names the board."""
    modules: tuple[str, ...] = ()
    """Part numbers of the module (p2888-0001), for what the model's name leaves open."""
    modes: tuple[PowerMode, ...] = ()
    gpu_devfreq: str | None = None
    """The GPU's folder in /sys/class/devfreq: 17000000.gv11b."""


class Jetpack(BaseModel):
    """What one release of NVIDIA's JetPack puts on a board."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Its number, or the range of numbers that have all else in common: "5.1.x"."""
    l4t: tuple[str, ...] = Field(min_length=1)
    """Its releases of L4T, as far as they are the same in all: "35" is 35.2.1 and 35.6.5 too."""
    tensorrt: str
    cuda: str
    python: str
    glibc: str
    opset: int
    """The newest ONNX opset that its TensorRT reads."""
    boards: tuple[str, ...]
