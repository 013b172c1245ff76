"""Tables for the terminal, made from the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Record = dict[str, Any]


def show_build(out: Console, notes: Console, folder: str, report: Record) -> None:
    """Show what a build won and cost."""
    artifact, verify = report["artifact"], report["verify"]
    out.print(f"{report['model']['name']} for {report['target']}, by {artifact['backend']}\n")
    out.print(_summary(report))
    if line := _planned_line(report):
        out.print(line)
    out.print(_error_line(verify))
    done, of = _rewritten(report["decisions"])
    out.print(f"{done} of {of} convolutions rewritten ({folder}/plan.json)")
    out.print(f"\nbundle  {folder}")
    out.print(f"run it  {artifact['run']}")
    for note in _notes(report):
        notes.print(f"note: {note}")


def show_explanation(out: Console, report: Record) -> None:
    """Show the decision for each convolution, then what the other passes did."""
    table = _table("convolution", "rewritten by", "=MACs before", "=after", "=error", "why not")
    for d in report["decisions"]:
        options = ", ".join(f"{k}={v}" for k, v in (d["options"] or {}).items())
        by = f"{d['family']}({options})" if d["family"] else "-"
        error = "" if d["error"] is None else f"{d['error']:.3g}"
        why = f"{d['refused_by']}: {d['refusal']}" if d["refusal"] else ""
        macs = d["macs"]
        table.add_row(
            d["convolution"], by, _short(macs["before"]), _short(macs["after"]), error, why
        )
    out.print(table)
    if planning := report.get("planning"):
        _show_alternatives(out, planning)
    out.print(_summary(report))
    if line := _planned_line(report):
        out.print(line)
    for entry in report["passes"]:
        if entry["applied"] or entry["refused"]:
            out.print(f"{entry['pass']}: {len(entry['applied'])} applied")
        for refused in entry["refused"]:
            out.print(f"  {refused['node']} refused: {refused['what']}")


def _show_alternatives(out: Console, planning: Record) -> None:
    """Show what else each convolution could have become, at about the same price."""
    table = _table("convolution", "=weight", "could be", "=MACs", "=error", "why not")
    for name, row in planning["convolutions"].items():
        for number, other in enumerate(row["alternatives"]):
            options = ", ".join(f"{k}={v}" for k, v in other["options"].items())
            what = f"{other['family']}({options})" if other["family"] else "as it is"
            head = (name, f"{row['weight']:.3g}") if number == 0 else ("", "")
            why = other["why"]
            table.add_row(*head, what, _short(other["macs"]), f"{other['error']:.3g}", why)
        reasons: dict[str, list[str]] = {}
        for family, why in row["refused"].items():
            reasons.setdefault(why, []).append(family)
        for why, families in reasons.items():
            table.add_row("", "", ", ".join(families), "", "", f"refused: {why}")
    out.print(table)


def show_model(out: Console, found: Record) -> None:
    """Show a model's convolutions, operators and totals."""
    model = found["model"]
    out.print(f"{model['name']}  opset {model['opset']}  {model['size_bytes'] / 1e6:.2f} MB")
    for kind in ("inputs", "outputs"):
        for tensor in model[kind]:
            sizes = "x".join("?" if s is None else str(s) for s in tensor["shape"])
            out.print(f"{kind[:-1]:7} {tensor['name']}  {tensor['dtype']} {sizes}")
    table = _table("convolution", "weight", "stride", "groups", "=MACs", "=share", "=parameters")
    for conv in found["convolutions"]:
        table.add_row(
            conv["name"],
            "x".join(map(str, conv["weight"])),
            "x".join(map(str, conv["strides"])),
            str(conv["groups"]),
            _short(conv["macs"]),
            f"{conv['macs'] / max(found['macs'], 1):.1%}",
            _short(conv["params"]),
        )
    out.print(table)
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["operators"].items())
    out.print(f"prepared, it has {kinds}")
    out.print(
        f"{_short(found['macs'])} multiply-adds, {_short(found['params'])} parameters in the file"
    )
    for note in _notes(found):
        out.print(f"note: {note}")


