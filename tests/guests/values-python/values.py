"""Copies values of every column type from events to rows and from row to row.

``tests/tests/end_to_end/languages.rs`` defines it, for all languages.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, TypeVar
from uuid import UUID

from gnomon import Event, Json, Projection, Tables, row

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@row("value_copies", key="name")
class ValueCopy:
    name: str
    truth: bool | None
    whole: int | None
    fraction: float | None
    exact: Decimal | None
    words: str | None
    octets: bytes | None
    moment: datetime | None
    day: date | None
    identity: UUID | None
    document: Json | None


@row("value_cells", key="name")
class ValueCell:
    """A value of every type, of which none is null."""

    name: str
    truth: bool
    whole: int
    fraction: float
    exact: Decimal
    words: str
    octets: bytes
    moment: datetime
    day: date
    identity: UUID
    document: Json


projection = Projection("value_copies", version=1, tables=[ValueCopy, ValueCell])

COLUMNS = ("truth", "whole", "fraction", "exact", "words", "moment", "day", "identity", "document")


def given(column: str) -> None:
    """Puts what an event has into a column of its own."""

    def cell(value: Any) -> Any:
        return Json.of(value) if column == "document" else value

    @projection.on(f"{column.title()}Given")
    def cell_given(event: Event, tables: Tables) -> None:
        data = event.data
        tables[ValueCell].merge(data["name"], **{column: cell(data["cell"])})

    @projection.on(f"Maybe{column.title()}Given")
    def maybe_cell_given(event: Event, tables: Tables) -> None:
        value = event.data.get("cell")
        changed = None if value is None else cell(value)
        tables[ValueCopy].merge(event.data["name"], **{column: changed})


for column in COLUMNS:
    given(column)


class Number(IntEnum):
    FIVE = 5


class Word(StrEnum):
    FIVE = "five"


class OldWord(str, Enum):
    FIVE = "five"


class Text(str):
    def __str__(self) -> str:
        return "something else"


class Money(Decimal):
    pass


class Day(date):
    pass


class Moment(datetime):
    pass


class Octets(bytes):
    pass


BERLIN = timezone(timedelta(hours=2))
JANUARY_15 = date(2025, 1, 15)
AT = datetime(2025, 1, 15, 10, 30, tzinfo=BERLIN)

# Values that the code makes, and no event has.
MADE: dict[str, Callable[[], dict[str, Any]]] = {
    "nan": lambda: {"fraction": math.nan},
    "infinity": lambda: {"fraction": math.inf},
    "negative infinity": lambda: {"fraction": -math.inf},
    "negative zero": lambda: {"fraction": -0.0},
    "a whole number as a float": lambda: {"fraction": 5},
    "a whole number too large for a float": lambda: {"fraction": 10**400},
    "80 digits": lambda: {"exact": int("1234567890" * 8)},
    "100 places": lambda: {"exact": Decimal("-0." + "1234567890" * 10)},
    "a whole number as a decimal": lambda: {"exact": -5},
    "a fraction as a decimal": lambda: {"exact": 1.5},
    "no decimal": lambda: {"exact": ""},
    "a decimal with an exponent": lambda: {"exact": Decimal("1E+3")},
    "a decimal that is too long": lambda: {"exact": Decimal("1E+999999")},
    "a decimal that is no number": lambda: {"exact": Decimal("NaN")},
    "a decimal of a class": lambda: {"exact": Money("1.50")},
    "a number of its own type": lambda: {"whole": Number.FIVE},
    "a whole float": lambda: {"whole": 5.0},
    "a whole decimal": lambda: {"whole": Decimal(5)},
    "a number beyond 64 bits": lambda: {"whole": 2**63},
    "another type": lambda: {"whole": "5"},
    "a boolean": lambda: {"whole": True},
    "a number as a boolean": lambda: {"truth": 1},
    "nothing": lambda: {"whole": None},
    "empty": lambda: {"words": ""},
    "nul": lambda: {"words": "a\0b"},
    "half a character": lambda: {"words": "a\ud800"},
    "a text of its own type": lambda: {"words": Text("five")},
    "a text of an enum": lambda: {"words": Word.FIVE},
    "a text of an old enum": lambda: {"words": OldWord.FIVE},
    "bytes as a text": lambda: {"words": b"five"},
    "bytes of a class": lambda: {"octets": Octets(b"\x02\x03")},
    "a bytearray": lambda: {"octets": bytearray(b"\x02\x03")},
    "bytes of a part": lambda: {"octets": memoryview(b"\x01\x02\x03\x04")[1:3]},
    "a list of bytes": lambda: {"octets": [2, 3]},
    "a text as bytes": lambda: {"octets": "23"},
    "a day": lambda: {"day": JANUARY_15},
    "a day of a moment": lambda: {"day": AT.date()},
    "a day of a text": lambda: {"day": date.fromisoformat("2025-01-15")},
    "a day of another form": lambda: {"day": datetime.strptime("15.01.2025", "%d.%m.%Y").date()},
    "a day of a number": lambda: {"day": date.fromordinal(739266)},
    "a day of a week": lambda: {"day": date.fromisocalendar(2025, 3, 3)},
    "a day of a timestamp": lambda: {"day": date.fromtimestamp(1736937000)},
    "a day after another": lambda: {"day": date(2025, 1, 14) + timedelta(days=1)},
    "a day in the place of another": lambda: {"day": date(2025, 2, 15).replace(month=1)},
    "a day of a class": lambda: {"day": Day(2025, 1, 15)},
    "the last day": lambda: {"day": date.max},
    "a moment as a day": lambda: {"day": AT},
    "a day as a moment": lambda: {"moment": JANUARY_15},
    "a moment without a zone": lambda: {"moment": datetime(2025, 1, 15)},
    "a moment in a zone": lambda: {"moment": AT.replace(microsecond=123456)},
    "a moment of a class": lambda: {"moment": Moment(2025, 1, 15, 8, 30, 0, 123456, UTC)},
    "a moment put together": lambda: {"moment": datetime.combine(JANUARY_15, time(8, 30, 0, 123456), UTC)},
    "a moment of a timestamp": lambda: {"moment": datetime.fromtimestamp(1736929800, UTC)},
    "types are as ever": lambda: {"truth": are_as_ever()},
    "no UUID": lambda: {"identity": "f47ac10b58cc4372a5670e02b2c3d479"},
    "a UUID": lambda: {"identity": UUID("f47ac10b58cc4372a5670e02b2c3d479")},
    "a dict as JSON": lambda: {"document": {"a": 1}},
    "nan in JSON": lambda: {"document": Json.of({"a": [math.nan]})},
    "nan in the text of JSON": lambda: {"document": Json("[NaN]")},
    "half a character in JSON": lambda: {"document": Json.of("\ud800")},
    "a large number in JSON": lambda: {"document": Json.of({"a": 10**20})},
}


def are_as_ever() -> bool:
    """Whether ``isinstance``, ``type`` and ``match`` say of days and moments what they say elsewhere."""
    match AT.date():
        case date() if not isinstance(AT.date(), datetime):
            return type(AT.date()) is date and type(AT) is datetime and isinstance(AT, date)
        case _:
            return False


@projection.on("ValueMade")
def value_made(event: Event, tables: Tables) -> None:
    tables[ValueCell].merge(event.data["name"], **MADE[event.data["how"]]())


def parsed(text: str | None, parse: Callable[[str], T]) -> T | None:
    return None if text is None else parse(text)


def moment(microseconds: str) -> datetime:
    return EPOCH + timedelta(microseconds=int(microseconds))


def day(days: str) -> date:
    return date.fromordinal(EPOCH.toordinal() + int(days))


@projection.on("ValueSeen")
def value_seen(event: Event, tables: Tables) -> None:
    data = event.data
    tables[ValueCopy].put(
        ValueCopy(
            name=data["name"],
            truth=parsed(data.get("truth"), "true".__eq__),
            whole=parsed(data.get("whole"), int),
            fraction=parsed(data.get("fraction"), float),
            exact=parsed(data.get("exact"), Decimal),
            words=data.get("words"),
            octets=parsed(data.get("octets"), bytes.fromhex),
            moment=parsed(data.get("moment"), moment),
            day=parsed(data.get("day"), day),
            identity=parsed(data.get("identity"), UUID),
            document=parsed(data.get("document"), Json),
        )
    )


@projection.on("ValueCopied")
def value_copied(event: Event, tables: Tables) -> None:
    copies = tables[ValueCopy]
    found = copies.get(event.data["from"])
    if found is None:
        raise LookupError(f"there is no value {event.data['from']}")
    copies.put(replace(found, name=event.data["to"]))


@projection.on("LineSaid")
def line_said(event: Event, tables: Tables) -> None:
    print(event.data["line"])


@projection.on("EventRefused")
def event_refused(event: Event, tables: Tables) -> None:
    raise ValueError(event.data["why"])


@projection.on("FaultMet")
def fault_met(event: Event, tables: Tables) -> None:
    nothing = tables[ValueCopy].get("no such value")
    print(nothing.words)  # type: ignore[union-attr]
