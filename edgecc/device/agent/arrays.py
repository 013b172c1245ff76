"""Inputs for a network that is only timed: any finite numbers, as .npy, without numpy."""

import random
import struct

KINDS = {
    "float64": ("<f8", "d"),
    "float32": ("<f4", "f"),
    "float16": ("<f2", "e"),
    "int64": ("<i8", "q"),
    "int32": ("<i4", "i"),
    "int16": ("<i2", "h"),
    "int8": ("|i1", "b"),
    "uint64": ("<u8", "Q"),
    "uint32": ("<u4", "I"),
    "uint16": ("<u2", "H"),
    "uint8": ("|u1", "B"),
    "bool": ("|b1", "?"),
}
PERIOD = 4096  # numbers that are drawn; then they repeat


def write(path, dtype, shape):
    """Write an input: between 0 and 1 where it has fractions, and zeros for whole numbers.

    Whole numbers may be positions in something: 0 is one always. Raises KeyError for a type that
    is not known here.
    """
    text, code = KINDS[dtype]
    count = 1
    for size in shape:
        count *= size
    if code in "dfe":
        draw = random.Random(0)
        drawn = [draw.random() for _ in range(min(count, PERIOD))]
    else:
        drawn = [0] * min(count, PERIOD)
    block = struct.pack("<{}{}".format(len(drawn), code), *drawn)
    sizes = "".join("{}, ".format(size) for size in shape)
    header = "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}".format(text, sizes)
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    with open(path, "wb") as stream:
        stream.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        left = count * struct.calcsize("<" + code)
        while left > 0:
            stream.write(block[:left])
            left -= len(block)
