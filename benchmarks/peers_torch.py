"""Torch-Pruning without training: the peers of `peers.py` that remove whole channels.

For each importance every way of ranking that Torch-Pruning has is tried: within each layer, over
the whole network, and over layers of the same kind (isomorphic); and, where there are residual
connections, with and without the channels that they tie together. The pruner goes forward in small
steps, as its own examples do, until no more than the share asked for is left. Of these the network
whose outputs are nearest the original's on the calibration inputs is kept. That is generous: a user
would have to write this search.

The importance that reads gradients (hessian) needs a loss. Without labels it is the outputs times
Gaussian noise, whose squared gradients are the Gauss-Newton approximation of what a weight does to
the outputs. Torch-Pruning's own `accumulate_grad` (1.6.1) is not used: it looks names up among
tensors, and so keeps the last sample only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch_pruning as tp
from multiply_adds import multiply_adds
from onnx_torch import Network
from prunable import flattened, widened
from torch import Tensor

STEPS = 50
SAMPLES = 64
WATCHED = 16  # of them, for the activations
BATCH = 4
MOST = 0.9  # of a layer's channels may go
IMPORTANCES: dict[str, Callable[[], tp.importance.Importance]] = {
    "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
    "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "activation": tp.importance.ActivationImportance,
    "hessian": tp.importance.GroupHessianImportance,
}
WAYS = (
    {"global_pruning": False},
    {"global_pruning": True},
    {"global_pruning": True, "isomorphic": True},
)


def prune(model: onnx.ModelProto, name: str, macs: float, inputs: np.ndarray) -> onnx.ModelProto:
    """Prune to at most the share `macs` of the multiply-adds, by the importance `name`."""
    torch.manual_seed(0)
    chosen = np.linspace(0, len(inputs) - 1, min(SAMPLES, len(inputs))).astype(int)
    samples = torch.from_numpy(inputs[chosen])
    model = flattened(model)
    budget = macs * sum(multiply_adds(model, inputs.shape).values())
    with torch.no_grad():
        reference = Network(model)(samples)
    best, least = None, (1.0, float("inf"))
    for start, kept in starts(model):
        squares = square_gradients(Network(start), samples) if name == "hessian" else []
        for way in WAYS:
            network = Network(start)
            for weight, square in zip(network.parameters(), squares, strict=False):
                weight.grad = square.clone()
            if shrink(network, kept, IMPORTANCES[name](), way, budget, samples):
                with torch.no_grad():
                    error = distance(network(samples), reference)
                if error < least:
                    best, least = network.written(start), error
                    check(best, network, samples)
    if best is None:
        raise ValueError(f"torch-pruning cannot bring this network to {macs} of its multiply-adds")
    return best


def distance(outputs: Tensor, reference: Tensor) -> tuple[float, float]:
    """How often the greatest output is another (0 where outputs are images), and how far they lie.

    The first counts, the second decides between equals.
    """
    other = 0.0
    if reference[0, 0].numel() == 1:
        other = (outputs.argmax(dim=1) != reference.argmax(dim=1)).float().mean().item()
    return other, (outputs - reference).square().mean().item()


def starts(model: onnx.ModelProto) -> Iterator[tuple[onnx.ModelProto, set[str]]]:
    """The networks to prune, and which of their layers keep their outputs."""
    last = next(n for n in reversed(model.graph.node) if n.op_type in ("Conv", "Gemm")).output[0]
    yield widened(model), {last}
    makers = {node.output[0]: node for node in model.graph.node}
    waiting = [name for node in model.graph.node if node.op_type == "Add" for name in node.input]
    tied = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.op_type == "Conv":
            tied.add(node.output[0])
        elif node is not None and node.op_type != "Add":
            waiting.append(node.input[0])
    if tied:
        yield model, {last, *tied}


def shrink(
    network: Network,
    kept: set[str],
    importance: tp.importance.Importance,
    way: dict[str, bool],
    budget: float,
    samples: Tensor,
) -> bool:
    """Prune channels in place, group by group, down to `budget`; say whether it was reached."""
    pruner = tp.BasePruner(
        network,
        (samples[:1],),  # as a bare tensor it would be tried without its batch axis first
        importance,
        pruning_ratio=1.0,
        max_pruning_ratio=MOST,
        iterative_steps=STEPS,
        ignored_layers=[network.layers[network.keys[name]] for name in kept],
        **way,
    )
    for _ in range(STEPS):
        if isinstance(importance, tp.importance.ActivationImportance):
            with importance.compute_importance(network), torch.no_grad():
                network(samples[:WATCHED])
        for group in pruner.step(interactive=True):
            group.prune()
            if network.macs() <= budget:
                return True
    return False


def square_gradients(network: Network, samples: Tensor) -> list[Tensor]:
    """The mean square, for every weight, of what noise at the outputs sends back to it."""
    softmax = [node for node in network.nodes if node.op_type == "Softmax"]
    if softmax:  # it would flatten the gradients of every sure answer
        network.result = softmax[-1].input[0]
    squares = [torch.zeros_like(weight) for weight in network.parameters()]
    for batch in samples.split(BATCH):
        network.zero_grad()
        outputs = network(batch)
        (outputs * torch.randn_like(outputs)).sum().backward()
        for square, weight in zip(squares, network.parameters(), strict=True):
            square += weight.grad.square() / len(samples)
    return squares


def check(model: onnx.ModelProto, network: Network, samples: Tensor) -> None:
    """Refuse to go on where onnxruntime and torch do not agree on the first inputs."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for sample in samples[:4].split(1):
        found = session.run(None, {network.source: sample.numpy()})[0]
        with torch.no_grad():
            expected = network(sample).numpy()
        worst = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
        if worst > 1e-4:
            raise ValueError(f"onnxruntime and torch differ by {worst:.1e} of the greatest output")
