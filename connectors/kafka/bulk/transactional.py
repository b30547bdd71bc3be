"""Requests about transactions that aiokafka has no classes for: who holds one open, and since when.

Source: the Kafka protocol guide, DescribeProducers, ListTransactions and DescribeTransactions (KIP-664).
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import RequestHeader_v2, ResponseHeader_v1
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_Text, _Tags = CompactString("utf-8"), ("tags", TaggedFields)

_PRODUCERS_ASKED = Schema(
    ("topics", CompactArray(("name", _Text), ("partitions", CompactArray(Int32)), _Tags)), _Tags
)
_PRODUCERS = Schema(
    ("throttle_time_ms", Int32),
    ("topics", CompactArray(
        ("name", _Text),
        ("partitions", CompactArray(
            ("partition", Int32), ("error_code", Int16), ("error_message", _Text),
            ("producers", CompactArray(
                ("producer_id", Int64), ("producer_epoch", Int32), ("last_sequence", Int32),
                ("last_timestamp", Int64), ("coordinator_epoch", Int32), ("start_offset", Int64), _Tags,
            )),
            _Tags,
        )),
        _Tags,
    )),
    _Tags,
)  # fmt: skip
_LISTED_ASKED = Schema(("states", CompactArray(_Text)), ("producer_ids", CompactArray(Int64)), _Tags)
_LISTED = Schema(
    ("throttle_time_ms", Int32), ("error_code", Int16), ("unknown_states", CompactArray(_Text)),
    ("transactions", CompactArray(
        ("transactional_id", _Text), ("producer_id", Int64), ("state", _Text), _Tags,
    )),
    _Tags,
)  # fmt: skip
_DESCRIBED_ASKED = Schema(("transactional_ids", CompactArray(_Text)), _Tags)
_DESCRIBED = Schema(
    ("throttle_time_ms", Int32),
    ("transactions", CompactArray(
        ("error_code", Int16), ("transactional_id", _Text), ("state", _Text), ("timeout_ms", Int32),
        ("start_ms", Int64), ("producer_id", Int64), ("producer_epoch", Int16),
        ("topics", CompactArray(("topic", _Text), ("partitions", CompactArray(Int32)), _Tags)),
        _Tags,
    )),
    _Tags,
)  # fmt: skip


class Question:
    """A request of version 0 with the type of its answer, a tuple: what ``Connection.ask`` takes."""

    API_VERSION = 0

    def __init__(self, key: int, asked: Schema, answer: Schema, *values: Any) -> None:
        self.API_KEY, self.RESPONSE_TYPE = key, answer
        self._asked, self._values = asked, values

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> "Question":
        """Itself. Raises IncompatibleBrokerVersion if the broker does not support it."""
        if versions.get(self.API_KEY, (1, 0))[0] > self.API_VERSION:
            raise IncompatibleBrokerVersion(f"no version {self.API_VERSION} of request {self.API_KEY}")
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> Any:
        return RequestHeader_v2(self, correlation_id=correlation_id, client_id=client_id)

    def parse_response_header(self, frame: io.BytesIO) -> Any:
        return ResponseHeader_v1.decode(frame)

    def encode(self) -> bytes:
        return bytes(self._asked.encode((*self._values, {})))


def producers_of(topic: str, partition: int) -> Question:
    """Who writes to a partition; for its leader."""
    return Question(61, _PRODUCERS_ASKED, _PRODUCERS, [(topic, [partition], {})])


def transactions_of(producer_ids: Sequence[int]) -> Question:
    """The transactional ids of producers; for each broker, which answers for those it coordinates."""
    return Question(66, _LISTED_ASKED, _LISTED, [], producer_ids)


def described(transactional_ids: Sequence[str]) -> Question:
    """Since when transactions are open and how long they may be; for their coordinator."""
    return Question(65, _DESCRIBED_ASKED, _DESCRIBED, transactional_ids)
