"""What all functions of the package do with their arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

from ._data import Data, Described, check_options, describe
from ._errors import unfit
from ._network import Network
from ._profile_class import Profile

Protect = Union[str, Sequence[str], Callable[[str], bool]]


def described(
    network: Network, data: Any, options: Mapping[str, Any], function: str, others: Mapping[str, Any] = {}
) -> Described | None:
    """Brings the argument ``data`` into the library's form; None without data."""
    check_options(options, function, others)
    if data is None:
        if options:
            raise unfit(f"{', '.join(options)} without data", remedy="set data, or leave out its options")
        return None
    return describe(data, options, network._native.sample())


def described_test(network: Network, test: Any, data: Any, options: Mapping[str, Any]) -> Described | None:
    """Brings the argument ``test`` into the library's form: all of it, with the preprocessing of the data."""
    if test is None:
        return None
    whole = {**(data.options if isinstance(data, Data) else {}), **options}
    left_out = ["images", "sample", "shard"]
    if isinstance(test, (str, os.PathLike)):
        left_out.append("transform")
    whole = {name: value for name, value in whole.items() if name not in left_out}
    if isinstance(test, Data):
        whole |= test.options
    return describe(test, whole, network._native.sample(), "test")


def protected(network: Network, protect: Protect) -> list[str]:
    """Returns the names of the layers that keep all channels."""
    if not callable(protect) and not protect:
        return []
    names = network._native.nodes()
    if callable(protect):
        found = [name for name in names if protect(name)]
        return found if found else _no_layer("the function")
    chosen = []
    for pattern in [protect] if isinstance(protect, str) else protect:
        try:
            matches = [name for name in names if re.search(pattern, name)]
        except re.error as error:
            raise unfit(
                "protect is not a regular expression",
                got=f"{pattern}: {error}",
                remedy="give patterns of Python's module re, or a function of the name",
            ) from error
        chosen += matches if matches else _no_layer(pattern)
    return chosen


def _no_layer(pattern: str) -> list[str]:
    raise unfit(
        "protect matches no layer of the network", got=pattern, remedy="see the layers with Network.summary()"
    )


def statistics(profile: Any) -> dict[str, Any]:
    """Returns the options for a profile, or for the path of one."""
    if profile is None:
        return {}
    if isinstance(profile, Profile):
        return {"profile": profile._native}
    if isinstance(profile, (str, os.PathLike)):
        return {"profile_file": os.fspath(profile)}
    raise TypeError(f"profile takes a Profile or the path of one, got {type(profile).__name__}")

