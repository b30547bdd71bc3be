"""What the sink says of topics that are not as it needs them."""

from types import SimpleNamespace
from typing import Any

import pytest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres import sink_input as reading
from tapedeck.schemas.errors import CatalogueMismatch, Fatal, Retry
from tapedeck.topics.catalogue import Layout

LAYOUT = Layout("p", 4, 4)


class Listing:
    """A consumer that knows nothing but topics with so many partitions each."""

    def __init__(self, **counts: int) -> None:
        self._topics = {
            f"p.{name}": SimpleNamespace(error=None, partitions=dict.fromkeys(range(count)))
            for name, count in counts.items()
        }

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics=self._topics, cluster_id="one")


def check(**counts: int) -> str:
    consumer: Any = Listing(**counts)
    return reading.check_topics(consumer, LAYOUT, ("bars", "orders"))


def test_topics_as_the_layout_has_them_give_the_clusters_id() -> None:
    assert check(bars=4, orders=4) == "one"


def test_a_missing_topic_is_to_be_created() -> None:
    with pytest.raises(CatalogueMismatch, match=r"p.orders is missing.*tape topics --create"):
        check(bars=4)


@pytest.mark.parametrize("count, unread", [(6, ": the others would not be read"), (2, "")])
def test_another_partition_count_is_not_to_be_created(count: int, unread: str) -> None:
    with pytest.raises(CatalogueMismatch) as told:
        check(bars=4, orders=count)
    assert f"topic p.orders has {count} partitions, but the layout says 4{unread}; got {count}" in str(
        told.value
    )
    assert f"set TAPE_ACCOUNT_PARTITIONS={count}" in str(told.value)
    assert "--create" not in str(told.value)


def test_topics_that_changed_between_check_and_bounds_are_checked_again(monkeypatch: Any) -> None:
    def changed(*_: object) -> None:
        raise Fatal("topic p.bars is not there")

    monkeypatch.setattr(reading, "ends_of", changed)
    with pytest.raises(Retry, match=r"p.bars is not there.*requested again"):
        reading.bounds(Cluster("127.0.0.1:9", LAYOUT), ["bars"])
