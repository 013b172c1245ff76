"""What trtexec prints, in the words of each version."""

import statistics
import sys
import time


class Log:
    """The log: `[MM/DD/YYYY-HH:MM:SS] [I] ...`, flushed line by line."""

    def __init__(self, version, argv):
        self.version, self.argv = version, argv
        self.test("RUNNING")

    def test(self, state):
        number = self.version[0] * 1000 + self.version[1] * 100 + self.version[2]
        if self.version[0] >= 10:
            number = self.version[0] * 10000 + self.version[1] * 100 + self.version[2]
        tag = "" if self.version < (8,) else " [TensorRT v%d]" % number
        self.plain("&&&& %s TensorRT.trtexec%s # %s" % (state, tag, " ".join(self.argv)))

    def plain(self, text):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def line(self, level, text):
        self.plain("[%s] [%s] %s" % (time.strftime("%m/%d/%Y-%H:%M:%S"), level, text))

    def info(self, text=""):
        self.line("I", text)

    def warn(self, text):
        self.line("W", text)

    def error(self, text):
        self.line("E", text)

    def trt(self, level, text):
        """A message of the library: its errors have `Error[n]:` for a mark from 8.0."""
        self.line(level, text if level == "E" and self.version >= (8,) else "[TRT] " + text)


def device(log, board):
    if log.version < (7, 2):
        return
    log.info("=== Device Information ===")
    log.info("Selected Device: %s" % board["name"])
    log.info("Compute Capability: %s" % board["compute"])
    log.info("SMs: %d" % board["sms"])
    log.info("Compute Clock Rate: %g GHz" % board["ghz"])
    log.info("Device Global Memory: %d MiB" % board["mib"])
    log.info("Shared Memory per SM: 96 KiB")
    log.info("Memory Bus Width: 256 bits (ECC disabled)")
    log.info("Memory Clock Rate: %g GHz" % board["ghz"])
    log.info()
    log.info("TensorRT version: %d.%d.%d" % log.version)


def parsing(log, path, model):
    rule = "-" * 64
    log.info("Start parsing network model" + ("." if log.version >= (8, 6) else ""))
    log.trt("I", rule)
    log.trt("I", "Input filename:   %s" % path)
    log.trt("I", "ONNX IR version:  0.0.%d" % model.ir)
    log.trt("I", "Opset version:    %d" % model.opset)
    log.trt("I", "Producer name:    %s" % model.producer)
    log.trt("I", "Producer version: %s" % model.producer_version)
    log.trt("I", "Domain:           ")
    log.trt("I", "Model version:    0")
    log.trt("I", "Doc string:       ")
    log.trt("I", rule)


def bound(log, shapes, outputs):
    """The lines of what was bound: none in 7.x, other words from 8.6."""
    if log.version < (8,):
        return
    for kind, tensors in (("input", shapes), ("output", outputs)):
        for name, shape in tensors.items():
            sizes = "x".join(map(str, shape))
            if kind == "input":
                log.info("Using random values for input %s" % name)
            if log.version >= (8, 6):
                title = kind.capitalize()
                log.info("%s binding for %s with dimensions %s is created." % (title, name, sizes))
            else:
                log.info("Created %s binding for %s with dimensions %s" % (kind, name, sizes))


def percentile(percent, values):
    """As trtexec finds it."""
    ordered = sorted(values)
    return ordered[max(len(ordered) - 1 - int((1 - percent / 100.0) * len(ordered)), 0)]


