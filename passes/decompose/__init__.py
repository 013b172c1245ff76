"""Passes that replace a convolution by a sequence of cheaper ones."""
