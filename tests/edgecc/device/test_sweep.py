"""What stays on a device of what was sent there before."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jetson.board import Board, bundle

from edgecc.device.remote import KEPT, Remote

DAY_S = 86_400


def old(folder: Path, days: float) -> Path:
    """Something that was used so long ago."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("")
    used_s = time.time() - days * DAY_S
    os.utime(folder, (used_s, used_s))
    return folder


def test_bundles_and_agents_that_nobody_uses_go(
    board: Board, remote: Remote, tmp_path: Path
) -> None:
    (bundle(tmp_path / "A") / "manifest.json").write_text("{}")
    cache = tmp_path / "home/.cache/edgecc"
    for_days = {name: range(2, count + 5) for name, count in KEPT.items()}
    there = {
        name: [old(cache / name / f"{days:02}", days) for days in found]
        for name, found in for_days.items()
    }
    (cache / "bundles/02.f00.part").write_text("half of one")
    os.utime(cache / "bundles/02.f00.part", (0, 0))
    remote.identify()
    place = remote.put(tmp_path / "A")
    assert Path(place, "device.json").is_file()
    for name, folders in there.items():
        kept = [path for path in folders if path.exists()]
        assert kept == folders[: KEPT[name] - 1], name
    assert not (cache / "bundles/02.f00.part").exists()


def test_what_was_used_today_stays_however_many_there_are(
    board: Board, remote: Remote, tmp_path: Path
) -> None:
    (bundle(tmp_path / "A") / "manifest.json").write_text("{}")
    cache = tmp_path / "home/.cache/edgecc/bundles"
    today = [old(cache / f"{n:02}", 0.9) for n in range(KEPT["bundles"] + 5)]
    remote.put(tmp_path / "A")
    assert all(path.exists() for path in today)
