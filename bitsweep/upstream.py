"""Whether a package that is mended here is still the one that the mend was written for."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version


def fits(package: str, known: str, functions: Mapping[Callable, Sequence[str]]) -> bool:
    """Return whether the package is of the version `known` and its functions take what they did.

    `functions` have the names of their parameters. Warns in a line on stderr where it is not so.
    """
    found = version(package)
    changed = [
        function.__qualname__
        for function, parameters in functions.items()
        if list(inspect.signature(function).parameters) != list(parameters)
    ]
    if found == known and not changed:
        return True
    other = f", and {', '.join(changed)} changed" if changed else ""
    print(
        f"Warning: {package} is {found}{other}; what bitsweep mends of {known} is left as it is",
        file=sys.stderr,
    )
    return False
