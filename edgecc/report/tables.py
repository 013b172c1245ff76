"""Tables for the terminal, made from the record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from edgecc.report.engine import finishing_lines, precision_lines

Record = dict[str, Any]


def show_build(out: Console, notes: Console, folder: str, report: Record) -> None:
    """Show what a build won and cost."""
    artifact, verify = report["artifact"], report["verify"]
    out.print(f"{report['model']['name']} for {report['target']}, by {artifact['backend']}\n")
    out.print(summary(report))
    for line in planned_lines(report):
        out.print(line)
    out.print(_error_line(verify))
    for line in precision_lines(report):
        out.print(line)
    done, of = _rewritten(report["decisions"])
    out.print(f"{done} of {of} convolutions rewritten ({folder}/plan.json)")
    out.print(f"\nbundle  {folder}")
    for line in finishing_lines(report, folder):
        out.print(line)
    for note in _notes(report):
        notes.print(f"note: {note}", soft_wrap=not notes.is_terminal)


def show_model(out: Console, found: Record) -> None:
    """Show a model's convolutions, operators and totals."""
    model = found["model"]
    out.print(f"{model['name']}  opset {model['opset']}  {model['size_bytes'] / 1e6:.2f} MB")
    for kind in ("inputs", "outputs"):
        for tensor in model[kind]:
            sizes = "x".join("?" if s is None else str(s) for s in tensor["shape"])
            out.print(f"{kind[:-1]:7} {tensor['name']}  {tensor['dtype']} {sizes}")
    rows = table("convolution", "weight", "stride", "groups", "=MACs", "=share", "=parameters")
    for conv in found["convolutions"]:
        rows.add_row(
            conv["name"],
            "x".join(map(str, conv["weight"])),
            "x".join(map(str, conv["strides"])),
            str(conv["groups"]),
            short(conv["macs"]),
            f"{conv['macs'] / max(found['macs'], 1):.1%}",
            short(conv["params"]),
        )
    out.print(rows)
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["operators"].items())
    out.print(f"prepared, it has {kinds}")
    out.print(
        f"{short(found['macs'])} multiply-adds, {short(found['params'])} parameters in the file"
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
    rows = table("room", "pass", "options", "exact", "what it does")
    for entry in found:
        options, exact = ", ".join(entry["options"]), "yes" if entry["exact"] else "at full rank"
        rows.add_row(entry["room"], entry["name"], options, exact, entry["summary"])
    out.print(rows)


def show_targets(out: Console, found: Sequence[Record]) -> None:
    """Show the boards as a list."""
    rows = table("target", "backends", "board")
    usual = Counter(entry["passes"] for entry in found).most_common(1)[0][0]
    for entry in sorted(found, key=lambda entry: str(entry["name"])):
        others = [name for name in entry["backends"] if name != entry["backend"]]
        backends = ", ".join([entry["backend"], *others])
        rows.add_row(entry["name"], backends, entry["title"])
    out.print(rows)
    out.print(f"the first backend is the default; without a budget or --passes: {usual}")
    for entry in found:
        if entry["passes"] != usual:
            out.print(f"for {entry['name']}: {entry['passes'] or 'no passes'}")


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


def summary(report: Record) -> Table:
    """Return what the network took and takes."""
    rows = table("", "=before", "=after", "=ratio")
    for key, label in (("macs", "multiply-adds"), ("params", "parameters")):
        before, after = report[key]["before"], report[key]["after"]
        ratio = f"{after / before:.2f}" if before else "-"
        rows.add_row(label, short(before), short(after), ratio)
    return rows


def planned_lines(report: Record) -> list[str]:
    """The budget, what was predicted of it, and what was tried for it."""
    goal = ", ".join(
        f"--{name.replace('_', '-')} {value}" for name, value in (report.get("goal") or {}).items()
    )
    lines = []
    if planning := report.get("planning"):
        told = planning["predicted"]
        predicted = "the board has no prices for time and energy"
        if planning["prices"]:
            prices = f"time {told['latency']:.2f}, energy {told['energy']:.2f}"
            predicted = f"the convolutions' predicted {prices} ({planning['prices']})"
        lines.append(f"planned for {goal}; {predicted}")
    if search := report.get("search"):
        lines.append(_search_line(search))
    return lines


def _search_line(search: Record) -> str:
    """What was tried for a loss that is allowed, and what came of it."""
    reached, tried = search["reached"], len(search["trials"])
    if not tried:
        return "networks tried: none, as no other can be made"
    words = []
    if "error" in reached:
        words.append(f"moves the outputs by {reached['error']:.3g}")
    if "metric" in reached:
        words.append(f"metric {reached['metric']:.6g}, was {search['original']['metric']:.6g}")
    if not any(trial["accepted"] for trial in search["trials"]):
        return f"networks tried: {tried}, none was good enough: this is the original network"
    return (
        f"networks tried: {tried}; the smallest that was good enough keeps "
        f"{reached['fraction']:.2f} of the {search['quantity']}: {', '.join(words)}"
    )


def _error_line(verify: Record) -> str:
    inputs: Record = verify.get("on") or verify["inputs"]
    on = {
        "random": "random inputs",
        "calibration": f"{_many(inputs.get('samples'), 'calibration sample')} "
        f"({inputs.get('name')})",
    }.get(inputs["kind"], inputs.get("name"))
    text = f"outputs against the original, on {on}: {_errors(verify)}"
    if verify["lowered"]:
        text += f"\nlowered network against the rewritten model: {_errors(verify['lowered'])}"
    return text


def _many(count: int | None, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _errors(found: Record) -> str:
    relative, absolute = found["max_rel_error"], found["max_abs_error"]
    if absolute is None:
        return "not comparable (another shape, or not finite)"
    return f"{'-' if relative is None else f'{relative:.2g}'} relative, {absolute:.2g} absolute"


def _notes(report: Record) -> list[str]:
    notes = []
    predicted = (report.get("planning") or {}).get("predicted", {})
    if predicted.get("latency", 0) > 1:
        notes.append(
            f"by these prices it takes {predicted['latency']:.2f} times as long as the original: "
            "add --latency where time counts"
        )
    if _never_moves(report.get("search")):
        notes.append(
            "the metric was the same for every network tried: see whether it looks at them"
        )
    if calibration := report.get("calibration"):
        notes.append(f"calibrated on {calibration['name']}: {calibration['summary']}")
        notes += calibration["warnings"]
    shapes = report["shapes"]
    open_sizes = "open sizes; for the figures {} (--shape fixes them)"
    if shapes.get("fixed"):
        open_sizes = "open sizes, fixed in this bundle: {} (--shape gives others)"
    notes += [
        f"input '{name}' has {open_sizes.format(told)}" for name, told in shapes["assumed"].items()
    ]
    if report["uncounted"]:
        notes.append(f"multiply-adds not counted: {', '.join(report['uncounted'])}")
    notes += report.get("artifact", {}).get("details", {}).get("notes", [])
    if debug := report.get("debug"):
        notes += debug["passes"]
        culprit = debug["first_that_changed_the_numbers"]
        notes.append(f"first pass that changed the numbers: {culprit or 'none'}")
    return notes


def _never_moves(search: Record | None) -> bool:
    """Whether a metric says the same of networks that differ."""
    metrics = [trial.get("metric") for trial in (search or {}).get("trials", [])]
    original = (search or {}).get("original", {}).get("metric")
    return len(metrics) > 1 and original is not None and set(metrics) == {original}


def table(*columns: str) -> Table:
    """Return an empty table; a column named "=x" is aligned right."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.startswith("=")
        justify: JustifyMethod = "right" if right else "left"  # a number is not broken over lines
        rows.add_column(column.lstrip("="), justify=justify, overflow="fold", no_wrap=right)
    return rows


def short(count: int | None) -> str:
    """Return a count in a few digits; "-" where it is not known."""
    if count is None:
        return "-"
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return str(count)
