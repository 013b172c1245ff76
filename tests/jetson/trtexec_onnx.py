"""An ONNX file's outline, read without the onnx package: what TensorRT's parser says of it."""


class Model:
    """Opset, IR version, producer, nodes and inputs of a model."""

    def __init__(self, data):
        self.opset, self.ir, self.producer, self.producer_version = 0, 0, "", ""
        self.nodes, self.inputs, self.outputs = [], [], []
        for number, value in fields(data):
            if number == 1:
                self.ir = value
            elif number == 2:
                self.producer = value.decode()
            elif number == 3:
                self.producer_version = value.decode()
            elif number == 8:
                opset = dict(fields(value))
                if not opset.get(1):
                    self.opset = opset.get(2, 0)
            elif number == 7:
                self._graph(value)

    def _graph(self, data):
        values = {"inputs": [], "outputs": []}
        constants = set()
        for number, value in fields(data):
            if number == 1:
                self.nodes.append(node(value))
            elif number == 5:
                constants.add(dict(fields(value)).get(8, b"").decode())
            elif number in (11, 12):
                values["inputs" if number == 11 else "outputs"].append(tensor(value))
        self.inputs = [given for given in values["inputs"] if given[0] not in constants]
        self.outputs = values["outputs"]


def fields(data):
    """Yield (number, value) of a protobuf message: integers, or bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("this is no protobuf file")
        yield tag >> 3, value


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7


def node(data):
    """Return (operator, name, inputs, outputs)."""
    found = {1: [], 2: [], 3: [b""], 4: [b""]}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    texts = {number: [value.decode() for value in found[number]] for number in (1, 2, 3, 4)}
    return texts[4][-1], texts[3][-1], texts[1], texts[2]


def tensor(data):
    """Return (name, sizes) of an input or output; a size without a number is -1."""
    parts = dict(fields(data))
    kind = dict(fields(dict(fields(parts.get(2, b""))).get(1, b"")))
    sizes = [dict(fields(value)).get(1, -1) for number, value in fields(kind.get(2, b""))]
    return parts[1].decode(), sizes
