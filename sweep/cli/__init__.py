"""The command line: `midef VERB`."""

from midef.sweep.cli.app import main

__all__ = ["main"]
