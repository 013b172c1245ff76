"""Passes that put any model into the one form the rest of edgecc reads, for every target alike."""

PREPARE = (
    "inline_functions, name_everything, lift_constants, infer_shapes, fold_constants, "
    "widen_float16, remove_identities, resolve_auto_pad, fold_pad, fold_batchnorm, fold_affine, "
    "remove_unused, name_everything, infer_shapes"
)
"""The way every model takes first, in the text form of `edgecc.pipeline.Pipeline`."""
