"""A bundle as the board sees it: its device.json, and whether this board is what it is for."""

import json
import os

from targets.tensorrt.device import cache
from targets.tensorrt.device.errors import BUILD, DEVICE, BoardError
from targets.tensorrt.device.version import ask, newest_opset, numbers, short

DESCRIPTION, ENGINE = "device.json", "engine.json"
CAPABILITIES = {"tegra210": "5.3", "tegra186": "6.2", "tegra194": "7.2", "tegra234": "8.7"}
"""Compute capability by chip, for the key of an engine; a chip not named here is its own."""


def read(folder):
    """Return the bundle's device.json. Errors: `BoardError` where there is none for TensorRT."""
    path = os.path.join(folder, DESCRIPTION)
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        engine, model = data["engine"], data["model"]
        known = data["backend"] == "tensorrt" and engine["precision"] and data["inputs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BoardError(
            BUILD,
            "{} is no bundle for TensorRT: {!r}".format(folder, error),
            "make one on the host: edgecc build MODEL.onnx --target xavier",
        )
    if not known or os.path.isabs(model) or ".." in model.split("/"):
        raise BoardError(BUILD, "{} does not describe an engine to build".format(path))
    return data


def check_files(folder, data):
    """Errors: `BoardError` where the model or its calibration are not the bundle's own files."""
    path = os.path.join(folder, data["model"])
    calibration = data["engine"].get("calibration")
    if not os.path.isfile(path) or cache.sha256(path) != data["model_sha256"]:
        wrong = path
    elif calibration and not os.path.isfile(os.path.join(folder, calibration)):
        wrong = os.path.join(folder, calibration)
    else:
        return
    raise BoardError(
        BUILD,
        "{} is missing, or not the file that the bundle was made with".format(wrong),
        "copy the bundle to the board again",
    )


def board_name(identity):
    """Return this board in words."""
    name = identity.get("model") or identity.get("module") or "an unknown machine"
    return "{} ({})".format(name, identity.get("soc") or identity.get("machine") or "no Jetson")


def check_board(data, identity):
    """Return notes on this board. Errors: `BoardError` where the bundle is for another one."""
    board = data.get("board")
    if not board:
        return []
    soc, module, model = (identity.get(key) for key in ("soc", "module", "model"))
    parts = board.get("models") or []
    named = any(part.lower() in (model or "").lower() for part in parts)
    mine = module in (board.get("modules") or []) if module else named or not model
    if soc != board["soc"] or not (mine or named):
        raise BoardError(
            DEVICE,
            "this bundle is for {} ({}), this board is {}{}".format(
                data["target"],
                board["soc"],
                board_name(identity),
                ", module {}".format(module) if module else "",
            ),
            "build one for this board on the host: edgecc build --target NAME (see edgecc targets)",
        )
    if module and not mine:
        return ["the module {} is not one that is known of {}".format(module, data["target"])]
    return []


def check_tensorrt(data, identity):
    """Return (version, notes). Errors: `BoardError` without a TensorRT that reads the model."""
    trtexec = identity.get("trtexec")
    version = short(identity.get("tensorrt")) or (trtexec and ask(trtexec))  # no packages: an image
    if not trtexec or not version:
        raise BoardError(
            DEVICE,
            "there is no TensorRT on this board"
            if not version
            else "TensorRT {} is there, its trtexec is not".format(version),
            "sudo apt-get install {}".format("nvidia-jetpack" if not version else "libnvinfer-bin"),
        )
    engine = data["engine"]
    newest, opset = newest_opset(version), engine.get("opset")
    if newest is None or (opset and opset > newest):
        raise BoardError(
            DEVICE,
            "TensorRT {} reads opset {} at most, the bundle's model is at {}".format(
                version, newest or "10", opset
            ),
            "build the bundle for it on the host: edgecc build --tensorrt {}".format(version),
        )
    meant = engine.get("tensorrt") or []
    if numbers(version) >= (11,):
        return version, ["TensorRT {} is newer than this agent knows".format(version)]
    if version in [short(one) for one in meant] or not meant:
        return version, []
    return version, [
        "the bundle was made for TensorRT {}; this board's {} reads its opset {}, but may lack "
        "an operator".format(", ".join(meant), version, opset)
    ]


def recipe(folder, data):
    """Return what `options.build` asks for: paths, precision, shapes of dynamic inputs."""
    engine = data["engine"]
    shapes = engine.get("shapes") or {}
    profile = engine.get("profile") or None
    dynamic = {
        tensor["name"]: shapes.get(tensor["name"])
        or ((profile or {}).get(tensor["name"]) or {}).get("opt")
        for tensor in data["inputs"]
        if not all(isinstance(size, int) for size in tensor["shape"])
    }
    if not all(dynamic.values()):
        raise BoardError(
            BUILD,
            "the bundle has dynamic inputs without a shape: {}".format(", ".join(sorted(dynamic))),
            "build it with fixed shapes: edgecc build --shape NAME:1,3,224,224",
        )
    calibration = engine.get("calibration")
    return {
        "onnx": os.path.join(folder, data["model"]),
        "precision": engine["precision"],
        "dla": engine.get("dla"),
        "dynamic": dynamic,
        "profile": profile,
        "calibration": os.path.join(folder, calibration) if calibration else None,
        "layers_fp32": list(engine.get("layers_fp32") or []),
    }


def shapes(data):
    """Return the shapes that an engine of the bundle runs at: {"x": [1, 3, 224, 224]}."""
    engine = data["engine"]
    return {
        tensor["name"]: list((engine.get("shapes") or {}).get(tensor["name"]) or tensor["shape"])
        for tensor in data["inputs"]
    }


def facts(folder, data, identity, version):
    """Return all that an engine depends on: what its key in the cache is made from."""
    engine = data["engine"]
    calibration = engine.get("calibration")
    soc = identity.get("soc")
    return {
        "schema_version": 1,
        "model_sha256": data["model_sha256"],
        "tensorrt": version,
        "board": {
            "soc": soc,
            "module": identity.get("module") or identity.get("model"),
            "compute_capability": CAPABILITIES.get(soc, soc),
        },
        "precision": engine["precision"],
        "dla": engine.get("dla"),
        "shapes": shapes(data),
        "profile": engine.get("profile"),
        "layers_fp32": sorted(engine.get("layers_fp32") or []),
        "calibration": cache.sha256(os.path.join(folder, calibration)) if calibration else None,
    }


def engine_of(folder):
    """Return the bundle's engine.json: {"key", "path", "tensorrt", ..}; None where it has none."""
    try:
        with open(os.path.join(folder, ENGINE), encoding="utf-8") as stream:
            data = json.load(stream)
        return data if isinstance(data["key"], str) and isinstance(data["path"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
