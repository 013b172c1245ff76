"""One board in full, for the terminal: its fields as the file has them, what repeats as tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from edgecc.report.tables import Record, table

_MODE = (
    ("=mode", "id"),
    ("name", "name"),
    ("=cores", "cpus"),
    ("=CPU MHz", "cpu_mhz"),
    ("=GPU MHz", "gpu_mhz"),
    ("=DLA MHz", "dla_mhz"),
    ("=memory MHz", "emc_mhz"),
)
_RELEASE = (
    ("TensorRT", "tensorrt"),
    ("=opset", "opset"),
    ("JetPack", "name"),
    ("CUDA", "cuda"),
    ("Python", "python"),
    ("glibc", "glibc"),
)


def show_board(out: Console, entry: Record) -> None:
    """Show all that is known of a board; `entry` is its `Target` as plain data, and `jetpacks`."""
    left = dict(entry)
    told = []
    if left.get("peaks") and left.pop("peaks_at", None):
        told.append(_prices(left.pop("peaks"), entry["peaks_at"]))
    if releases := left.pop("jetpacks", None):
        told.append(_releases(releases))
    if jetson := left.get("jetson"):
        left["jetson"] = {key: value for key, value in jetson.items() if key != "modes"}
        told.append(_modes(jetson["modes"]))
    if power := left.get("power"):
        left["power"] = {key: value for key, value in power.items() if key != "rails"}
        told.append(_rails(power))
    for key, value in _fields(left):
        text = textwrap.wrap(
            str(value), out.width, initial_indent=f"{key:28} ", subsequent_indent=" " * 29
        )
        out.print("\n".join(text), soft_wrap=True)
    for each in told:
        out.print(each)


def _fields(entry: Record, within: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a board file as they are written there: `core.lanes`, lists in words."""
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{within}{key}.")
        elif not isinstance(value, tuple):
            yield f"{within}{key}", value
        elif value:
            yield f"{within}{key}", ", ".join(value)


def _prices(peaks: Record, others: Mapping[str, Record]) -> Table:
    """What is computed and drawn, in each precision."""
    own = dict(_fields(peaks))
    columns = {own.pop("precision"): own}
    columns |= {name: own | dict(_fields(dict(other))) for name, other in others.items()}
    rows = table("peaks", *(f"={name}" for name in columns))
    for key in own:
        rows.add_row(key, *(_short(column[key]) for column in columns.values()))
    return rows


def _releases(jetpacks: list[Record]) -> Table:
    rows = table(*(title for title, _ in _RELEASE), "L4T")
    for jetpack in jetpacks:
        l4t = ", ".join(jetpack["l4t"])
        rows.add_row(*(str(jetpack[key]) for _, key in _RELEASE), l4t)
    return rows


def _modes(modes: tuple[Record, ...]) -> Table:
    rows = table(*(title for title, _ in _MODE), "")
    for mode in modes:
        caps = (_short(mode.get(key, "-")) for _, key in _MODE)
        rows.add_row(*caps, "takes a reboot" if mode["reboot"] else "")
    return rows


def _rails(power: Record) -> Table:
    rows = table("rail", "feeds", "=step mW", "in the total")
    for rail in power["rails"]:
        name = ", ".join([rail["name"], *rail["aliases"]])
        step_mw = f"{rail['volts'] * power['step_ma']:.0f}"
        rows.add_row(name, rail["feeds"], step_mw, "yes" if rail["in_total"] else "")
    return rows


def _short(value: Any) -> str:
    """A number without the zeros behind it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
