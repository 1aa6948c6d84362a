"""Faults a few calls away from the handler that meets them."""

from typing import Any


def deep(levels: int) -> Any:
    if levels == 0:
        nothing: Any = None
        return nothing.field
    return deep(levels - 1)