def show_passes(out: Console, found: Sequence[Record], *, whole: bool) -> None:
    """Show the passes as a list, or one with its whole description."""
    if whole:
        for entry in found:
            out.print(entry["text"])
            options = ", ".join(f"{k}: {v}" for k, v in entry["options"].items())
            out.print(f"\noptions: {options or 'none'}")
        return
    table = _table("room", "pass", "options", "exact", "what it does")
    for entry in found:
        options, exact = ", ".join(entry["options"]), "yes" if entry["exact"] else "at full rank"
        table.add_row(entry["room"], entry["name"], options, exact, entry["summary"])
    out.print(table)


def show_targets(out: Console, found: Sequence[Record], *, whole: bool) -> None:
    """Show the boards as a list, or one with all that is known of it."""
    if whole:
        for entry in found:
            for key, value in entry.items():
                out.print(f"{key:14} {value}")
        return
    table = _table("target", "backends (default first)", "default passes", "board")
    for entry in found:
        others = [name for name in entry["backends"] if name != entry["backend"]]
        backends = ", ".join([entry["backend"], *others])
        table.add_row(entry["name"], backends, entry["passes"], entry["title"])
    out.print(table)


def show_verification(out: Console, folder: str, found: Record) -> None:
    """Show what was checked, and what could not be."""
    out.print(f"{folder}: {found['files']} files as built")
    lowered, against = found["lowered"], found["against"]
    if lowered:
        out.print(f"lowered network against model.onnx: {_errors(lowered)}")
    else:
        out.print(f"lowered network: not run here: {found['not_run']}")
    if against:
        out.print(f"against the original model: {_errors(against)}")


def _rewritten(decisions: Sequence[Record]) -> tuple[int, int]:
    """How many of the network's own convolutions were rewritten, whatever was made of them."""
    made = {node for d in decisions if d["family"] for node in d["nodes"]}
    own = {d["convolution"] for d in decisions} - made
    return len(own & {d["convolution"] for d in decisions if d["family"]}), len(own)


def _summary(report: Record) -> Table:
    table = _table("", "=before", "=after", "=ratio")
    for key, label in (("macs", "multiply-adds"), ("params", "parameters")):
        before, after = report[key]["before"], report[key]["after"]
        ratio = f"{after / before:.2f}" if before else "-"
        table.add_row(label, _short(before), _short(after), ratio)
    return table


def _planned_line(report: Record) -> str:
    """The budget, and what was predicted of it."""
    planning = report.get("planning")
    if not planning:
        return ""
    goal = ", ".join(
        f"--{name.replace('_', '-')} {value}" for name, value in report["goal"].items()
    )
    told = planning["predicted"]
    prices = f"time {told['latency']:.2f}, energy {told['energy']:.2f} ({planning['prices']})"
    return f"planned for {goal}; the convolutions' predicted {prices}"


def _error_line(verify: Record) -> str:
    on = "random inputs" if verify["inputs"]["kind"] == "random" else verify["inputs"]["name"]
    text = f"outputs against the original, on {on}: {_errors(verify)}"
    if verify["lowered"]:
        text += f"\nlowered network against the rewritten model: {_errors(verify['lowered'])}"
    return text


def _errors(found: Record) -> str:
    relative, absolute = found["max_rel_error"], found["max_abs_error"]
    if absolute is None:
        return "not comparable (another shape, or not finite)"
    return f"{'-' if relative is None else f'{relative:.2g}'} relative, {absolute:.2g} absolute"


def _notes(report: Record) -> list[str]:
    notes = []
    if calibration := report.get("calibration"):
        notes.append(f"calibrated on {calibration['name']}: {calibration['summary']}")
        notes += calibration["warnings"]
    notes += [
        f"input '{name}' has open sizes; for the figures {told} (--shape fixes them)"
        for name, told in report["shapes"]["assumed"].items()
    ]
    if report["uncounted"]:
        notes.append(f"multiply-adds not counted: {', '.join(report['uncounted'])}")
    if missing := report.get("artifact", {}).get("missing"):
        notes.append(f"still missing: {missing}")
    if debug := report.get("debug"):
        notes += debug["passes"]
        culprit = debug["first_that_changed_the_numbers"]
        notes.append(f"first pass that changed the numbers: {culprit or 'none'}")
    return notes


def _table(*columns: str) -> Table:
    """A table; a column named "=x" is aligned right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.startswith("=")
        table.add_column(column.lstrip("="), justify="right" if right else "left", overflow="fold")
    return table


def _short(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return str(count)
