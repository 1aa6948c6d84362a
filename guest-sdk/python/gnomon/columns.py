"""The types of columns: what Python has for each, and how it becomes a value of the contract.

What the contract's types cannot carry must be refused here: the boundary could only trap.
"""

import re
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
# What the databases can hold.
DECIMAL_INTEGER_DIGITS_MAX = 131_072
DECIMAL_FRACTION_DIGITS_MAX = 16_383
SHOWN_CHARACTERS_MAX = 80
# As JSON has what it has no type for; the same in all languages.
DECIMAL_TEXT = re.compile(r"-?[0-9]+(\.[0-9]+)?")
TIMESTAMP_TEXT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.,][0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
DATE_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
UUID_TEXT = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


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
    try:
        text = repr(value)
    except Exception:
        text = f"a value of type {type(value).__name__}"
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


def _is_int(value: Any) -> bool:
    # True is an int, but not meant as one.
    return isinstance(value, int) and not isinstance(value, bool)


def _read(parse: Callable[[str], Any], form: re.Pattern[str], text: str) -> Any:
    """What a text in this form stands for, or None; Python itself reads other forms, too."""
    try:
        return parse(text.upper()) if form.fullmatch(text) else None
    except ValueError:
        return None


def _boolean(value: Any) -> Any:
    return types.Value_Boolean(value) if isinstance(value, bool) else None


def _integer(value: Any) -> Any:
    fits = _is_int(value) and INTEGER_MIN <= value <= INTEGER_MAX
    return types.Value_Integer(int(value)) if fits else None


def _float(value: Any) -> Any:
    if isinstance(value, float):
        return types.Value_Float(float(value))
    try:
        return types.Value_Float(float(value)) if _is_int(value) else None
    except OverflowError:
        return None


def _decimal(value: Any) -> Any:
    if _is_int(value):
        # Unlike str, it has no limit of digits.
        value = Decimal(int(value))
    if isinstance(value, str):
        return types.Value_Decimal(value) if DECIMAL_TEXT.fullmatch(value) else None
    if not isinstance(value, Decimal) or not value.is_finite():
        return None
    # Plain notation of 1E+999999999 is a gigabyte.
    exponent: Any = value.as_tuple().exponent
    fits = -DECIMAL_FRACTION_DIGITS_MAX <= exponent and value.adjusted() < DECIMAL_INTEGER_DIGITS_MAX
    return types.Value_Decimal(Decimal.__format__(value, "f")) if fits else None


def _text(value: Any) -> Any:
    return types.Value_Text(value) if isinstance(value, str) and is_carried(value) else None


def _bytes(value: Any) -> Any:
    fits = isinstance(value, bytes | bytearray | memoryview)
    return types.Value_Bytes(bytes(value)) if fits else None


def _timestamp(value: Any) -> Any:
    if isinstance(value, str):
        value = _read(datetime.fromisoformat, TIMESTAMP_TEXT, value)
    if not isinstance(value, datetime) or value.utcoffset() is None:
        return None
    return types.Value_Timestamp((value - EPOCH) // MICROSECOND)


def _date(value: Any) -> Any:
    if isinstance(value, str):
        value = _read(date.fromisoformat, DATE_TEXT, value)
    # A datetime is a date, but not meant as one.
    fits = isinstance(value, date) and not isinstance(value, datetime)
    return types.Value_Date(value.toordinal() - EPOCH_DAY) if fits else None


def _uuid(value: Any) -> Any:
    if isinstance(value, str):
        return types.Value_Uuid(value) if UUID_TEXT.fullmatch(value) else None
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
    float: Kind(_T.FLOAT, "a float or an int", _float, _same),
    Decimal: Kind(_T.DECIMAL, 'a finite Decimal, an int, or a str such as "-12.50"', _decimal, Decimal),
    str: Kind(_T.TEXT, "a str without half characters", _text, _same),
    bytes: Kind(_T.BYTES, "bytes", _bytes, _same),
    datetime: Kind(_T.TIMESTAMP, 'a datetime with a time zone, or a str such as "2025-01-15T10:30:00Z"', _timestamp, datetime_of),
    date: Kind(_T.DATE, 'a date, or a str such as "2025-01-15"', _date, _date_of),
    UUID: Kind(_T.UUID, "a UUID, or a str of 36 characters", _uuid, UUID),
    Json: Kind(_T.JSON, "a Json", _json, Json),
}
