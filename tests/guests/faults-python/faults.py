"""Does what an event's type tells it to, in ways in which an author errs.

``tests/tests/end_to_end/python.rs`` says what each must come to.
"""

import json
import logging
import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from deep import deep
from gnomon import Event, Json, Projection, Tables, add, greatest, row

print("printed while the module was loaded")


@row("notes", key="id", indexes=["whole"])
class Note:
    id: str
    whole: int | None = None
    fraction: float | None = None
    exact: Decimal | None = None
    octets: bytes | None = None
    moment: datetime | None = None
    day: date | None = None
    document: Json | None = None


@row("pairs", key=["left", "right"])
class Pair:
    left: str
    right: int
    count: int


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


projection = Projection("faults", version=1, tables=[Note, Pair])


@projection.on("RaisesError")
def raises_error(event: Event, tables: Tables) -> None:
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise ValueError('out of "range" 👟') from cause


@projection.on("Exits")
def exits(event: Event, tables: Tables) -> None:
    sys.exit("gone")


@projection.on("RaisesUnshowable")
def raises_unshowable(event: Event, tables: Tables) -> None:
    raise Unshowable


@projection.on("RaisesHalfACharacter")
def raises_half_a_character(event: Event, tables: Tables) -> None:
    raise ValueError("half \ud83d")


@projection.on("MeetsNone")
def meets_none(event: Event, tables: Tables) -> None:
    deep(3)


@projection.on("RecursForEver")
def recurs_for_ever(event: Event, tables: Tables) -> None:
    recurs_for_ever(event, tables)


@projection.on("IsAsynchronous")  # type: ignore[type-var]
async def is_asynchronous(event: Event, tables: Tables) -> None:
    pass


@projection.on("ImportsLate")
def imports_late(event: Event, tables: Tables) -> None:
    import csv

    print(csv)


def does(event_type: str, fault: Callable[[Event, Tables], Any]) -> None:
    def handler(event: Event, tables: Tables) -> None:
        fault(event, tables)

    projection.on(event_type)(handler)


def puts(event_type: str, **columns: Any) -> None:
    does(event_type, lambda _, tables: tables[Note].put(Note(**{"id": "a", **columns})))


does("ParsesNoJson", lambda *_: json.loads("{no json"))
does("AsksForTheTime", lambda *_: time.time())
does("AsksForTheDatetime", lambda *_: datetime.now(UTC))
does("AsksForTheDate", lambda *_: date.today())
does("MeasuresTime", lambda *_: time.perf_counter_ns())
does("AsksForLocalTime", lambda *_: time.localtime())
does("Sleeps", lambda *_: time.sleep(1))
does("ThrowsDice", lambda *_: random.randint(1, 6))
does("AsksForRandomBytes", lambda *_: os.urandom(4))
does("MakesAUuid", lambda *_: uuid.uuid4())
does("AsksForMetadata", lambda event, _: event.metadata)
does("AsksForAnotherTable", lambda _, tables: tables[int])
puts("PutsAFraction", whole=1.5)
puts("PutsTrueAsNumber", whole=True)
puts("PutsTooLargeAnInteger", whole=2**63)
puts("PutsTooSmallAnInteger", whole=-(2**63) - 1)
puts("PutsATooLargeNumber", fraction=10**400)
puts("PutsAFloatAsDecimal", exact=0.1)
puts("PutsNoDecimal", exact=Decimal("NaN"))
puts("PutsATextAsBytes", octets="text")
puts("PutsANaiveTime", moment=datetime(2025, 1, 15))
puts("PutsATimeAsDay", day=datetime(2025, 1, 15, tzinfo=UTC))
puts("PutsADictAsJson", document={})
puts("PutsHalfACharacter", id="\ud83d")
puts("PutsNoneIntoTheKey", id=None)
does("PutsADict", lambda _, tables: tables[Note].put({"id": "a"}))  # type: ignore[arg-type]
does("AddsNothing", lambda _, tables: tables[Note].merge("a", whole=add(None)))
does("AddsAText", lambda _, tables: tables[Note].merge("a", whole=add("1")))
does("ChangesAnUnknownColumn", lambda _, tables: tables[Note].patch("a", nonsense=1))
does("FindsWithoutALimit", lambda _, tables: tables[Note].find({"whole": 1}, limit=-1))
does("TakesATextForAPair", lambda _, tables: tables[Pair].get("left"))
does("BreaksItsSchema", lambda _, tables: tables[Note].find({"fraction": 1.0}, limit=10))


@projection.on("Prints")
def prints(event: Event, tables: Tables) -> None:
    print("a text", 7, None)
    print("two\nlines", end="")
    print("in red", file=sys.stderr)
    logging.getLogger("shop").info("logged %s", 7)
    logging.warning("half \ud83d")


@projection.on("Works")
def works(event: Event, tables: Tables) -> None:
    """Every operation once, where they work."""
    notes, pairs = tables[Note], tables[Pair]
    whole = event.data["whole"]
    notes.put(Note("a", whole=whole, moment=event.recorded_at, document=Json.of({"large": whole})))
    notes.put(Note("b", whole=7, octets=b"\0\xff", day=date(1969, 12, 31)))
    east = datetime.strptime("1970-01-01 00:59:59.999999 +0100", "%Y-%m-%d %H:%M:%S.%f %z")
    notes.put(Note("c", whole=7, moment=east, exact=Decimal("1E+3")))
    a, none, b = notes.get_many(["a", "none", "b"])
    assert a and a.document and b and b.octets and b.day
    found = [note.id for note in notes.find({"whole": 7}, limit=10)]
    notes.patch_where({"whole": 7}, fraction=add(0.5), day=greatest(date(1970, 1, 1)))
    pairs.merge(("x", 1), count=add(2))
    pairs.merge(("x", 1), count=add(-1))
    pairs.put(Pair("y", 1, 0))
    pairs.remove(("y", 1))
    notes.put(Note("d", whole=8))
    notes.remove_where({"whole": 8})
    pair = pairs.get(("x", 1))
    assert pair
    report = {
        "whole": a.whole,
        "json": a.document.value["large"] == whole,
        "none": none is None,
        "octets": list(b.octets),
        "day": b.day.isoformat(),
        "tomorrow": str(b.day + timedelta(days=1)),
        "found": found,
        "pair": pair.count,
        "event": [event.stream_id, event.category, event.entity_id, event.version, event.data_text],
    }
    notes.put(Note("report", document=Json.of(report)))
