"""Copies values of every column type from events to rows and from row to row.

``tests/tests/end_to_end/languages.rs`` defines it, for all languages.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar
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


projection = Projection("value_copies", version=1, tables=[ValueCopy])


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
