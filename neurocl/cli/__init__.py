"""The command line, thin: it reads words, calls :mod:`neurocl.run`, and prints.

Importing it is quick: torch and the rooms below are imported by the commands that need them.
"""

from neurocl.cli.entry import main

__all__ = ["main"]
