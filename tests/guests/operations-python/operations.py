"""Does the operations on tables that most projections can do without.

``tests/tests/end_to_end/languages/operations.rs`` defines it, for all languages.
"""

from gnomon import Event, Projection, Tables, add, greatest, least, row


@row("people", key="name", indexes=["city"])
class Person:
    name: str
    city: str
    age: int
    note: str | None


@row("answers", key="position")
class Answer:
    position: int
    answer: str


projection = Projection("operations", version=1, tables=[Person, Answer])


@projection.on("Put")
def put(event: Event, tables: Tables) -> None:
    data = event.data
    tables[Person].put(Person(data["name"], data["city"], data["age"], None))


@projection.on("Patched")
def patched(event: Event, tables: Tables) -> None:
    tables[Person].patch(event.data["name"], age=add(event.data["add"]), note="patched")


@projection.on("Clamped")
def clamped(event: Event, tables: Tables) -> None:
    data = event.data
    tables[Person].patch(data["name"], age=greatest(data["min"]))
    tables[Person].patch(data["name"], age=least(data["max"]))


@projection.on("CityPatched")
def city_patched(event: Event, tables: Tables) -> None:
    data = event.data
    tables[Person].patch_where({"city": data["city"]}, age=add(data["add"]), note=None)


@projection.on("Removed")
def removed(event: Event, tables: Tables) -> None:
    tables[Person].remove(event.data["name"])


@projection.on("CityRemoved")
def city_removed(event: Event, tables: Tables) -> None:
    tables[Person].remove_where({"city": event.data["city"]})


@projection.on("Asked")
def asked(event: Event, tables: Tables) -> None:
    found = tables[Person].find({"city": event.data["city"]}, limit=event.data["limit"])
    answer(event, tables, [person.name for person in found])


@projection.on("AskedFor")
def asked_for(event: Event, tables: Tables) -> None:
    found = tables[Person].get_many(event.data["names"])
    answer(event, tables, ["-" if person is None else f"{person.name}:{person.age}" for person in found])


def answer(event: Event, tables: Tables, found: list[str]) -> None:
    tables[Answer].put(Answer(event.position, ",".join(found)))
