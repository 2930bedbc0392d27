"""Server-sent events from bytes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tasker_core.client import ServerEvent
from tasker_core.client.events import EventParser

STREAM = (
    b": a comment keeps the connection open\n\n"
    b'id: 1\nevent: task\ndata: {"to": "complete"}\n\n'
    b"retry: 1500\nid: 2\r\nevent: step\r\ndata: first\r\ndata: second \xe2\x80\xa8 line\r\n\r\n"
    b"id: 3\n\n"
    b"data:7\n\n"
    b"id: 4\nevent: step\ndata: never finished"
)
EVENTS = [
    ServerEvent(id="1", event="task", data={"to": "complete"}),
    ServerEvent(id="2", event="step", data="first\nsecond \u2028 line"),
    ServerEvent(id="3", event="message", data=7),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_however_the_stream_is_cut(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    parser = EventParser()
    events = [event for begin, end in itertools.pairwise(places) for event in parser.feed(STREAM[begin:end])]

    assert events == EVENTS
    assert parser.last_id == "3"
    assert parser.reconnect_seconds == 1.5


def test_half_an_event_of_a_broken_stream_is_forgotten():
    parser = EventParser(last_id="6")
    assert list(parser.feed(b"id: 7\nevent: step\ndata: half")) == []
    parser.restart()

    assert parser.last_id == "6"
    assert list(parser.feed(b"data: 1\n\n")) == [ServerEvent(id="6", event="message", data=1)]


def test_nonsense_is_no_event():
    parser = EventParser()
    assert list(parser.feed(b"retry: soon\nid: a\x00b\ncolour: blue\n\n\xff\xfe\n\n")) == []
    assert (parser.last_id, parser.reconnect_seconds) == (None, 1.0)
