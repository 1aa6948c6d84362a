"""A projection: its declaration, and its handlers."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from .event import Event
from .rows import schema_of
from .table import Table

R = TypeVar("R")

UNSIGNED_32_MAX = 2**32 - 1


class Tables:
    """The tables of the projection, by the classes of their rows: ``tables[Spending]``."""

    def __init__(self, row_types: Sequence[type]) -> None:
        self._row_types = row_types
        self._open: dict[type, Table[object]] = {}

    def __getitem__(self, row_type: type[R]) -> Table[R]:
        table = self._open.get(row_type)
        if table is None:
            if row_type not in self._row_types:
                raise TypeError(f"the projection has no table of {row_type.__name__}")
            table = self._open[row_type] = Table(schema_of(row_type))
        return table  # type: ignore[return-value]


Handler = Callable[[Event, Tables], None]
H = TypeVar("H", bound=Handler)


class Projection:
    """A named function from events to rows.

    Raise ``version`` whenever the same events would give other rows: the host then builds it anew.
    ``categories`` restricts it to streams such as ``Order-…``; ``metadata`` asks for that of events.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        tables: Sequence[type],
        categories: Sequence[str] = (),
        metadata: bool = False,
    ) -> None:
        # At the boundary a value of another type could only trap.
        _check(isinstance(name, str), "the name is not a str")
        _check(type(version) is int and 0 <= version <= UNSIGNED_32_MAX, "the version is not an int from 0")
        _check(all(isinstance(category, str) for category in categories), "a category is not a str")
        self.name = name
        self.version = version
        self.tables = tables
        self.schemas = [schema_of(row_type) for row_type in tables]
        self.categories = categories
        self.metadata = bool(metadata)
        self.handlers: dict[str, Handler] = {}
        self.fallback: Handler | None = None

    def on(self, *event_types: str) -> Callable[[H], H]:
        """Makes a function the handler of events of these types.

        Only types with a handler are read. Without types, it handles all events that no other does.
        """

        def decorate(handler: H) -> H:
            for event_type in event_types:
                _check(isinstance(event_type, str), f"on({event_type!r}) is no type of event")
                _check(event_type not in self.handlers, f"{event_type} has a handler already")
                self.handlers[event_type] = handler
            if not event_types:
                self.fallback = handler
            return handler

        return decorate

    def handle(self, event: Event, tables: Tables) -> None:
        """Applies an event."""
        handler = self.handlers.get(event.type, self.fallback)
        if handler is None:
            return
        given: object = handler(event, tables)
        if hasattr(given, "__await__"):
            raise TypeError("the handler is asynchronous, and a projection has nothing to wait for")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise TypeError(f"projection: {otherwise}")
