"""This machine as a device."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgecc.device.transport import Transport


class Local(Transport):
    """The machine that edgecc runs on: the same agent, without a link that can be lost."""

    name = "this machine"
    python = sys.executable

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return `argv`."""
        return list(argv)
