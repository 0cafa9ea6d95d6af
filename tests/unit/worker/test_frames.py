"""Frames between the processes of a worker."""

import random
import socket
from collections.abc import Iterator

import pytest

from django_infinitic.worker.frames import Decoder, Frames, Gone, encode

Pair = tuple[Frames, Frames]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    yield Frames(one), Frames(other)
    one.close()
    other.close()


def test_frames_arrive_whole_however_they_were_cut() -> None:
    documents = [{"t": [[number, "x" * (number * 37)]]} for number in range(40)]
    data = b"".join(map(encode, documents))
    chance = random.Random(1)
    decoder, found, at = Decoder(), [], 0
    while at < len(data):
        size = chance.randrange(1, 500)
        found += decoder.feed(data[at : at + size])
        at += size
    assert found == documents


def test_what_one_end_sends_the_other_receives(pair: Pair) -> None:
    one, other = pair
    one.send({"a": 1})
    one.send({"b": "ü"})
    assert other.receive() == [{"a": 1}, {"b": "ü"}]
    assert other.receive() == []


def test_a_full_socket_keeps_the_rest_and_never_waits(pair: Pair) -> None:
    one, other = pair
    document = {"x": "y" * 5_000_000}
    one.send(document)
    assert one.unsent
    found = []
    while not found:
        found = other.receive()
        one.flush()
    assert found == [document]
    assert not one.unsent


def test_what_was_sent_before_the_end_still_arrives(pair: Pair) -> None:
    one, other = pair
    one.send({"last": "words"})
    one.close()
    assert other.receive() == [{"last": "words"}]
    with pytest.raises(Gone):
        other.receive()
    with pytest.raises(Gone):
        other.send({"to": "nobody"})
