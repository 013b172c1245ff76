"""What explain shows: the decision for each convolution, and what else there was."""

from __future__ import annotations

from rich.console import Console

from edgecc.report.tables import Record, planned_lines, short, summary, table

NOBODY = ("plan", "refit", "none")
"""Who refuses without being a rewrite: that nothing was asked."""


def show_explanation(out: Console, report: Record) -> None:
    """Show the decision for each convolution, then what the other passes did."""
    rows = table("convolution", "rewritten by", "=MACs before", "=after", "=error", "why not")
    for d in report["decisions"]:
        by = _call(d["family"], d["options"]) if d["family"] else "-"
        error = "" if d["error"] is None else f"{d['error']:.3g}"
        macs = d["macs"]
        rows.add_row(
            d["convolution"], by, short(macs["before"]), short(macs["after"]), error, _why(d)
        )
    out.print(rows)
    if line := _errors_of(report):
        out.print(line)
    if planning := report.get("planning"):
        _show_alternatives(out, planning)
    if search := report.get("search"):
        _show_trials(out, search)
    out.print(summary(report))
    for line in planned_lines(report):
        out.print(line)
    for entry in report["passes"]:
        if entry["applied"] or entry["refused"]:
            out.print(f"{entry['pass']}: {len(entry['applied'])} applied")
        for refused in entry["refused"]:
            out.print(f"  {refused['node']} refused: {refused['what']}")


def _show_alternatives(out: Console, planning: Record) -> None:
    """Show what else each convolution could have become, at about the same price."""
    rows = table("convolution", "=weight", "could be", "=MACs", "=error", "why not")
    for name, row in planning["convolutions"].items():
        for number, other in enumerate(row["alternatives"]):
            what = _call(other["family"], other["options"]) if other["family"] else "as it is"
            head = (name, f"{row['weight']:.3g}") if number == 0 else ("", "")
            why = other["why"]
            rows.add_row(*head, what, short(other["macs"]), f"{other['error']:.3g}", why)
        reasons: dict[str, list[str]] = {}
        for family, why in row["refused"].items():
            reasons.setdefault(why, []).append(family)
        for why, families in reasons.items():
            rows.add_row("", "", ", ".join(families), "", "", f"refused: {why}")
    out.print(rows)


def _show_trials(out: Console, search: Record) -> None:
    """Show the networks that were tried for a loss that is allowed."""
    measured = {"error": "outputs moved", "metric": "metric"}
    seen = [name for name in measured if any(name in tried for tried in search["trials"])]
    head = [f"={search['quantity']} asked", "=reached", *(f"={measured[n]}" for n in seen), ""]
    rows = table(*head)
    for tried in search["trials"]:
        told = ["-" if tried[name] is None else f"{tried[name]:.4g}" for name in seen]
        verdict = "accepted" if tried["accepted"] else "refused"
        rows.add_row(f"{tried['asked']:.3f}", f"{tried['fraction']:.3f}", *told, verdict)
    out.print(rows)


def _call(family: str, options: Record) -> str:
    """A rewrite in its text form."""
    told = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{family}({told})" if told else family


def _why(decision: Record) -> str:
    """Why a convolution stayed; who says so, where that is a rewrite."""
    if not decision["refusal"]:
        return ""
    if decision["refused_by"] in NOBODY:
        return str(decision["refusal"])
    return f"{decision['refused_by']}: {decision['refusal']}"


def _errors_of(report: Record) -> str:
    """What the errors are shares of, and so the energy that a pass may be given."""
    if all(decision["error"] is None for decision in report["decisions"]):
        return ""
    lost = "output's energy on the samples" if report["calibration"] else "weights' energy"
    return f"error: the share of the {lost} that is lost: energy=0.9 allows 0.1"
