"""What TVM compiled, called from Python through the C ABI of the libraries in the bundle.

Python 3.6 and later, numpy; no TVM package. The layouts are those of tvm/ffi/c_api.h and dlpack.h.
"""

import ctypes
import os

import numpy as np

CPU, POOLED_ALLOCATOR, ALIGNMENT = 1, 2, 64
INT, BOOL, RAW_STR, FUNCTION, TENSOR, ARRAY = 1, 2, 8, 68, 70, 71
CODES = {"i": 0, "u": 1, "f": 2, "b": 6}  # DLDataTypeCode by numpy's kind
KINDS = {code: kind for kind, code in CODES.items()}
OBJECT_BYTES = 24  # TVMFFIObject, in front of everything a handle points to
HANDLE = ctypes.c_void_p


class Any(ctypes.Structure):
    """TVMFFIAny: a value, or a handle, and what it is."""

    _fields_ = [("type_index", ctypes.c_int32), ("padding", ctypes.c_uint32), ("value", HANDLE)]


class Bytes(ctypes.Structure):
    """TVMFFIByteArray."""

    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = [
        ("data", HANDLE),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


Deleter = ctypes.CFUNCTYPE(None, HANDLE)


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = [("tensor", Tensor), ("context", HANDLE), ("deleter", Deleter)]


@Deleter
def keep(_):
    """Delete nothing: the memory is Python's."""


class Compiled:
    """The function of a model.so: arrays in, a list of arrays out."""

    def __init__(self, folder, path, inputs, outputs):
        """Load it, with `libtvm_ffi.so` and `libtvm_runtime.so` in `folder`."""
        libraries = [
            ctypes.CDLL(os.path.join(folder, name), mode=ctypes.RTLD_GLOBAL)
            for name in ("libtvm_ffi.so", "libtvm_runtime.so")
        ]
        self._ffi = libraries[0]
        self._ffi.TVMFFIFunctionCall.argtypes = [HANDLE, HANDLE, ctypes.c_int32, HANDLE]
        self._ffi.TVMFFIObjectDecRef.argtypes = [HANDLE]
        self._ffi.TVMFFITensorFromDLPack.argtypes = [
            *(HANDLE, ctypes.c_int32, ctypes.c_int32, HANDLE)
        ]
        self._outputs = outputs
        module = self._call(self._global(b"ffi.ModuleLoadFromFile"), text(os.fsencode(path)))
        machine = self._call(self._method(module, b"vm_load_executable"))
        device = [Any(INT, 0, CPU), Any(INT, 0, 0), Any(INT, 0, POOLED_ALLOCATOR)]
        self._call(self._method(machine, b"vm_initialization"), *device)
        self._main = self._method(machine, b"main")
        self._inputs = [self._input(tensor["dtype"], tensor["shape"]) for tensor in inputs]

    def __call__(self, *arrays):
        """Run it once."""
        for (buffer, _, _), array in zip(self._inputs, arrays):
            np.copyto(buffer, array, casting="no")
        result = self._call(self._main, *[value for _, value, _ in self._inputs])
        try:
            return [array_of(value) for value in items(result)]
        finally:
            self._ffi.TVMFFIObjectDecRef(result.value)

    def _input(self, dtype, shape):
        """Return an aligned array, TVM's view of it, and what must live as long."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memory = np.empty(size + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        array = memory[start : start + size].view(dtype).reshape(shape)
        sizes = (ctypes.c_int64 * len(shape))(*shape)
        tensor = Tensor(
            *(array.ctypes.data, CPU, 0, len(shape), CODES[dtype.kind], dtype.itemsize * 8, 1),
            sizes,
        )
        managed = Managed(tensor, None, keep)
        value = Any(TENSOR, 0, None)
        place = ctypes.byref(value, Any.value.offset)
        if self._ffi.TVMFFITensorFromDLPack(ctypes.byref(managed), ALIGNMENT, 1, place):
            raise RuntimeError("TVM does not take a tensor: " + self._error())
        return array, value, (sizes, managed)

    def _call(self, function, *arguments):
        result = Any()
        packed = (Any * len(arguments))(*arguments)
        if self._ffi.TVMFFIFunctionCall(function, packed, len(arguments), ctypes.byref(result)):
            raise RuntimeError("TVM: " + self._error())
        return result

    def _global(self, name):
        function = HANDLE()
        key = Bytes(name, len(name))
        if self._ffi.TVMFFIFunctionGetGlobal(ctypes.byref(key), ctypes.byref(function)):
            raise RuntimeError("TVM: " + self._error())
        if not function:
            raise RuntimeError("libtvm_runtime.so has no function " + name.decode())
        return function

    def _method(self, module, name):
        function = self._call(
            self._global(b"ffi.ModuleGetFunction"), module, text(name), Any(BOOL, 0, 1)
        )
        if function.type_index != FUNCTION:
            raise RuntimeError("model.so has no function " + name.decode())
        return function.value

    def _error(self):
        error = HANDLE()
        self._ffi.TVMFFIErrorMoveFromRaised(ctypes.byref(error))
        if not error:
            return "no message"
        _, message = (Bytes * 2).from_address(error.value + OBJECT_BYTES)  # its kind stands first
        return ctypes.string_at(message.data, message.size).decode(errors="replace")


def text(value):
    """Return a C string as an argument; ctypes keeps it as long as that."""
    return Any(RAW_STR, 0, ctypes.cast(ctypes.c_char_p(value), HANDLE))


def items(result):
    """Return the tensors of a result: itself, or those in the array it is."""
    if result.type_index == TENSOR:
        return [result]
    if result.type_index != ARRAY:
        raise RuntimeError("model.so returns no tensors")
    data, size = (ctypes.c_int64 * 2).from_address(result.value + OBJECT_BYTES)
    return list((Any * size).from_address(data))


def array_of(value):
    """Return a copy of a tensor."""
    tensor = Tensor.from_address(value.value + OBJECT_BYTES)
    shape = tensor.shape[: tensor.ndim]
    dtype = np.dtype("{}{}".format(KINDS[tensor.code], tensor.bits // 8))
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = ctypes.string_at(tensor.data + tensor.byte_offset, size)
    return np.frombuffer(buffer, dtype).reshape(shape)
