"""What the ONNX parser of each TensorRT takes: operators by release, and rules for their use.

From docs/operators.md of onnx-tensorrt at 7.2, 8.0, 8.4, 8.5 and 10.15, and its docs/Changelog.md
for the releases between. What they do not tell is let pass.
"""
