from gnomon import Event, Projection, Tables, row


@row("{{projection}}", key="id")
class Entry:
    """A row: a field for each column."""

    id: str


# Increase the version whenever the same events should produce different rows.
projection = Projection("{{projection}}", version=1, tables=[Entry])


# A handler for each type of event that is wanted.
@projection.on("SomethingHappened")
def something_happened(event: Event, tables: Tables) -> None:
    tables[Entry].put(Entry(id=event.data["id"]))
