"""Passes that put a model into what the target's own version can read."""
