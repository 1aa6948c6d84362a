"""The types of columns: what Python has for each, and how it becomes a value of the contract.

What the contract's types cannot carry must be refused here: the boundary could only trap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from wit_world.imports import types  # type: ignore[import-not-found]

from .document import Json

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
MICROSECOND = timedelta(microseconds=1)
INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1
SHOWN_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a column, with the ways to the contract's value and back."""

    column_type: Any
    wanted: str
    encode: Callable[[Any], Any]
    """Gives the contract's value, or None if the value is none of this type."""
    decode: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    path: str
    kind: Kind
    nullable: bool

    def encode(self, value: Any) -> Any:
        """The contract's value."""
        if value is None:
            if self.nullable:
                return NULL
            raise TypeError(f"{self.path}: None, but the column is not nullable")
        encoded = self.kind.encode(value)
        if encoded is None:
            raise TypeError(f"{self.path}: {shown(value)} is not {self.kind.wanted}")
        return encoded

    def decode(self, value: Any) -> Any:
        """What stands in a row."""
        return None if value == NULL else self.kind.decode(value.value)


NULL = types.Value_Null()


def datetime_of(microseconds: int) -> datetime:
    """Microseconds since the epoch as a datetime in UTC; both are exact."""
    return EPOCH + timedelta(microseconds=microseconds)


def column(name: str, path: str, annotation: Any) -> Column:
    """The column for a field of a class."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    wanted = [option for option in options if option is not NoneType]
    kind = KINDS.get(wanted[0]) if len(wanted) == 1 else None
    if kind is None:
        names = ", ".join(known.__name__ for known in KINDS)
        raise TypeError(f"{path}: {annotation} is no type of a column; there are {names}, and … | None")
    return Column(name, path, kind, nullable=len(wanted) < len(options))


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def is_carried(text: str) -> bool:
    """Half a character, such as ``json.loads`` gives for an escape alone, has no UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _boolean(value: Any) -> Any:
    return types.Value_Boolean(value) if type(value) is bool else None


def _integer(value: Any) -> Any:
    # True is an int, but not meant as one.
    fits = isinstance(value, int) and type(value) is not bool and INTEGER_MIN <= value <= INTEGER_MAX
    return types.Value_Integer(value) if fits else None


def _float(value: Any) -> Any:
    if isinstance(value, float):
        return types.Value_Float(float(value))
    is_exact = isinstance(value, int) and type(value) is not bool and abs(value) <= 2**53
    return types.Value_Float(float(value)) if is_exact else None


def _decimal(value: Any) -> Any:
    fits = isinstance(value, Decimal) and value.is_finite()
    return types.Value_Decimal(f"{value:f}") if fits else None


def _text(value: Any) -> Any:
    return types.Value_Text(value) if isinstance(value, str) and is_carried(value) else None


def _bytes(value: Any) -> Any:
    return types.Value_Bytes(bytes(value)) if isinstance(value, bytes | bytearray) else None


def _timestamp(value: Any) -> Any:
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return types.Value_Timestamp((value - EPOCH) // MICROSECOND)


def _date(value: Any) -> Any:
    # A datetime is a date, but not meant as one.
    fits = isinstance(value, date) and not isinstance(value, datetime)
    return types.Value_Date(value.toordinal() - EPOCH_DAY) if fits else None


def _uuid(value: Any) -> Any:
    return types.Value_Uuid(str(value)) if isinstance(value, UUID) else None


def _json(value: Any) -> Any:
    return types.Value_Json(value.text) if isinstance(value, Json) and is_carried(value.text) else None


def _same(value: Any) -> Any:
    return value


def _date_of(days: int) -> date:
    return date.fromordinal(days + EPOCH_DAY)


_T = types.ColumnType
KINDS: dict[type, Kind] = {
    bool: Kind(_T.BOOLEAN, "a bool", _boolean, _same),
    int: Kind(_T.INTEGER, "an int from -2**63 to 2**63-1", _integer, _same),
    float: Kind(_T.FLOAT, "a float, or an int up to 2**53", _float, _same),
    Decimal: Kind(_T.DECIMAL, "a finite Decimal", _decimal, Decimal),
    str: Kind(_T.TEXT, "a str without half characters", _text, _same),
    bytes: Kind(_T.BYTES, "bytes", _bytes, _same),
    datetime: Kind(_T.TIMESTAMP, "a datetime with a time zone", _timestamp, datetime_of),
    date: Kind(_T.DATE, "a date", _date, _date_of),
    UUID: Kind(_T.UUID, "a UUID", _uuid, UUID),
    Json: Kind(_T.JSON, "a Json", _json, Json),
}
