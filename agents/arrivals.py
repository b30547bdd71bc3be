"""Faust's records in the shell's form, and a check that each is in the partition of its key."""

import logging
from collections.abc import Mapping
from typing import Any

from faust.types import EventT

from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import Message
from tapedeck.topics.catalogue import WATERMARK_KEY, Layout, topic

log = logging.getLogger("tapedeck.arrivals")

WRONG_PARTITION = "WRONG_PARTITION"
_REMEMBERED = 100_000
"""Keys whose partition is remembered: more than there are symbols, and a limit against foreign keys."""


def as_message(event: EventT[Any], layout: Layout) -> Message:
    """A Faust event in the shell's form. Faust gives headers as a mapping or as pairs."""
    record = event.message
    headers = record.headers or ()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    name = layout.catalogue_name(record.topic)
    stamp = int(record.timestamp * 1000)
    return Message(name, record.partition, record.offset, stamp, record.key, record.value, tuple(pairs))


class Strays:
    """Finds records in another partition than their key's, written by a producer with another partitioner.

    They are processed like any other. But a symbol whose bars are in two partitions has no order, and a
    reader that wants one symbol's records looks only in its own partition.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._homes: dict[tuple[str, bytes], int | None] = {}
        self._told: set[Part] = set()

    def is_stray(self, message: Message) -> bool:
        """Whether ``message`` is in the wrong partition; the first one of each partition is logged."""
        if message.key is None or message.key == WATERMARK_KEY:
            return False
        at = message.topic, message.key
        if at not in self._homes:
            if len(self._homes) >= _REMEMBERED:
                self._homes.clear()
            self._homes[at] = self._home_of(*at)
        home = self._homes[at]
        if home is None or home == message.partition:
            return False
        part = message.topic, message.partition
        if part not in self._told:
            self._told.add(part)
            log.warning(
                "%s/%d holds records of other partitions: key %s at offset %d belongs in partition %d. "
                "Have its producer use the partitioner murmur2 (librdkafka: partitioner=murmur2_random)",
                *part, message.key.decode(errors="replace"), message.offset, home,
            )  # fmt: skip
        return True

    def _home_of(self, name: str, key: bytes) -> int | None:
        return topic(name).partition_of_key(key, self._layout.partitions(name))
