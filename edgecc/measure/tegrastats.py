"""One line of tegrastats, in every form of JetPack 4 to 7.

    [MM-DD-YYYY HH:MM:SS] RAM u/tMB (lfb NxSMB) SWAP .. IRAM .. CPU [load%@MHz,off,..]
    EMC_FREQ load%@MHz  GR3D_FREQ load%@MHz | load%@[MHz,..] | @[MHz,..]  ENGINE MHz|off
    ENGINE_LOAD load%  MTS fg a% bg b%  ZONE@tC[/maxC]  RAIL cur/avg | curmW/avgmW[/peakmW]

The date is there from JetPack 5 on, clocks for root alone, the peak from JetPack 7 on. Fields come
in any order. Names collide: `GPU@28C` is a zone, `GPU 1155/1155` a rail. A field that is not known
is kept as it stands; one that is known and damaged makes the line `Malformed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from edgecc.measure.tegrastats_line import (
    Line,
    Load,
    Malformed,
    Memory,
    Reading,
    Swap,
    Temperature,
)

OFF_C = -256.0
"""What a switched-off sensor tells (Orin)."""
MOST_MW = 1_000_000
"""More than any board draws: what is above it, is garbage."""


class _DamagedError(Exception):
    """A known field whose value is none of its forms."""


NUMBER = r"-?\d+(?:\.\d+)?"
DATE = re.compile(r"(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d)\s")
WORD = re.compile(r"[A-Za-z]\w*")
RAM = re.compile(r" (\d+)/(\d+)MB(?: \(lfb (\d+)x(\d+)([kM])B\))?")
SWAP = re.compile(r" (\d+)/(\d+)MB \(cached (\d+)MB\)")
IRAM = re.compile(r" (\d+)/(\d+)kB ?\(lfb \d+kB\)")
CPUS = re.compile(r"\[((?:\d+%@\d+|off)(?:,(?:\d+%@\d+|off))*)\]")
LOADED = re.compile(r" (?:(\d+)%)?(?:@(\d+)|@\[(\d+(?:,\d+)*)\])?(?= |$)")
ENGINE = re.compile(r" (?:(\d+)|(off))(?= |$)")
PERCENT = re.compile(r" (\d+)%(?= |$)")
MTS = re.compile(r" fg (\d+)% bg (\d+)%")
ZONE = re.compile(rf"@({NUMBER})C(?:/({NUMBER})C)?(?= |$)")
PLAIN_RAIL = re.compile(r" (-?\d+)/(-?\d+)(?= |$)")
RAIL = re.compile(r" (-?\d+)mW/(-?\d+)mW(?:/(-?\d+)mW)?(?= |$)")
ENGINES = re.compile(r"APE|NV(?:ENC|DEC|JPG|DLA|CSI)\d*|VIC|OFA|PVA\d*|SE\d*|MSENC|\w+_FREQ")
UNKNOWN = re.compile(r"\S+(?: [^A-Za-z\s\[]\S*)*")
LIKE_TEGRASTATS = re.compile(r"\bRAM \d|\bCPU \[|_FREQ |@[\d.]+C\b|\d+(?:mW)?/\d+(?:mW)?(?: |$)")


def parse(text: str) -> Line | Malformed:
    """Read a line. What is damaged is never guessed: it makes the line `Malformed`."""
    line = " ".join(text.split())
    try:
        return _Reader(line).read()
    except _DamagedError as error:
        return Malformed(text.rstrip("\r\n"), str(error), bool(LIKE_TEGRASTATS.search(line)))


class _Reader:
    """Reads the fields of one line from left to right."""

    def __init__(self, line: str) -> None:
        self.line, self.at = line, 0
        self.found: dict[str, object] = {}
        self.engines: dict[str, Load] = {}
        self.temperatures: dict[str, Temperature] = {}
        self.rails: dict[str, Reading] = {}
        self.milliwatts = False
        self.unknown: list[str] = []
        self.known: dict[str, Callable[[], object]] = {
            "RAM": self._ram,
            "SWAP": lambda: Swap(*map(int, self._take(SWAP, "SWAP").groups())),
            "IRAM": lambda: tuple(map(int, self._take(IRAM, "IRAM").groups())),
            "MTS": lambda: tuple(map(int, self._take(MTS, "MTS").groups())),
            "EMC_FREQ": lambda: self._load("EMC_FREQ"),
            "GR3D_FREQ": lambda: self._load("GR3D_FREQ"),
            "GR3D2_FREQ": lambda: self._load("GR3D2_FREQ"),
        }

    def read(self) -> Line:
        if not self.line.isprintable() or "\ufffd" in self.line:
            raise _DamagedError("it holds characters that are no text")
        if date := DATE.match(self.line):
            self.at = date.end()
            self._once("time", _time(date[1]))
        if not re.match(r"RAM \d|CPU \[|\[", self.line[self.at :]):
            raise _DamagedError("it begins with no date, RAM or CPU")
        while self.at < len(self.line):
            self._field()
            self.at += self.line[self.at : self.at + 1] == " "
        names = {"EMC_FREQ": "emc", "GR3D_FREQ": "gr3d", "GR3D2_FREQ": "gr3d2", "IRAM": "iram_kb"}
        fields = {names.get(key, key.lower()): value for key, value in self.found.items()}
        return Line(
            **fields,  # type: ignore[arg-type]
            engines=self.engines,
            temperatures=self.temperatures,
            rails=self.rails,
            in_milliwatts=self.milliwatts,
            unknown=tuple(self.unknown),
        )

    def _field(self) -> None:
        if self.line.startswith("[", self.at):  # the head of the line is lost, the list is whole
            return self._cpus()
        word = WORD.match(self.line, self.at)
        if not word:
            return self._unknown()
        name, self.at = word[0], word.end()
        if name in self.known:
            return self._once(name, self.known[name]())
        if name == "CPU" and self.line.startswith(" [", self.at):
            self.at += 1
            return self._cpus()
        if ZONE.match(self.line, self.at):
            return self._zone(name)
        if self.line[self.at : self.at + 1] != " ":
            self.at = word.start()
            return self._unknown()
        if "/" in self._value():
            return self._rail(name)
        return self._engine(name, word.start())

    def _value(self) -> str:
        """The text up to the next blank."""
        return self.line[self.at :].lstrip(" ").partition(" ")[0]

    def _take(self, pattern: re.Pattern[str], name: str) -> re.Match[str]:
        match = pattern.match(self.line, self.at)
        if not match or not match[0].strip():
            raise _DamagedError(f"{name} is '{self.line[self.at :].strip()[:24]}'")
        self.at = match.end()
        return match

    def _once(self, name: str, value: object) -> None:
        if name in self.found:
            raise _DamagedError(f"{name} is there twice: two lines in one")
        self.found[name] = value

    def _ram(self) -> Memory:
        used, total, count, size, unit = self._take(RAM, "RAM").groups()
        blocks = (int(count), int(size) * (1024 if unit == "M" else 1)) if count else None
        return Memory(int(used), int(total), blocks)

    def _cpus(self) -> None:
        cores = self._take(CPUS, "CPU")[1].split(",")
        loads = (core.partition("%@") for core in cores)
        self._once(
            "cpus",
            tuple(
                Load(off=True) if percent == "off" else Load(int(percent), (int(mhz),))
                for percent, _, mhz in loads
            ),
        )

    def _load(self, name: str) -> Load:
        percent, clock, clocks = self._take(LOADED, name).groups()
        mhz = clock or clocks
        return Load(
            int(percent) if percent else None, tuple(map(int, mhz.split(","))) if mhz else ()
        )

    def _zone(self, name: str) -> None:
        now, highest = self._take(ZONE, f"{name}@").groups()
        if name in self.temperatures:
            raise _DamagedError(f"zone {name} is there twice")
        self.temperatures[name] = Temperature(_celsius(now), _celsius(highest))

    def _rail(self, name: str) -> None:
        pattern = RAIL if "mW" in self._value() else PLAIN_RAIL
        readings = [int(value) for value in self._take(pattern, name).groups() if value]
        if max(map(abs, readings)) > MOST_MW:
            raise _DamagedError(f"{name} has {max(readings, key=abs)} mW, which no board draws")
        if name == "NC":  # not connected
            return
        if name in self.rails:
            raise _DamagedError(f"rail {name} is there twice")
        self.rails[name] = Reading(*readings)
        self.milliwatts = pattern is RAIL

    def _engine(self, name: str, start: int) -> None:
        if name.endswith("_LOAD"):
            self.engines[name.removesuffix("_LOAD")] = Load(int(self._take(PERCENT, name)[1]))
        elif ENGINES.fullmatch(name):
            mhz, off = self._take(ENGINE, name).groups()
            clocks = (int(mhz),) if mhz else ()
            self.engines[name.removesuffix("_FREQ")] = Load(mhz=clocks, off=bool(off))
        else:
            self.at = start
            self._unknown()

    def _unknown(self) -> None:
        """Keep a word that is not known, and what follows it up to the next word."""
        match = UNKNOWN.match(self.line, self.at)
        if match is None:
            raise _DamagedError(f"'{self.line[self.at :][:24]}' is no field")
        self.at = match.end()
        self.unknown.append(match[0])


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%m-%d-%Y %H:%M:%S")
    except ValueError:
        raise _DamagedError(f"{text} is no date") from None


def _celsius(text: str | None) -> float | None:
    return None if text is None or float(text) == OFF_C else float(text)
