"""Events as a projection sees them."""

from datetime import datetime
from functools import cached_property
from typing import Any

from wit_world.imports import types  # type: ignore[import-not-found]

from .columns import datetime_of
from .document import parse


class Event:
    """An event. Its data is parsed when a handler asks for it."""

    position: int
    """Place in the global order of the source."""
    id: str
    stream_id: str
    """The stream, such as ``Order-abc123``."""
    type: str
    version: int
    """Place in its own stream, from 1."""
    schema_version: int
    """Version of the data's schema, from 1."""

    def __init__(self, event: Any) -> None:
        self._event = event
        self.position = event.position
        self.id = event.id
        self.stream_id = event.stream_id
        self.type = event.event_type
        self.version = event.version
        self.schema_version = event.schema_version

    @property
    def category(self) -> str:
        """``Order`` for the stream ``Order-abc123``."""
        return self.stream_id.partition("-")[0]

    @property
    def entity_id(self) -> str:
        """``abc123`` for the stream ``Order-abc123``."""
        return self.stream_id.partition("-")[2]

    @cached_property
    def recorded_at(self) -> datetime:
        """When it was recorded, in UTC."""
        return datetime_of(self._event.recorded_at)

    @cached_property
    def data(self) -> Any:
        """Its JSON, by ``json.loads``; ``bytes`` if it is binary.

        A number beyond what a float can hold raises, so that none becomes an infinity.
        """
        payload = self._event.data.value
        return payload if self.data_text is None else parse(payload)

    @property
    def data_text(self) -> str | None:
        """The JSON as it was stored, for fractions that must keep every digit; None if binary."""
        payload = self._event.data
        return payload.value if isinstance(payload, types.Payload_Json) else None

    @cached_property
    def metadata(self) -> Any:
        """Correlation and causation ids, the user and so on; asked for by ``metadata=True``."""
        if not self._event.metadata:
            raise RuntimeError("the metadata was not asked for: Projection(…, metadata=True)")
        return parse(self._event.metadata)
