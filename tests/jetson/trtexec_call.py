"""One call of trtexec: its version, its board, its options."""

import json
import os
import sys

from trtexec_text import Log


class GaveUpError(Exception):
    """trtexec gives up: the lines were printed."""


class Call:
    def __init__(self, here, argv):
        with open(os.path.join(here, "trtexec.json")) as stream:
            config = json.load(stream)
        data = os.path.join(os.path.dirname(os.path.realpath(__file__)), "trtexec_versions.json")
        with open(data) as stream:
            self.facts = json.load(stream)
        self.name = config["version"]
        self.version = tuple(int(part) for part in self.name.split("."))[:3]
        self.board = self.facts["boards"][config.get("board", "xavier")]
        self.fail = config.get("fail", {})
        self.threads = config.get("threads", 1)
        self.log = Log(self.version, argv)
        self.given = {}

    def of(self, table):
        """The entry of this release in a table by release: "8.5", "10"."""
        parts = self.version[: 1 if self.version >= (10,) else 2]
        return self.facts[table][".".join(map(str, parts))]

    def known(self):
        """{option: whether it takes a value} of this release."""
        found = {}
        for kind in ("flags", "values"):
            for words in self.facts["options"][kind]:
                name, *range_ = words.split()
                since, until = (0,), (99,)
                if range_ and range_[0] != "-":
                    since = tuple(map(int, range_[0].split(".")))
                if "-" in range_:
                    until = tuple(map(int, range_[range_.index("-") + 1].split(".")))
                if since <= self.version and self.version[: len(until)] <= until:
                    found[name] = kind == "values"
        return found

    def parse(self, argv):
        known, unknown = self.known(), []
        for word in argv:
            name, _, value = word.partition("=")
            if name not in known:
                unknown.append((name, value))
            self.given[name] = value
        if "--help" in self.given:
            self.log.plain("=== Model Options ===\n  --onnx=<file>   ONNX model")
            sys.exit(0)
        for name, value in unknown:
            self.log.error("Unknown option: %s %s" % (name, value))
        if unknown:
            self.log.plain("=== Model Options ===\n  --onnx=<file>   ONNX model")
            raise GaveUpError
        if self.version >= (8, 2) and "--explicitBatch" in self.given:
            self.log.warn("--explicitBatch flag has been deprecated and has no effect!")
            self.log.warn(
                "Explicit batch dim is automatically enabled if input model is ONNX or if dynamic shapes are provided when the engine is built."
            )
        if self.version >= (8, 4) and "--workspace" in self.given:
            self.log.warn("--workspace flag has been deprecated by --memPoolSize flag.")
        if not self.given.get("--onnx") and not self.given.get("--loadEngine"):
            self.log.error("Model missing or format not recognized")
            raise GaveUpError

    def number(self, name, default):
        return float(self.given.get(name) or default)

    def shapes(self, name):
        """{input: sizes} of an option; names may hold colons, the sizes lie behind the last."""
        found = {}
        for item in filter(None, self.given.get(name, "").split(",")):
            tensor, _, sizes = item.rpartition(":")
            found[tensor] = [int(size) for size in sizes.split("x")]
        return found

    def workspace_mb(self):
        for item in self.given.get("--memPoolSize", "").split(","):
            if item.startswith("workspace:"):
                return float(item.partition(":")[2])
        return self.number("--workspace", 16 if self.version < (8, 4) else self.board["mib"])

    def precisions(self):
        found = {"fp32"}
        found |= {name for name in ("fp16", "int8") if "--" + name in self.given}
        return found | ({"fp16", "int8"} if "--best" in self.given else set())

    def give_up(self, *lines):
        for line in lines:
            self.log.error(line)
        if self.version >= (8, 4):
            self.log.error("GaveUpError to create engine from model or file.")
        elif self.version < (8,):
            self.log.error("Engine creation failed")
        self.log.error("Engine set up failed")
        raise GaveUpError
