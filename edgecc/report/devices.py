"""Devices, and what they lack, in tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from edgecc.report.tables import Record, table

TOLD = ("model", "soc", "module", "l4t", "tensorrt", "cuda", "machine", "kernel", "libc", "python")


def show_devices(out: Console, found: Sequence[Record], places: Sequence[str]) -> None:
    """Show a line for each device."""
    if not found:
        out.print(f"no devices: write them into {' or '.join(places)}, as")
        out.print('[xavier-1]\nurl = "ssh://nvidia@192.168.1.7"\ntarget = "xavier"')
        return
    rows = table("device", "address", "target", "state")
    for each in found:
        rows.add_row(each["name"], each["url"], each["target"] or "-", _state(each))
    out.print(rows)


def show_device(out: Console, found: Record) -> None:
    """Show what one device is, and what it lacks."""
    identity = found["identity"]
    for key in TOLD:
        if identity.get(key):
            out.print(f"{key:10} {identity[key]}")
    cpus = [cpu for cpu in identity.get("cpus") or [] if cpu.get("online", True)]
    out.print(f"{'cpus':10} {len(cpus)}, {identity.get('memory_mb') or '?'} MB of memory")
    for lack in found["lacks"]:
        out.print(f"\n{lack['what']}: {lack['so']}")
        if lack["command"]:
            out.print(f"  {lack['command']}")
    if not found["lacks"]:
        out.print("\nnothing is missing")


def _state(each: Record) -> str:
    identity = each["identity"]
    if identity is None:
        return str(each["why"]).splitlines()[0]
    words = [identity.get("model") or identity.get("machine") or "answers"]
    words += [f"L4T {identity['l4t']}"] if identity.get("l4t") else []
    words += [f"TensorRT {identity['tensorrt']}"] if identity.get("tensorrt") else []
    lacks = len(each["lacks"])
    return ", ".join(words) + (
        f"; lacks {lacks} (edgecc doctor --device {each['name']})" * (lacks > 0)
    )
