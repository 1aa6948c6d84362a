"""The component that a projection becomes."""

from typing import Any

import wit_world  # type: ignore[import-not-found]
from componentize_py_types import Err  # type: ignore[import-not-found]
from wit_world.imports import types  # type: ignore[import-not-found]

from . import output, purity
from .errors import carried, explain
from .event import Event
from .projection import Projection, Tables
from .rows import Schema

# Before the author's modules are loaded, which may print.
output.redirect()


def component(declared: object) -> type:
    """The exports of the component; called last when it is made."""
    if not isinstance(declared, Projection):
        raise TypeError(f"[tool.gnomon] names no Projection, but {declared!r}")
    projection: Projection = declared

    class WitWorld(wit_world.WitWorld):  # type: ignore[misc]
        def describe(self) -> Any:
            output.enter_call()
            output.print_early_lines()
            return _description(projection)

        def apply(self, events: list[Any]) -> None:
            output.enter_call()
            tables = Tables(projection.tables)
            for event in events:
                try:
                    projection.handle(Event(event), tables)
                # What a handler means by sys.exit() is an error, too.
                except BaseException as raised:
                    message = carried(f"{event.event_type}: {explain(raised)}")
                    raise Err(types.Rejection(event.position, message)) from None
                finally:
                    output.end_lines()

    purity.seal()
    return WitWorld


def _description(projection: Projection) -> Any:
    event_types = [] if projection.fallback else list(projection.handlers)
    return types.Description(
        projection.name,
        projection.version,
        types.Subscription(event_types, list(projection.categories), projection.metadata),
        [_table_schema(schema) for schema in projection.schemas],
    )


def _table_schema(schema: Schema) -> Any:
    columns = schema.columns.values()
    return types.TableSchema(
        schema.name,
        [types.Column(column.name, column.kind.column_type, column.nullable) for column in columns],
        [column.name for column in schema.key],
        [list(index) for index in schema.indexes],
    )
