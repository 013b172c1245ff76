"""trtexec's `--exportProfile` and `--exportLayerInfo`: the time of each layer, and what it is."""

import json
import re

from targets.tensorrt.device.errors import BUILD, BoardError

_ROW = re.compile(
    r'"name"\s*:\s*"(?P<name>.*)"\s*,\s*"timeMs"\s*:\s*(?P<time>[^,\s]+)'
    r'\s*,\s*"averageMs"\s*:\s*(?P<average>[^,\s]+)'
    r'(?:\s*,\s*"medianMs"\s*:\s*(?P<median>[^,\s]+))?'
    r'\s*,\s*"percentage"\s*:\s*(?P<share>[^,\s}]+)\s*}'
)
_COUNT = re.compile(r'"count"\s*:\s*(\d+)')


def read(text):
    """Return (count of runs, layers, repaired) of an exported profile.

    A layer is {"name", "median_ms" (None before 8.4), "average_ms", "time_ms", "share"}. Names are
    not escaped by trtexec: where a quote or a backslash in one breaks the JSON, the rows are read
    each by itself, and `repaired` is true. Errors: `BoardError` where no layer can be read.
    """
    try:
        rows = json.loads(text)
        layers = [_layer(row) for row in rows if "name" in row]
        count = next((int(row["count"]) for row in rows if "count" in row), None)
        repaired = False
    except (ValueError, KeyError, TypeError):
        layers = [_of_match(match) for match in map(_ROW.search, text.splitlines()) if match]
        found = _COUNT.search(text)
        count = int(found.group(1)) if found else None
        repaired = True
    if not layers:
        raise BoardError(
            BUILD,
            "the profile that trtexec wrote has no layer that can be read",
            "the raw log tells how it ended; a full disk cuts such files short",
        )
    return count, layers, repaired


def _layer(row):
    median = row.get("medianMs")
    return {
        "name": row["name"],
        "median_ms": None if median is None else float(median),
        "average_ms": float(row["averageMs"]),
        "time_ms": float(row["timeMs"]),
        "share": float(row["percentage"]) / 100.0,
    }


def _of_match(match):
    median = match.group("median")
    return {
        "name": match.group("name"),
        "median_ms": None if median is None else float(median),
        "average_ms": float(match.group("average")),
        "time_ms": float(match.group("time")),
        "share": float(match.group("share")) / 100.0,
    }


def layer_info(text):
    """Return the layers of `--exportLayerInfo` as dictionaries, in order.

    Without detailed verbosity a layer is its name alone: {"Name": ..}. Names are not escaped here
    either: where that breaks the file, what is left are the names, line by line.
    """
    try:
        data = json.loads(text)
        layers = data["Layers"]
    except (ValueError, KeyError, TypeError):
        names = re.findall(r'^.*?"Name"\s*:\s*"(.*)"\s*,\s*"LayerType"', text, re.M)
        return [{"Name": name} for name in names]
    return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]


def parts(name):
    """Return the nodes that a layer's name stands for.

    `Conv_0 + Relu_1` and `a || b` are two each, `PWN(a, b)` a group of elementwise operators. A
    reformatting copy belongs to the node that it feeds; of `{ForeignNode[a...b]}` only the two
    ends are known.
    """
    name = re.sub(r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to ", "", name.strip())
    foreign = re.match(r"^\{ForeignNode\[(.*)\]\}$", name)
    if foreign:
        return [part for part in foreign.group(1).split("...") if part]
    found = []
    for part in re.split(r" \+ | \|\| |,\s+", name):
        part = re.sub(r"^(?:PWN\()+", "", part).strip()
        while part.count(")") > part.count("("):
            part = part[:-1]
        if part:
            found.append(part)
    return found
