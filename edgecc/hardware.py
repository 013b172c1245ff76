"""What a board can do, as data: its peaks, and one of its cores."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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

    precision: Literal["fp32", "fp16"] = "fp32"
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
