"""Server-sent events: from the bytes of a stream to events, and where to go on after it broke."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import httpx

from tasker_core import serialization
from tasker_core.client.calls import Attempts, Call
from tasker_core.client.responses import ServerEvent
from tasker_core.client.settings import ClientSettings
from tasker_core.serialization import SerializationError

#: Seconds until a broken stream is opened again, unless the server names others.
_RECONNECT_SECONDS: Final = 1.0

#: How long an outage of the server may last, in seconds.
_PATIENCE_SECONDS: Final = 60.0

#: The event after which a stream is over.
_LAST_EVENT: Final = "end"


class EventParser:
    """Turns chunks of a stream into events.

    Attributes:
        last_id: the id of the last event, after which a new stream goes on; None before the first.
        reconnect_seconds: how long to wait before a broken stream is opened again.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.reconnect_seconds = _RECONNECT_SECONDS
        self.restart()

    def restart(self) -> None:
        """Forget what came of an event whose stream broke."""
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._id = self.last_id

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that are complete with this chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            event = self._line(line.removesuffix(b"\r").decode(errors="replace"))
            if event is not None:
                yield event

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.reconnect_seconds = int(value) / 1000
        return None

    def _complete(self) -> ServerEvent | None:
        event, data = self._event or "message", "\n".join(self._data)
        is_empty = not self._data
        self.last_id, self._event, self._data = self._id, "", []
        return None if is_empty else ServerEvent(id=self.last_id, event=event, data=_decoded(data))


def _decoded(data: str) -> object:
    try:
        return serialization.loads(data)
    except SerializationError:
        return data


class EventStream:
    """One stream of events, over as many connections as it takes.

    A connection that ends or breaks is opened again after the last event, so that none is lost or comes twice.

    Args:
        call: the request for the stream.
        settings: those of the client.
        last_id: the id of the event after which to begin; None for the server's choice.

    Attributes:
        over: the server has said that nothing more will come.
    """

    def __init__(self, call: Call[Any], settings: ClientSettings, last_id: str | None) -> None:
        self._call = call
        self._settings = settings
        self._parser = EventParser(last_id)
        self._attempts = Attempts(call, settings)
        self._is_open = False
        self.over = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for the next connection, of httpx's clients."""
        self._parser.restart()
        arguments = self._attempts.arguments()
        arguments["headers"]["Accept"] = "text/event-stream"
        if self._parser.last_id is not None:
            arguments["headers"]["Last-Event-ID"] = self._parser.last_id
        return arguments

    def opened(self) -> None:
        """Take note that there is a stream: from now on, outages are sat out."""
        patient = replace(self._call.request, patience=_PATIENCE_SECONDS)
        self._call = replace(self._call, request=patient)
        self._is_open = True

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Yield the events that are complete with this chunk."""
        for event in self._parser.feed(chunk):
            self.over = self.over or event.event == _LAST_EVENT
            yield event

    def pause_after(self, outcome: httpx.Response | httpx.HTTPError) -> float:
        """Return the seconds until the next connection.

        Raises:
            TaskerClientError: there is none.
        """
        if self.over:
            return 0.0
        if self._is_open:
            # An outage begins now, however long the stream was open.
            self._is_open = False
            self._attempts = Attempts(self._call, self._settings)
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return self._parser.reconnect_seconds
        pause = self._attempts.pause_after(outcome)
        if pause is None:
            self._call.result(outcome)
        return pause or 0.0
