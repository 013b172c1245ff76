"""How far a build is: the stage that its log is at, and an estimate from builds before it."""

import time

from targets.tensorrt.device import messages


def expected_s(records, facts, nodes):
    """Return how long a build like this took before on this board, or None.

    The same engine's own time where it is known; else the median second a node of the engines of
    this board, TensorRT and precision, times `nodes`.
    """
    same = [
        record
        for record in records
        if record.get("tensorrt") == facts["tensorrt"] and record.get("board") == facts["board"]
    ]
    for record in same:
        if record.get("facts") == facts:
            return record["build_s"]
    rates = sorted(
        record["build_s"] / record["nodes"]
        for record in same
        if record.get("nodes") and record.get("precision") == facts["precision"]
    )
    return rates[len(rates) // 2] * nodes if rates and nodes else None


class Progress:
    """Tells of a build as its log grows: `on_line` is what `process.run` calls."""

    def __init__(self, tell, expected, every_s=10.0):
        self.tell = tell
        self.expected = expected
        self.every_s = every_s
        self.stage = "starting"
        self.began = time.monotonic()
        self.told = self.began

    def on_line(self, line, at_s):
        """Take in a line of the log, or None where a while passed without one."""
        stage = messages.stage(line) if line is not None else None
        if stage is None and at_s - self.told < self.every_s:
            return
        self.stage = stage or self.stage
        self.told = at_s
        elapsed = at_s - self.began
        share = eta = None
        text = "{} ({:.0f} s so far)".format(self.stage, elapsed)
        if self.expected:
            share = min(0.99, round(elapsed / self.expected, 3))
            if elapsed <= self.expected:
                eta = round(self.expected - elapsed, 1)
            elif self.expected >= self.every_s:  # below that it is trtexec's own start
                text += ", longer than the {:.0f} s expected".format(self.expected)
        self.tell({"event": "progress", "text": text, "share": share, "eta_s": eta})
