"""The tables of a projection, as they will stand once the batch commits."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from wit_world.imports import read_model  # type: ignore[import-not-found]

from .changes import Change
from .columns import Column, shown
from .rows import Schema

R = TypeVar("R")

LIMIT_MAX = 2**32 - 1
CHANGES: dict[str, Any] = {
    "add": read_model.Change_Add,
    "least": read_model.Change_Min,
    "greatest": read_model.Change_Max,
}


class Table(Generic[R]):
    """A table: every read sees the writes made so far.

    A value that does not fit its column raises, naming the table, the column and the value. What
    only the host can know (a sum that leaves its range, an index that was not declared) ends the
    batch at once, past any ``except``; the host then names the event.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._columns = list(schema.columns.values())
        self._table = read_model.Table(schema.name)

    def get(self, key: Any) -> R | None:
        """The row under a key: the value of the key's column, or a tuple of them."""
        values = self._table.get(self._key(key))
        return None if values is None else self._row(values)

    def get_many(self, keys: Iterable[Any]) -> list[R | None]:
        """The rows under many keys, in their order, in one round trip."""
        found = self._table.get_many([self._key(key) for key in keys])
        return [None if values is None else self._row(values) for values in found]

    def find(self, where: Mapping[str, Any], *, limit: int) -> list[R]:
        """The rows in which the columns of an index equal these values, in key order."""
        if type(limit) is not int or not 0 <= limit <= LIMIT_MAX:
            raise TypeError(f"{self._schema.name}: {shown(limit)} is no limit")
        return [self._row(values) for values in self._table.find(*self._condition(where), limit)]

    def put(self, row: R) -> None:
        """Inserts a row, or replaces the one under its key."""
        if not isinstance(row, self._schema.row_type):
            wanted = self._schema.row_type.__name__
            raise TypeError(f"{self._schema.name}: {shown(row)} is no {wanted}")
        self._table.put([column.encode(getattr(row, column.name)) for column in self._columns])

    def patch(self, key: Any, **changes: Any) -> None:
        """Changes the row under a key; without such a row, does nothing."""
        self._table.patch(self._key(key), self._changes(changes))

    def merge(self, key: Any, **changes: Any) -> None:
        """Changes the row under a key; without such a row, creates it first.

        Each column begins at its zero: null where it is nullable, else False, 0, the empty text or
        bytes, the epoch, the nil UUID, or JSON null. With ``add``, ``least`` and ``greatest`` it is
        the cheapest way to count and sum.
        """
        self._table.merge(self._key(key), self._changes(changes))

    def remove(self, key: Any) -> None:
        """Removes the row under a key, if there is one."""
        self._table.remove(self._key(key))

    def patch_where(self, where: Mapping[str, Any], **changes: Any) -> None:
        """``patch`` on every row that ``find`` would give without a limit."""
        self._table.patch_where(*self._condition(where), self._changes(changes))

    def remove_where(self, where: Mapping[str, Any]) -> None:
        """``remove`` on every row that ``find`` would give without a limit."""
        self._table.remove_where(*self._condition(where))

    def _key(self, key: Any) -> list[Any]:
        columns = self._schema.key
        parts = key if len(columns) > 1 else (key,)
        if not isinstance(parts, tuple) or len(parts) != len(columns):
            names = ", ".join(column.name for column in columns)
            raise TypeError(f"{self._schema.name}: {shown(key)} is no key, which is ({names})")
        return [column.encode(part) for column, part in zip(columns, parts, strict=True)]

    def _condition(self, where: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        values = [self._schema.column(name).encode(value) for name, value in where.items()]
        return list(where), values

    def _changes(self, changes: Mapping[str, Any]) -> list[Any]:
        return [_change(self._schema.column(name), change) for name, change in changes.items()]

    def _row(self, values: list[Any]) -> R:
        decoded = (column.decode(value) for column, value in zip(self._columns, values, strict=True))
        row: R = self._schema.row_type(*decoded)
        return row


def _change(column: Column, change: Any) -> Any:
    if not isinstance(change, Change):
        return read_model.Change_Set((column.name, column.encode(change)))
    if change.value is None:
        raise TypeError(f"{column.path}: None cannot be the operand of {change.kind}")
    return CHANGES[change.kind]((column.name, column.encode(change.value)))
