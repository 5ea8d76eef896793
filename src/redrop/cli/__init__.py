"""The command line: the only layer that parses arguments and prints."""

from redrop.cli.app import main

__all__ = ["main"]
