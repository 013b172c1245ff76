"""Blocks of channels: which layout each tensor of a network has."""
