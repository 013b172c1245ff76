"""What a DLA takes of convolutions and pools; see `targets.tensorrt.operators.dla_rules`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from targets.tensorrt.operators.site import Site

Reason = tuple[str, str | None]
"""What the DLA does not do, and the next step where there is one."""
Test = Callable[[Site, int], Reason | None]
"""Takes a node and the generation."""
MAX_SIZE = 8192
"""The largest size of a dimension but the batch."""
LONG = (64, 96, 128)
"""Sizes of a deconvolution's kernel or stride beyond 32, where the other one is 1."""
REPLACED = "build with the pass {0}, which puts what the DLA has in its place"
"""A hint at one of edgecc's passes."""


def _outside(values: Sequence[int], low: int, high: int, what: str) -> Reason | None:
    if all(low <= value <= high for value in values):
        return None
    limits = f"{low} to {high}" if low else f"up to {high}"
    return f"takes {what} of {limits} alone; this has {'x'.join(map(str, values))}", None


def _kernel(site: Site) -> list[int]:
    weight = site.shape(1)
    return list(site.attribute("kernel_shape", [int(s or 0) for s in (weight or ())[2:]]))


def _ints(site: Site, name: str, default: int, count: int) -> list[int]:
    return list(site.attribute(name, [default] * count))


def _first(*reasons: Reason | None) -> Reason | None:
    return next((reason for reason in reasons if reason is not None), None)


def convolution(site: Site, generation: int) -> Reason | None:
    """Conv."""
    kernel = _kernel(site)
    pads = _ints(site, "pads", 0, 4)
    weight = site.shape(1) or ()
    group = int(site.attribute("group", 1))
    channels = [int(weight[1] or 0) * group, int(weight[0] or 0)] if len(weight) > 1 else []
    if len(kernel) != 2:
        return f"convolves in 2-D alone; this kernel has {len(kernel)} dimensions", None
    if site.computed(1):
        return "takes fixed weights alone; these are computed", None
    wide = any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True))
    return _first(
        _outside(kernel, 1, 32, "kernels"),
        _outside(pads, 0, 31, "pads"),
        (f"takes pads smaller than the kernel alone; these are {pads}", None) if wide else None,
        _outside(_ints(site, "strides", 1, 2), 1, 8, "strides"),
        _outside(_ints(site, "dilations", 1, 2), 1, 32, "dilations"),
        _outside([group], 1, 8192, "groups"),
        _outside(channels, 1, MAX_SIZE, "channels"),
    )


def deconvolution(site: Site, generation: int) -> Reason | None:
    """ConvTranspose."""
    kernel, strides = _kernel(site), _ints(site, "strides", 1, 2)
    if len(kernel) != 2:
        return f"deconvolves in 2-D alone; this kernel has {len(kernel)} dimensions", None
    if any(_ints(site, "pads", 0, 4)) or site.attribute("auto_pad", "NOTSET") not in (
        "NOTSET",
        "VALID",
    ):
        return (
            "deconvolves without pads alone",
            "train it with the kernel as large as the stride, or with a nearest Resize and a Conv",
        )
    if site.attribute("group", 1) != 1:
        return "deconvolves without groups alone", None
    if any(d != 1 for d in _ints(site, "dilations", 1, 2)):
        return "deconvolves without dilations alone", None
    for values, what in ((kernel, "kernels"), (strides, "strides")):
        if 1 in values and max(values) in LONG:
            continue
        if (reason := _outside(values, 1, 32, f"deconvolution {what}")) is not None:
            return reason
        if values[0] == values[1] and 23 <= values[0] <= 32:
            return f"has square deconvolution {what} of 23 to 32 switched off", None
    return None


def pool(site: Site, generation: int) -> Reason | None:
    """AveragePool and MaxPool."""
    kernel = _kernel(site)
    if len(kernel) != 2:
        return f"pools in 2-D alone; this window has {len(kernel)} dimensions", None
    pads = _ints(site, "pads", 0, 4)
    beyond = _first(
        _outside(kernel, 1, 8, "pooling windows"),
        _outside(_ints(site, "strides", 1, 2), 1, 16, "pooling strides"),
        _outside(pads, 0, 7, "pooling pads"),
    )
    exclusive = site.kind == "AveragePool" and not site.attribute("count_include_pad", 0)
    if beyond is None and exclusive and generation == 1:
        reason = "averages with the pads counted alone on Xavier (count_include_pad=1)"
        return reason, None if any(pads) else REPLACED.format("count_pads")
    return beyond


def global_pool(site: Site, generation: int) -> Reason | None:
    """GlobalAveragePool and GlobalMaxPool."""
    return f"has no {site.kind}", REPLACED.format("global_pool_to_pool")
