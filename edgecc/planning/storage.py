"""What a rewritten network stores: weights that layers share, biases that the re-fit adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from edgecc.calibration.collect import MOST_INPUTS
from edgecc.conv import Conv, is_convolution, is_gemm, read
from edgecc.planning.table import Candidate, Row


@dataclass(frozen=True)
class Storage:
    """Which weights go with which convolutions, in numbers to store.

    A weight that several convolutions share goes when the last of them is rewritten, which no sum
    over convolutions says. Two readings do, neither of them too low: it stays whatever happens, or
    (`apart`) whoever keeps its form has a copy of its own.
    """

    added: int = 0
    """Numbers in the biases that layers get which had none, or share one."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """By convolution, the weight that it shares."""
    free: frozenset[str] = frozenset()
    """The shared weights that nothing reads but convolutions that may be rewritten."""
    apart: bool = False

    @classmethod
    def of(cls, model: ir.Model, names: Collection[str]) -> Storage:
        """Read it from a prepared network, of which the convolutions `names` may be rewritten."""
        shared = {}
        for node in model.graph:
            weight = node.inputs[1] if is_convolution(node) and node.name in names else None
            if weight is not None and len(weight.uses()) > 1:
                shared[node.name or ""] = weight.name or ""
        readers = Counter(shared.values())
        values = model.graph.initializers
        free = {
            name
            for name, count in readers.items()
            if name in values
            and count == len(values[name].uses())
            and not values[name].is_graph_output()
        }
        return cls(sum(map(_added, model.graph)), shared, frozenset(free))

    def readings(self) -> list[Storage]:
        """Both readings; one, where no weight that could go is shared."""
        return [self, replace(self, apart=True)] if self.free else [self]

    def kept(self, name: str, params: int) -> int:
        """Return what a convolution of so many weights costs that keeps its form."""
        if name not in self.shared:
            return params
        return params if self.apart and self.shared[name] in self.free else 0

    def rest(self, before: int, rows: Iterable[Row]) -> int:
        """Return what stays of the network's `before`, whatever becomes of the rows, at most."""
        return before + self.added - self._once(rows, self.free if self.apart else frozenset())

    def left(self, before: int, chosen: Sequence[tuple[Row, Candidate]]) -> int:
        """Return what is stored of the network's `before`, at most: the re-fit adds no bias to
        layers before the first that is rewritten.
        """
        rewritten = [row for row, candidate in chosen if candidate.rewrite]
        if not rewritten:
            return before
        made = sum(candidate.params for _, candidate in chosen if candidate.rewrite)
        kept = {self.shared.get(row.name, "") for row, each in chosen if not each.rewrite}
        return before + self.added + made - self._once(rewritten, self.free - kept)

    def _once(self, rows: Iterable[Row], going: Collection[str]) -> int:
        """The weights of the rows that share none, and once each of the shared ones in `going`."""
        own, common = 0, {}
        for row in rows:
            params, weight = row.candidates[0].params, self.shared.get(row.name)
            if weight is None:
                own += params
            elif weight in going:
                common[weight] = params
        return own + sum(common.values())


def _added(node: ir.Node) -> int:
    """The numbers that a re-fit adds to a layer's bias (edgecc/calibration/refit.py)."""
    layer = read(node) if is_convolution(node) or is_gemm(node) else None
    if not isinstance(layer, Conv) or layer.patch_size > MOST_INPUTS:
        return 0
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None or len(bias.uses()) > 1:
        return layer.out_channels
    stored = bias.const_value.size if bias.const_value is not None else 0
    return layer.out_channels - stored
