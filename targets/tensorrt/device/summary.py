"""trtexec's text: what it says of the board, the inputs that it bound, and its own summary."""

import re

_METRICS = {
    "Latency": "latency_ms",
    "Host Latency": "latency_ms",
    "End-to-End Host Latency": "end_to_end_ms",
    "Enqueue Time": "enqueue_ms",
    "H2D Latency": "h2d_ms",
    "GPU Compute Time": "compute_ms",
    "GPU Compute": "compute_ms",
    "D2H Latency": "d2h_ms",
}
_NUMBER = r"([-+0-9.eE]+|inf|nan)"
_BOUND = (
    re.compile(r"Created input binding for (.+) with dimensions ([0-9x]*)"),
    re.compile(r"Input binding for (.+) with dimensions ([0-9x]*) is created"),  # from 8.6
)
_DEVICE = {
    "name": re.compile(r"Selected Device: (.+)"),
    "compute_capability": re.compile(r"Compute Capability: (\S+)"),
    "sms": re.compile(r"SMs: (\d+)"),
    "clock_ghz": re.compile(r"Compute Clock Rate: " + _NUMBER + " GHz"),
    "memory_mib": re.compile(r"Device Global Memory: (\d+) MiB"),
    "tensorrt": re.compile(r"TensorRT version: (\S+)"),
}


def message(line):
    """Return a line of the log without its time, its level and `[TRT]`."""
    return re.sub(r"^(\[\d\d/\d\d/\d{4}-[\d:]+\] )?(\[[IWEVF]\] )?(\[TRT\] )?", "", line.rstrip())


def bound_shapes(text):
    """Return the shapes that the inputs were bound with: {"x": [1, 3, 8, 8]}; 7.x tells none."""
    found = {}
    for line in text.splitlines():
        for pattern in _BOUND:
            match = pattern.search(line)
            if match:
                sizes = [int(size) for size in match.group(2).split("x") if size]
                found[match.group(1)] = sizes
    return found


def device(text):
    """Return what the block "Device Information" says: name, compute capability, SMs, clock."""
    found = {}
    for key, pattern in _DEVICE.items():
        match = pattern.search(text)
        if match:
            found[key] = match.group(1).strip()
    for key, kind in (("sms", int), ("memory_mib", int), ("clock_ghz", float)):
        if key in found:
            found[key] = kind(found[key])
    return found


def performance(text):
    """Return the summary of a run, in whichever of its three forms; {} where it has none.

    Keys: latency_ms, enqueue_ms, h2d_ms, compute_ms, d2h_ms, end_to_end_ms (each a dictionary of
    min, max, mean, median, percentiles: {"99": ..}), throughput_qps, walltime_s, compute_total_s.
    """
    found = {}
    block = None
    for line in (message(line) for line in text.splitlines()):
        name, colon, rest = line.partition(":")
        if not colon:  # 7.x: a title by itself, its numbers in the lines below
            block = _METRICS.get(line.strip())
        elif name in _METRICS and "=" in rest:
            found[_METRICS[name]] = _one_line(rest)
        elif block:
            _of_block(found, block, name, rest)
        _totals(found, line)
    return found


def _one_line(text):
    """Read `min = 1 ms, max = 2 ms, ..., percentile(99%) = 2 ms`."""
    metric = {"percentiles": {}}
    for key, value in re.findall(r"([\w()%.]+) = " + _NUMBER + " ms", text):
        percent = re.match(r"percentile\(([\d.]+)%\)", key)
        if percent:
            metric["percentiles"][percent.group(1)] = float(value)
        else:
            metric[key] = float(value)
    return metric


def _of_block(found, block, name, rest):
    """Read a line of 7.x: `min: 6.1 ms (end to end 6.2 ms)`, `percentile: 8.9 ms at 99% (...)`."""
    values = re.findall(_NUMBER + r" ms(?: at ([\d.]+)%)?", rest)
    if name not in ("min", "max", "mean", "median", "percentile") or not values:
        return
    for key, value in zip((block, "end_to_end_ms"), values):
        metric = found.setdefault(key, {"percentiles": {}})
        if name == "percentile":
            metric["percentiles"][value[1]] = float(value[0])
        else:
            metric[name] = float(value[0])


def _totals(found, line):
    for key, pattern in (
        ("throughput_qps", r"^[Tt]hroughput: " + _NUMBER + " qps"),
        ("walltime_s", r"^(?:walltime|Total Host Walltime): " + _NUMBER + " s"),
        ("compute_total_s", r"^(?:total compute time|Total GPU Compute Time): " + _NUMBER + " s"),
    ):
        match = re.match(pattern, line)
        if match:
            found[key] = float(match.group(1))
