"""`python -m edgecc` is the command `edgecc`."""

from edgecc.cli import main

main()