def performance(log, rows, warmups, options):
    timed = rows[warmups:]
    seconds = (timed[-1]["out"][1] - timed[0]["in"][0]) / 1e3
    log.info("Warmup completed %d queries over %g ms" % (warmups, options["warmUp"]))
    log.info("Timing trace has %d queries over %g s" % (len(timed), seconds))
    old = log.version < (8, 4)
    if log.version >= (8,):
        log.info()
        log.info("=== Trace details ===")
    averages(log, timed, options["avgRuns"], old)
    compute = [took(row, "compute") for row in timed]
    ends = [row["out"][1] - row["in"][0] for row in timed]
    metrics = {
        "Latency": [latency(row) for row in timed],
        "End-to-End Host Latency": ends,
        "Enqueue Time": [took(row, "enq") for row in timed],
        "H2D Latency": [took(row, "in") for row in timed],
        "GPU Compute Time": compute,
        "D2H Latency": [took(row, "out") for row in timed],
    }
    if log.version < (8,):
        return blocks(log, metrics, seconds)
    percents = options["percentile"] or ([90, 95, 99] if log.version >= (8, 5) else [99])
    log.info()
    log.info("=== Performance summary ===")
    log.info("Throughput: %g qps" % (len(timed) / seconds))
    for name, values in metrics.items():
        if old or not name.startswith("End"):
            log.info("%s: %s" % (name, one_line(values, percents)))
    log.info("Total Host Walltime: %g s" % seconds)
    log.info("Total GPU Compute Time: %g s" % (sum(compute) / 1e3))
    mean = statistics.mean(compute)
    spread = statistics.pstdev(compute) / mean * 100
    if spread > 2.5 and log.version >= (8, 4):
        log.warn("* GPU compute time is unstable, with coefficient of variance = %g%%." % spread)
        log.warn("  If not already in use, locking GPU clock frequency may improve the stability.")
    return log.info("Explanations of the performance metrics are printed in the verbose logs.")


def averages(log, timed, runs, old):
    log.info("Trace averages of %d runs:" % runs)
    for at in range(0, len(timed) - runs + 1, runs):
        some = timed[at : at + runs]
        ends = statistics.mean(row["out"][1] - row["in"][0] for row in some)
        log.info(
            "Average on %d runs - GPU latency: %g ms - Host latency: %g ms (%senqueue %g ms)"
            % (
                runs,
                statistics.mean(took(row, "compute") for row in some),
                statistics.mean(latency(row) for row in some),
                "end to end %g ms, " % ends if old else "",
                statistics.mean(took(row, "enq") for row in some),
            )
        )


def one_line(values, percents):
    text = "min = %g ms, max = %g ms, mean = %g ms, median = %g ms" % (
        min(values),
        max(values),
        statistics.mean(values),
        statistics.median(values),
    )
    for percent in percents:
        text += ", percentile(%g%%) = %g ms" % (percent, percentile(percent, values))
    return text


def blocks(log, metrics, seconds):
    """The summary of 7.x."""
    pair = metrics["Latency"], metrics["End-to-End Host Latency"]
    log.info("Host Latency")
    for name, of in (
        ("min", min),
        ("max", max),
        ("mean", statistics.mean),
        ("median", statistics.median),
    ):
        log.info("%s: %g ms (end to end %g ms)" % (name, of(pair[0]), of(pair[1])))
    ends = percentile(99, pair[0]), percentile(99, pair[1])
    log.info("percentile: %g ms at 99%% (end to end %g ms at 99%%)" % ends)
    log.info("throughput: %g qps" % (len(pair[0]) / seconds))
    log.info("walltime: %g s" % seconds)
    values = metrics["Enqueue Time"]
    log.info("Enqueue Time")
    for name, of in (("min", min), ("max", max), ("median", statistics.median)):
        log.info("%s: %g ms" % (name, of(values)))
    values = metrics["GPU Compute Time"]
    log.info("GPU Compute")
    for name, of in (
        ("min", min),
        ("max", max),
        ("mean", statistics.mean),
        ("median", statistics.median),
    ):
        log.info("%s: %g ms" % (name, of(values)))
    log.info("percentile: %g ms at 99%%" % percentile(99, values))
    log.info("total compute time: %g s" % (sum(values) / 1e3))


def profile(log, timed, count, total):
    """The table of --dumpProfile."""
    median = log.version >= (8, 4)
    width = max(len(name) for name, _, _ in timed) + 1
    header = "Layer".rjust(width) + "   Time (ms)   Avg. Time (ms)"
    log.info()
    log.info("=== Profile (%d iterations ) ===" % count)
    log.info(header + ("   Median Time (ms)" if median else "") + "   Time %")
    for name, _, times in timed:
        row = name.rjust(width) + "%12.2f%17.4f" % (sum(times), sum(times) / count)
        row += "%19.4f" % statistics.median(times) if median else ""
        log.info(row + "%9.1f" % (100 * sum(times) / total))
    row = "Total".rjust(width) + "%12.2f%17.4f" % (total, total / count)
    log.info(row + ("%19.4f" % (total / count) if median else "") + "%9.1f" % 100)
    log.info()


def took(row, part):
    return row[part][1] - row[part][0]


def latency(row):
    return took(row, "in") + took(row, "compute") + took(row, "out")
