"""trtexec's command lines: what each release from 7.1 to 10.x knows, and nothing else.

The table is from sampleOptions.cpp at the tags 7.1.3, 8.0.1, 8.2.1, 8.4.2, 8.5.1, 8.6.1 and 10.x.
A graph with Q/DQ still asks for `--int8`. `--stronglyTyped` (10.x) is not used: it would keep
all that no Q/DQ touches in the model's FP32.
"""

import math

from targets.tensorrt.device.version import numbers

FIRST, LAST = (7,), (99,)
KNOWN = {
    "--explicitBatch": (FIRST, (8, 2)),  # from 8.2 it is ignored with a warning, in 10 gone
    "--workspace": (FIRST, (8, 4)),  # from 8.4 deprecated, in 10 gone
    "--memPoolSize": ((8, 4), LAST),
    "--timingCacheFile": ((8, 0), LAST),
    "--profilingVerbosity": ((8, 2), LAST),
    "--exportLayerInfo": ((8, 2), LAST),
    "--separateProfileRun": ((7, 2), LAST),
    "--noDataTransfers": ((7, 2), LAST),
    "--precisionConstraints": ((8, 2), LAST),
    "--layerPrecisions": ((8, 4), LAST),
    "--buildOnly": (FIRST, (8, 6)),
    "--skipInference": ((8, 6), LAST),
}
"""The first release that has an option, and the first that it is not given to any more; what is
not named here is known to all.
"""
SPIN, GRAPH = ("--useSpinWait",), ("--useCudaGraph",)
_PRECISIONS = {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8", "--fp16"], "best": ["--best"]}


def has(version, option):
    """Return whether trtexec of `version` takes `option` as we would pass it."""
    since, until = KNOWN.get(option, (FIRST, LAST))
    return since <= numbers(version) < until


def _known(version, options):
    """Return the options, as on a command line, without those that `version` does not know."""
    return [option for option in options if has(version, option.partition("=")[0])]


def shaped(option, shapes):
    """Return `--shapes=x:1x3x8x8,y:1` for {"x": [1, 3, 8, 8], "y": [1]}."""
    items = [
        "{}:{}".format(name, "x".join(str(size) for size in shape))
        for name, shape in sorted(shapes.items())
    ]
    return "{}={}".format(option, ",".join(items))


def _shapes(recipe):
    """Return the options for the model's dynamic inputs.

    A model with none gets none: from 8.4 trtexec refuses shapes for a static model.
    """
    if recipe.get("profile"):
        return [
            shaped(
                "--" + end + "Shapes", {name: ends[end] for name, ends in recipe["profile"].items()}
            )
            for end in ("min", "opt", "max")
        ]
    return [shaped("--shapes", recipe["dynamic"])] if recipe.get("dynamic") else []


def build(version, trtexec, recipe, plan):
    """Return the command line that builds the engine `plan`.

    recipe: {"onnx", "precision": "fp32"|"fp16"|"int8"|"best", "workspace_mb", "dla": None|0|1,
    "dynamic": {input: shape}, "profile": None|{input: {"min", "opt", "max"}},
    "calibration": path|None, "layers_fp32": [name], "timing_cache": path|None}.
    """
    argv = [trtexec, "--onnx=" + recipe["onnx"], "--saveEngine=" + plan]
    argv += _known(version, ["--explicitBatch", "--workspace={}".format(recipe["workspace_mb"])])
    argv += _known(version, ["--memPoolSize=workspace:{}".format(recipe["workspace_mb"])])
    argv += _PRECISIONS[recipe["precision"]]
    if recipe.get("calibration") and recipe["precision"] in ("int8", "best"):
        argv.append("--calib=" + recipe["calibration"])
    if recipe.get("layers_fp32") and recipe["precision"] != "fp32":
        kept = ",".join(name + ":fp32" for name in recipe["layers_fp32"])
        if has(version, "--layerPrecisions"):
            argv += ["--precisionConstraints=obey", "--layerPrecisions=" + kept]
    if recipe.get("dla") is not None:
        argv += ["--useDLACore={}".format(recipe["dla"]), "--allowGPUFallback"]
    if recipe.get("timing_cache"):
        argv += _known(version, ["--timingCacheFile=" + recipe["timing_cache"]])
    argv += _shapes(recipe)
    return argv + _known(
        version, ["--profilingVerbosity=detailed", "--buildOnly", "--skipInference"]
    )


def _load(trtexec, plan, recipe):
    """Return what every run of a built engine starts with."""
    argv = [trtexec, "--loadEngine=" + plan]
    if recipe.get("dla") is not None:
        argv.append("--useDLACore={}".format(recipe["dla"]))
    if recipe.get("dynamic"):
        argv.append(shaped("--shapes", recipe["dynamic"]))
    return argv


def check(version, trtexec, plan, recipe, info):
    """Return the command line that loads the engine `plan` and runs it once; layers to `info`."""
    argv = _load(trtexec, plan, recipe) + _known(version, ["--noDataTransfers"])
    argv += ["--warmUp=0", "--duration=0", "--iterations=1"]
    return argv + _known(version, ["--exportLayerInfo=" + info, "--profilingVerbosity=detailed"])


def _window(seconds, warmup_s, iterations):
    """Return how long is run, in trtexec's units: warm-up in ms, duration in whole seconds."""
    return [
        "--warmUp={}".format(int(warmup_s * 1000)),
        "--duration={}".format(math.ceil(seconds)),
        "--iterations={}".format(int(iterations)),
        "--avgRuns=100",
    ]


def latency(version, trtexec, plan, recipe, times, seconds, warmup_s, iterations=10, extra=SPIN):
    """Return the command line that times the engine `plan` into the JSON file `times`.

    It runs for `seconds` and for `iterations`, whichever is longer. `extra` are further options:
    `SPIN` waits in a loop, for times without a thread's wake-up; `GRAPH` asks for a CUDA graph.
    """
    argv = _load(trtexec, plan, recipe) + _known(version, ["--noDataTransfers"]) + list(extra)
    return argv + _window(seconds, warmup_s, iterations) + ["--exportTimes=" + times]


def profile(version, trtexec, plan, recipe, layers, info, seconds, warmup_s, iterations=10):
    """Return the command line that times each layer into `layers`, and tells of them in `info`."""
    argv = [*_load(trtexec, plan, recipe), "--useSpinWait", "--dumpProfile"]
    argv += _known(version, ["--noDataTransfers", "--separateProfileRun"])
    argv += ["--exportProfile=" + layers]
    argv += _known(version, ["--exportLayerInfo=" + info, "--profilingVerbosity=detailed"])
    return argv + _window(seconds, warmup_s, iterations)
