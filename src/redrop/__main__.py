"""`python -m redrop` is the same as `redrop`."""

from redrop.cli import main

main()
