"""Write Gnomon projections in Python.

::

              parse             handler             put, merge, patch, …
    event ──> event.data ──> your function ──> dataclasses ──> host ──> SQL tables

A projection declares its rows as classes, and a function for each type of event::

    from gnomon import Event, Projection, Tables, add, row

    @row("spending", key="customer_id")
    class Spending:
        customer_id: str
        spent_cents: int

    projection = Projection("spending", version=1, tables=[Spending])

    @projection.on("PaymentReceived")
    def payment_received(event: Event, tables: Tables) -> None:
        spending = tables[Spending]
        spending.merge(event.data["customer_id"], spent_cents=add(event.data["amount_cents"]))

``pyproject.toml`` says where it is: ``[tool.gnomon] projection = "spending:projection"``.

A projection is a pure function of the events: it has no clock, no randomness and no input but its
events and its own tables, and it keeps nothing in memory from one batch to the next. What it cannot
apply it rejects by raising; the message and the place reach whoever runs the host.
"""

# First of all: nothing may keep a clock that is taken away here.
from . import purity as purity  # isort: skip

from .changes import Change, add, greatest, least
from .document import Json
from .event import Event
from .projection import Projection, Tables
from .rows import row
from .table import Table

__all__ = [
    "Change",
    "Event",
    "Json",
    "Projection",
    "Table",
    "Tables",
    "add",
    "greatest",
    "least",
    "row",
]
