"""What a session does, in words for a person who runs it by hand."""


def words(event):
    """Return a line about an event, or None where there is nothing to say."""
    kind = event["event"]
    if kind == "note":
        return event["text"]
    if kind == "error":
        hint = event.get("hint")
        return event["message"] + ("\n  hint: " + hint if hint else "")
    if kind == "phase" and event["name"] in ("settle", "idle"):
        return "{}: {:.1f} s".format(event["name"], event["end_s"] - event["start_s"])
    if kind == "times":
        times = sorted(event["times_ms"])
        text = "{} round {}: {:.3f} ms, the median of {} runs{}"
        watched = " under the sensors" if event["kind"] == "energy" else ""
        median = times[len(times) // 2]
        return text.format(event["bundle"], event["round"] + 1, median, len(times), watched)
    if kind == "profile":
        return "{}: {} layers timed".format(event["bundle"], len(event["layers"]))
    if kind == "end":
        return "everything is as it was found" if event["restored"] else "not all was put back"
    return None
