"""What the terminal says of an engine: its precision, what that costs, and how it is finished."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]


def precision_lines(report: Record) -> list[str]:
    """What the network is computed in, and how far that moves its outputs."""
    precision: Record = report.get("precision") or {}
    if not precision:
        return []
    accuracy = precision["accuracy"]
    inputs = report["verify"]["inputs"]["kind"]
    on = "held-out samples" if precision.get("held_out") else "the calibration samples"
    if not report.get("calibration"):
        on = f"{inputs} inputs"
    lines = [f"on {on}, the outputs move by (RMS, relative):"]
    narrow = [name for name in ("int8", "float16") if accuracy[name]]
    lines += [f"  {name:8} {_cost(accuracy[name])}" for name in narrow]
    if precision["computes_in"] == "int8":
        layers, kept = precision.get("layers"), len(precision["kept"])
        told = f"{layers} layers in INT8" if layers else "INT8 by calibration cache"
        lines.append(told + (f", {kept} kept in float" if kept else ""))
    return lines


def finishing_lines(report: Record, folder: str) -> list[str]:
    """The commands that end a build on the board, where it does not end here."""
    artifact = report["artifact"]
    if not artifact["details"].get("engine"):
        return [f"run it  {artifact['run']}"]
    version, precision = (artifact["details"][key] for key in ("tensorrt", "precision"))
    return [
        f"engine  TensorRT {version}, {precision}: built by the board, in this folder there:",
        "        ./edgecc-device build && ./edgecc-device measure",
        f"        or from here: edgecc bench {folder} --device ssh://USER@BOARD",
    ]


def _cost(found: Record) -> str:
    errors = found["rms_error"].values()
    words = [f"{max(errors):.2g}" if errors and None not in errors else "not finite"]
    words = words if errors else ["unknown: none of them is floating-point"]
    same = [value for value in found["top1_agreement"].values() if value is not None]
    words += [f"the same class in {min(same):.1%}"] if same else []
    words += [f"metric {found['metric']:.6g}"] if found["metric"] is not None else []
    return ", ".join(words)
