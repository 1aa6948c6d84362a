"""JSON without loss."""

import json
import math
import re
from typing import Any, NoReturn

# Only then can a number be beyond what a float holds.
_MAY_BE_TOO_LARGE = re.compile(r"[eE]\+?0*[1-9]\d\d|\d{300}")


def parse(text: str) -> Any:
    """What ``json.loads`` makes of it, but no number becomes an infinity."""
    if _MAY_BE_TOO_LARGE.search(text) is None:
        return json.loads(text)
    return json.loads(text, parse_float=_finite)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is beyond what a float can hold; the text of the JSON has its digits")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class Json:
    """A JSON document as its text, in which numbers keep every digit."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        json.loads(text, parse_constant=_no_constant)
        self.text = text

    @classmethod
    def of(cls, value: Any) -> "Json":
        """The document of dicts, lists, texts, numbers, booleans and None."""
        return cls(json.dumps(value, ensure_ascii=False, allow_nan=False))

    @property
    def value(self) -> Any:
        """Parsed, by ``json.loads``; a number beyond what a float can hold raises."""
        return parse(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Json({self.text!r})"
