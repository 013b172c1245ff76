"""A measurement in tables, made from measurement.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from edgecc.measure.energies import within
from edgecc.report.tables import Record, table

SHOWN_LAYERS = 12
SYSTEMS = {"l4t": "L4T", "tensorrt": "TensorRT", "kernel": "Linux"}
COLUMNS = ("", "=median ms", "=p90 ms", "=p95 ms", "=p99 ms", "=per s", "=varies", "=runs")


def show_measurement(out: Console, notes: Console, found: Record) -> None:
    """Show what was measured: times, energy, ratio, conditions, layers."""
    out.print(f"{_device(found)}\n")
    rows = table(*COLUMNS)
    for label, bundle in found["bundles"].items():
        told = f"{label} = {bundle['name']}" if len(found["bundles"]) > 1 else bundle["name"]
        rows.add_row(told, *_times(bundle["latency"]))
        if bundle.get("compute") not in (None, bundle["latency"]):
            rows.add_row("  on the accelerator", *_times(bundle["compute"]))
    out.print(rows)
    if any(bundle.get("energy") for bundle in found["bundles"].values()):
        _show_rails(out, found["bundles"])
    for line in (*_conclusions(found), *_conditions(found)):
        out.print(line)
    for label, layers in found.get("layers", {}).items():
        _show_layers(out, found["bundles"][label]["name"], layers)
    for note in found["notes"]:
        notes.print(f"note: {note}")


def show_comparison(out: Console, notes: Console, runs: Mapping[str, Record]) -> None:
    """Show several measurements one below the other, and where their conditions differ."""
    rows = table("measurement", *COLUMNS[:1], *COLUMNS[1:], "=mJ", "trusted")
    for name, found in runs.items():
        trusted = "yes" if found["trusted"] else "no"
        for bundle in found["bundles"].values():
            energy = (bundle.get("energy") or {}).get("energy_mj_per_run")
            told = f"{energy:.4g}" if energy is not None else "-"
            rows.add_row(name, bundle["name"], *_times(bundle["latency"]), told, trusted)
    out.print(rows)
    for name, found in runs.items():
        for line in _conclusions(found):
            out.print(f"{name}: {line}")
        for doubt in found["doubts"]:
            notes.print(f"warning: {name} cannot be trusted: {doubt['text']}")
    for line in differences(runs):
        notes.print(f"warning: {line}")


def show_tries(out: Console, tries: Sequence[Record]) -> None:
    """Show how a budget was met on a device."""
    for each in tries:
        told = "met" if each["met"] else "missed"
        out.print(
            f"planned {each['planned']:.3g}, measured {each['measured']:.3g} "
            f"({each['low']:.3g} to {each['high']:.3g}): {told}"
        )


def differences(runs: Mapping[str, Record]) -> Iterator[str]:
    """Yield, in words, each condition that is not the same in every run."""
    conditions = {name: dict(_flat(_comparable(found))) for name, found in runs.items()}
    for key in dict.fromkeys(key for told in conditions.values() for key in told):
        values = {name: told.get(key) for name, told in conditions.items()}
        if len({str(value) for value in values.values()}) > 1:
            each = ", ".join(f"{_plain(value)} in {name}" for name, value in values.items())
            yield f"{key} differs: {each}"


def _comparable(found: Record) -> Record:
    """What should be alike in measurements that are compared."""
    conditions = found["conditions"]
    return {
        "device": found["device"],
        "mode": (conditions.get("mode") or {}).get("name"),
        "pinned": conditions.get("pinned"),
        "clock MHz": conditions.get("clocks_mhz") if conditions.get("pinned") else None,
        "versions": {
            key: value
            for bundle in found["bundles"].values()
            for key, value in (bundle.get("versions") or {}).items()
        },
    }


def _flat(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from _flat(value, f"{name} {key}".strip())
    else:
        yield name, found


def _plain(value: Any) -> str:
    return "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _device(found: Record) -> str:
    device = found["device"]
    name = device.get("model") or device.get("hostname") or device.get("machine") or "a device"
    told = [f"{called} {device[key]}" for key, called in SYSTEMS.items() if device.get(key)]
    return f"{name} ({', '.join(told)})" if told else str(name)


def _times(of: Record) -> list[str]:
    times = [f"{of[key]:.4g}" for key in ("median_ms", "p90_ms", "p95_ms", "p99_ms")]
    return [*times, f"{of['throughput_per_s']:.4g}", f"{of['spread']:.1%}", str(of["samples"])]


def _conclusions(found: Record) -> Iterator[str]:
    names = [bundle["name"] for bundle in found["bundles"].values()]
    for key, what in (("ratio", "time"), ("energy_ratio", "energy")):
        if found.get(key):
            yield ratio_line(found[key], names, what)
    for bundle in found["bundles"].values():
        if energy := bundle.get("energy"):
            yield f"{bundle['name']}: {energy['text']}"
        if peak := bundle.get("memory_peak_mb"):
            yield f"{bundle['name']}: at most {peak:.0f} MB of memory"


def ratio_line(found: Record, names: Sequence[str], what: str = "time") -> str:
    """Return a ratio in words; a difference below the noise is called that."""
    a, b = names
    interval = f"{found['confidence']:.0%} interval {found['low']:.4g} to {found['high']:.4g}"
    interval += f", {found['rounds']} rounds"
    if found["verdict"] == "same":
        noise = max(found["high"] - 1, 1 - found["low"])
        return f"{a} and {b} do not differ beyond the noise of {noise:.1%} in {what} ({interval})"
    return f"{b} takes {found['value']:.4g} of the {what} of {a} ({interval})"


def _conditions(found: Record) -> Iterator[str]:
    conditions = found["conditions"]
    mode, pinned = conditions.get("mode"), conditions.get("pinned")
    words = [f"mode {mode['name']}"] if mode else []
    if pinned is not None:
        words.append("clocks pinned" if pinned else "clocks free")
    clocks: dict[float, list[str]] = {}
    for name, mhz in (conditions.get("clocks_mhz") or {}).items():
        if mhz:
            clocks.setdefault(mhz, []).append(name)
    words += [f"{_span(names)} {mhz:.0f} MHz" for mhz, names in clocks.items()]
    if conditions.get("hottest_c"):
        words.append(f"at most {conditions['hottest_c']:.0f} degrees")
    if words:
        yield ", ".join(words)


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1].removeprefix('CPU ')}"


def _show_rails(out: Console, bundles: Mapping[str, Record]) -> None:
    """Show the power of each rail that gave any, and its energy in one run."""
    several = len(bundles) > 1
    told = [
        (f"{label} " * several, bundle["energy"])
        for label, bundle in bundles.items()
        if bundle.get("energy")
    ]
    rails = dict.fromkeys(rail for _, of in told for rail, mj in of["energy_mj"].items() if mj)
    rows = table("rail", *(f"={label}{unit}" for label, _ in told for unit in ("W", "mJ a run")))
    for rail in rails:
        cells: list[str] = []
        for _, of in told:
            if rail in of["energy_mj"]:
                energy = within(of["energy_mj"][rail], of["energy_uncertainty_mj"][rail])
                cells += [f"{of['power_mw'][rail] / 1e3:.3g}", energy]
            else:
                cells += ["-", "-"]
        rows.add_row(rail, *cells)
    out.print(rows)


def _show_layers(out: Console, name: str, layers: Sequence[Record]) -> None:
    """Show the layers that take longest, beside what was predicted."""
    whole = sum(layer["measured_ms"] for layer in layers)
    rows = table(f"layers of {name}", "what", "=measured ms", "=share", "=predicted ms", "=ratio")
    for layer in sorted(layers, key=lambda layer: -layer["measured_ms"])[:SHOWN_LAYERS]:
        measured, predicted = layer["measured_ms"], layer["predicted_ms"]
        told = [f"{predicted:.4g}", f"{measured / predicted:.2f}"] if predicted else ["-", "-"]
        name = " + ".join(layer["nodes"]) or layer["name"]
        what = ", ".join(layer.get("operators") or ()) or layer["kind"]
        rows.add_row(name, what, f"{measured:.4g}", f"{measured / whole:.1%}", *told)
    out.print(rows)
    if len(layers) > SHOWN_LAYERS:
        out.print(f"and {len(layers) - SHOWN_LAYERS} more in measurement.json")
