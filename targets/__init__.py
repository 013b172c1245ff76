"""Backends, one a folder, and boards, one a file in boards/."""
