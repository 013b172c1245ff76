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
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch_pruning as tp
from onnx import helper, numpy_helper
from peers import multiply_adds
from torch import Tensor, nn
from torch.nn import functional

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


class Network(nn.Module):
    """An ONNX graph in torch: a layer for each Conv and Gemm, functions for the rest."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.nodes = list(model.graph.node)
        self.source, self.result = model.graph.input[0].name, model.graph.output[0].name
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.layers = nn.ModuleDict()
        self.keys: dict[str, str] = {}  # of the layer that makes a value
        self.positions: dict[str, int] = {}  # that a layer is evaluated at
        for index, node in enumerate(self.nodes):
            if node.op_type in LAYERS:
                self.keys[node.output[0]] = str(index)
                weights = [torch.tensor(self.constants[name]) for name in node.input[1:]]
                self.layers[str(index)] = LAYERS[node.op_type](attributes(node), *weights)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate the graph."""
        values: dict[str, Tensor | np.ndarray] = {**self.constants, self.source: x}
        for node in self.nodes:
            name, options = node.output[0], attributes(node)
            if key := self.keys.get(name):
                x = values[node.input[0]]
                y = self.layers[key](spread(options, x) if node.op_type == "Conv" else x)
                self.positions[key] = y[0, 0].numel()
            else:
                y = FUNCTIONS[node.op_type](options, *(values[i] for i in node.input))
            values[name] = y
        return values[self.result]

    def macs(self) -> int:
        """Multiply-adds at the shape last evaluated."""
        return sum(self.layers[k].weight.numel() * p for k, p in self.positions.items())

    def written(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return `model` with the weights as they are now."""
        small = onnx.ModelProto()
        small.CopyFrom(model)
        tensors = {tensor.name: tensor for tensor in small.graph.initializer}
        for node in small.graph.node:
            if node.output[0] in self.keys:
                layer = self.layers[self.keys[node.output[0]]]
                for name, value in zip(node.input[1:], (layer.weight, layer.bias), strict=False):
                    array = value.detach().numpy()
                    tensors[name].CopyFrom(numpy_helper.from_array(array, name))
        del small.graph.value_info[:]
        return small


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


def flattened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Reshape to a shape computed from the batch becomes Flatten, and what computed it goes."""
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] not in weights:
            node = helper.make_node("Flatten", node.input[:1], node.output, node.name, axis=1)
        nodes.append(node)
    needed = {value.name for value in model.graph.output}
    for node in reversed(nodes):
        if needed & set(node.output):
            needed.update(node.input)
    return rebuilt(model, [node for node in nodes if needed & set(node.output)], [])


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Padding by empty channels becomes a 1x1 convolution, which Torch-Pruning can follow."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    nodes, tensors = [], []
    for node in model.graph.node:
        pads = constants[node.input[1]] if node.op_type == "Pad" else np.zeros(8)
        if pads[1] or pads[5]:
            channels = width(makers, constants, node.input[0])
            weight = np.eye(channels, dtype=np.float32)[:, :, None, None]
            weight = np.pad(weight, [(pads[1], pads[5]), (0, 0), (0, 0), (0, 0)])
            tensors.append(numpy_helper.from_array(weight, f"{node.output[0]}.weight"))
            inputs = [node.input[0], tensors[-1].name]
            node = helper.make_node("Conv", inputs, node.output, node.name, kernel_shape=[1, 1])
        nodes.append(node)
    return rebuilt(model, nodes, tensors)


def width(makers: dict[str, onnx.NodeProto], constants: dict[str, np.ndarray], name: str) -> int:
    """The channels of a value: those of the nearest convolution before it."""
    node = makers[name]
    if node.op_type == "Conv":
        return len(constants[node.input[1]])
    return width(makers, constants, node.input[0])


def rebuilt(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]
) -> onnx.ModelProto:
    """Return `model` with other nodes and more weights."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    del other.graph.node[:]
    other.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del other.graph.initializer[:]
    other.graph.initializer.extend([*kept, *tensors])
    return other


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def spread(options: dict[str, Any], x: Tensor, value: float = 0.0) -> Tensor:
    """Pad the input of a layer or a pool, whose own padding torch has at both ends alike."""
    top, left, bottom, right = options.get("pads", [0] * 4)
    return functional.pad(x, (left, right, top, bottom), value=value)


def convolution(options: dict[str, Any], weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """Conv, of an input that is padded already."""
    groups = options.get("group", 1)
    shape = weight.shape[1] * groups, len(weight), tuple(weight.shape[2:])
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    layer = nn.Conv2d(*shape, strides, 0, dilations, groups, bias is not None)
    return filled(layer, weight, bias)


def linear(options: dict[str, Any], weight: Tensor, bias: Tensor) -> nn.Linear:
    """Gemm."""
    if not options.get("transB"):
        raise ValueError("this script takes a Gemm with transB=1 only")
    return filled(nn.Linear(weight.shape[1], weight.shape[0]), weight, bias)


def filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Give a layer its weights."""
    layer.weight = nn.Parameter(weight)
    layer.bias = None if bias is None else nn.Parameter(bias)
    return layer


def average(options: dict[str, Any], x: Tensor) -> Tensor:
    """AveragePool that pads nothing."""
    if any(options.get("pads", [])) or options.get("ceil_mode"):
        raise ValueError("this script takes an AveragePool without padding only")
    return functional.avg_pool2d(x, options["kernel_shape"], options.get("strides", [1, 1]))


def greatest(options: dict[str, Any], x: Tensor) -> Tensor:
    """MaxPool."""
    x = spread(options, x, float("-inf"))
    ceil, strides = bool(options.get("ceil_mode")), options.get("strides", [1, 1])
    return functional.max_pool2d(x, options["kernel_shape"], strides, ceil_mode=ceil)


def cut(_: dict[str, Any], x: Tensor, *arrays: np.ndarray) -> Tensor:
    """Slice."""
    starts, ends, axes, steps = arrays
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(int(start), int(end), int(step))
    return x[tuple(index)]


def padded(_: dict[str, Any], x: Tensor, pads: np.ndarray, *__: object) -> Tensor:
    """Pad with zeros."""
    pairs = np.array(pads).reshape(2, -1).T[::-1]
    return functional.pad(x, [int(p) for p in pairs.ravel()])


def shuffled(options: dict[str, Any], x: Tensor) -> Tensor:
    """DepthToSpace."""
    if options.get("mode") != b"CRD":
        raise ValueError("this script takes a DepthToSpace of mode CRD only")
    return functional.pixel_shuffle(x, options["blocksize"])


LAYERS = {"Conv": convolution, "Gemm": linear}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, x, y: x + y,
    "AveragePool": average,
    "Concat": lambda options, *xs: torch.cat(xs, dim=options["axis"]),
    "DepthToSpace": shuffled,
    "Dropout": lambda _, x: x,
    "Flatten": lambda _, x: x.flatten(1),
    "GlobalAveragePool": lambda _, x: x.mean(dim=(2, 3), keepdim=True),
    "Identity": lambda _, x: x,
    "MaxPool": greatest,
    "Pad": padded,
    "Relu": lambda _, x: functional.relu(x),
    "Slice": cut,
    "Softmax": lambda _, x: x.softmax(dim=1),
    "Sub": lambda _, x, y: x - y,
}
