"""Times models with onnxruntime on the device: one line of JSON for each folder given.

A folder holds model.onnx, and input0.npy and so on in the order of its inputs. Milliseconds of the
last run, of three: in a machine that counts instructions there is nothing to average.
"""

import json
import sys
import time

import numpy as np
import onnxruntime as ort


def main():
    """Print a line for each folder."""
    for folder in sys.argv[1:]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(folder + "/model.onnx", options)
        binding = session.io_binding()
        for index, value in enumerate(session.get_inputs()):
            array = np.load(f"{folder}/input{index}.npy")
            binding.bind_ortvalue_input(value.name, ort.OrtValue.ortvalue_from_numpy(array))
        for value in session.get_outputs():
            binding.bind_output(value.name)
        for _ in range(3):
            start = time.perf_counter()
            session.run_with_iobinding(binding)
            last_ms = (time.perf_counter() - start) * 1e3
        print(json.dumps({"folder": folder, "ms": last_ms}), flush=True)


if __name__ == "__main__":
    main()
