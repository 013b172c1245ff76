"""Passes that replace a convolution by a sequence of cheaper ones."""

TIDY = "fold_gather"
"""What clears up behind them, in the text form of `edgecc.pipeline.Pipeline`."""
