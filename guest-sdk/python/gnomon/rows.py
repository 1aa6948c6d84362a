"""Rows as dataclasses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform, get_type_hints

from .columns import Column, column

R = TypeVar("R")

SCHEMA = "__gnomon_schema__"


class Schema:
    """What is declared of a table."""

    def __init__(
        self, name: str, row_type: type, key: Sequence[str], indexes: Sequence[Sequence[str]]
    ) -> None:
        hints = get_type_hints(row_type)
        self.name = name
        self.row_type = row_type
        self.columns: dict[str, Column] = {
            field.name: column(field.name, f"{name}.{field.name}", hints[field.name])
            for field in fields(row_type)
        }
        self.key = [self.column(part) for part in key]
        self.indexes = indexes
        for index in indexes:
            for part in index:
                self.column(part)

    def column(self, name: str) -> Column:
        """The column of this name."""
        found = self.columns.get(name)
        if found is None:
            raise TypeError(f"the table {self.name} has no column {name}")
        return found


def schema_of(row_type: type) -> Schema:
    """The schema of a class that ``row`` has decorated."""
    schema: Any = getattr(row_type, SCHEMA, None)
    if schema is None:
        raise TypeError(f"{row_type.__name__} is no row: decorate it with @row(…)")
    return schema  # type: ignore[no-any-return]


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


@dataclass_transform()
def row(
    table: str, *, key: str | Sequence[str], indexes: Sequence[str | Sequence[str]] = ()
) -> Callable[[type[R]], type[R]]:
    """Makes a class the dataclass of a table's rows.

    The columns are the fields, in their order; ``key`` names those that identify a row, and each
    entry of ``indexes`` those of one index. The types: bool, int, float, Decimal, str, bytes,
    datetime (with a time zone), date, UUID, Json; ``… | None`` where a column is nullable.
    """

    def decorate(row_type: type[R]) -> type[R]:
        decorated = dataclass(row_type)
        schema = Schema(table, decorated, _names(key), [_names(index) for index in indexes])
        setattr(decorated, SCHEMA, schema)
        return decorated

    return decorate
