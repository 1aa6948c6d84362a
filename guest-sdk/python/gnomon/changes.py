"""How ``patch`` and ``merge`` change a column, besides setting it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is more than a new value."""

    kind: str
    value: Any


def add(value: Any) -> Change:
    """Adds to an integer, float or decimal column; null counts as zero."""
    return Change("add", value)


def least(value: Any) -> Change:
    """Keeps the smaller of the column and the value; null is replaced."""
    return Change("least", value)


def greatest(value: Any) -> Change:
    """Keeps the larger of the column and the value; null is replaced."""
    return Change("greatest", value)
