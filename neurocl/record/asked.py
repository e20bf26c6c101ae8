"""What was asked for and is not in the file: said once, when it is closed, rather than passed over."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase

from torch import nn

from neurocl.record.passes import Passes
from neurocl.record.selection import SENT, Selection
from neurocl.record.taps import VARIABLES, uncompiled, warn_of_sequences

SHOWN = 4  # populations or parameters named in a warning
WEIGHT_NAMES = next(part.default for part in fields(Selection) if part.name == "weight_names")


class Asked:
    """Compares a selection with the networks that were attached, and with what came of it.

    Args:
        selection: What was asked for.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.populations: dict[str, None] = {}
        self.parameters: dict[str, None] = {}
        self.circuits = False
        self.said: set[str] = set()  # variables of which a warning told already

    def note(self, network: nn.Module, wanted: Mapping[str, nn.Module], circuits: Iterable[str]) -> None:
        """Take down what a network has; warn of neurons that do not tell what is asked for."""
        self.populations |= dict.fromkeys([*wanted, *circuits])
        self.parameters |= dict.fromkeys(uncompiled(name) for name, _ in network.named_parameters())
        self.circuits = self.circuits or bool([*circuits])
        self.said.update(warn_of_sequences(wanted, self.selection.variables))

    def warn(self, passes: Passes) -> None:
        """Warn of everything that was asked for and is not there."""
        if not self.populations:
            return
        for text in self._missing(passes):
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def _missing(self, passes: Passes) -> Iterator[str]:
        if passes.entered and not passes.has:
            yield (
                f"populations must be called to be recorded; none of {shown(self.populations)} was, in "
                f"{passes.entered} calls and blocks: call the network that the recorder has; if it was compiled and "
                "called before, make the recorder first, or call torch.compiler.reset()"
            )
            return
        has = set().union(*passes.has.values())
        if has:
            yield from self._variables(passes, has)
        if isinstance(self.selection.neurons, Mapping):
            for name in self.selection.neurons:
                if name not in self.populations and name not in VARIABLES | has:
                    yield (
                        f"neurons must be named by population or variable; nothing is named {name!r}, whose neurons "
                        f"were not chosen: there are {shown(self.populations)}"
                    )
        for pattern in self.selection.populations:
            if not any(fnmatchcase(name, pattern) for name in self.populations):
                yield (
                    f"populations must name some of the networks'; none matches {pattern!r}: there are "
                    f"{shown(self.populations)}"
                )
        if self.selection.weights == "none" or self.selection.weight_names == WEIGHT_NAMES:
            return
        for pattern in self.selection.weight_names:
            if not any(fnmatchcase(name, pattern) for name in self.parameters):
                yield (
                    f"weight_names must match parameters; none matches {pattern!r}, so that no weights of it were "
                    f"recorded: there are {shown(self.parameters)}"
                )

    def _variables(self, passes: Passes, has: set[str]) -> Iterator[str]:
        """Yield what is to be said of variables of which there is nothing."""
        asked = [name for name in self.selection.variables if name not in has | self.said]
        if has.intersection(SENT, self.selection.variables):  # a population sends on one of them
            asked = [name for name in asked if name not in SENT]
        if self.circuits:  # whose answers come with the second task
            asked = [name for name in asked if name != "lateral"]
        if asked:
            known = [f"{name} has {', '.join(sorted(each))}" for name, each in passes.has.items() if each]
            yield f"nothing of {', '.join(asked)} was recorded: {shown(known, '; ')}: ask for these, or record others"


def shown(names: Iterable[str], between: str = ", ") -> str:
    """Return the first names, and how many more there are."""
    every = [*names]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return between.join(every[:SHOWN]) + more
