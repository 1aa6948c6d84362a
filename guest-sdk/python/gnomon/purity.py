"""What a projection must not use raises, and says why: the sandbox could only trap.

There is no clock and no randomness, and no module can be loaded once the component is made. Modules
may still use them while they are loaded, at build time, as ``logging`` does.
"""

import datetime
import gc
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

# These are imported by others only when they are needed, and then it is too late.
import _strptime  # type: ignore[import-not-found]  # noqa: F401
import encodings.ascii  # noqa: F401
import encodings.idna  # noqa: F401
import encodings.latin_1  # noqa: F401
import encodings.utf_16  # noqa: F401


class ImpureError(Exception):
    """A projection asked for something that differs from run to run."""


_is_sealed = False


def _no_clock() -> None:
    if _is_sealed:
        raise ImpureError("a projection has no clock; the time of an event is event.recorded_at")


def _no_randomness() -> None:
    if _is_sealed:
        raise ImpureError("a projection has no randomness: the same events must give the same rows")


def _checked(function: Callable[..., Any], check: Callable[[], None]) -> Callable[..., Any]:
    @wraps(function)
    def checked(*positional: Any, **named: Any) -> Any:
        check()
        return function(*positional, **named)

    return checked


def _told_the_time(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def told(*positional: Any) -> Any:
        if not positional:
            _no_clock()
        return function(*positional)

    return told


def _check(module: ModuleType, names: Sequence[str], check: Callable[[], None]) -> None:
    for name in names:
        if hasattr(module, name):
            setattr(module, name, _checked(getattr(module, name), check))


def _check_method(kind: type, name: str, check: Callable[[], None]) -> None:
    """Makes a class method of a type that cannot be changed check first.

    A subclass in its place would not do: what the type's own methods give, such as
    ``event.recorded_at.date()``, would be no instance of it, and ``isinstance``, ``type(…) is`` and
    ``match`` would go wrong. So the dictionary behind the type is changed; ``seal`` sees to it that
    this has had its effect.
    """
    (members,) = gc.get_referents(kind.__dict__)
    original = members[name]

    def checked(cls: type, *positional: Any, **named: Any) -> Any:
        check()
        return original.__get__(None, cls)(*positional, **named)

    members[name] = classmethod(wraps(original)(checked))


class _NoImport(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        # A package may ask for an optional module of its own and go on without it.
        raise ModuleNotFoundError(
            f"{fullname} is imported while an event is applied, when no module can be loaded any "
            "more: import it at the top of the file",
            name=fullname,
        )


def seal() -> None:
    """From now on whatever is impure raises, and nothing can be imported that is not loaded."""
    global _is_sealed
    _is_sealed = True
    for clock in (datetime.datetime.now, datetime.datetime.utcnow, datetime.datetime.today, datetime.date.today):
        try:
            clock()
        except ImpureError:
            continue
        raise RuntimeError(f"{clock.__qualname__} cannot be taken away in this version of Python")
    sys.meta_path[:] = [_NoImport()]


_CLOCKS = [
    name
    for clock in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for name in (clock, f"{clock}_ns")
]

def _uses_hidden_generator(name: str) -> bool:
    return isinstance(getattr(getattr(random, name), "__self__", None), random.Random)


_check(time, [*_CLOCKS, "sleep", "clock_gettime", "clock_gettime_ns"], _no_clock)
for _name in ("gmtime", "localtime", "ctime", "asctime"):
    setattr(time, _name, _told_the_time(getattr(time, _name)))
_check_method(datetime.date, "today", _no_clock)
_check_method(datetime.datetime, "now", _no_clock)
_check_method(datetime.datetime, "utcnow", _no_clock)
_check(random, [*filter(_uses_hidden_generator, dir(random)), "_urandom"], _no_randomness)
_check(os, ["urandom", "getrandom"], _no_randomness)
