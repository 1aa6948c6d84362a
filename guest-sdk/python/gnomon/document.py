"""JSON without loss."""

import json
from typing import Any


class Json:
    """A JSON document as its text, in which numbers keep every digit."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        json.loads(text)
        self.text = text

    @classmethod
    def of(cls, value: Any) -> "Json":
        """The document of dicts, lists, texts, numbers, booleans and None."""
        return cls(json.dumps(value, ensure_ascii=False, allow_nan=False))

    @property
    def value(self) -> Any:
        """Parsed, by ``json.loads``."""
        return json.loads(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Json({self.text!r})"
