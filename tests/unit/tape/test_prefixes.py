"""Which pipelines share a cluster: told from the names of topics and consumer groups."""

import pytest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.prefixes import Owned, _by_prefix, _of_prefixes, drop
from tapedeck.topics.catalogue import CATALOGUE, Layout


def wires(prefix: str) -> list[str]:
    return [Layout(prefix).wire_name(each.name) for each in CATALOGUE]


def test_topics_are_told_apart_by_prefix_whatever_their_names_hold() -> None:
    prefixes = ["", "shadow", "what.if", "team.bars"]
    found = _by_prefix([wire for prefix in prefixes for wire in wires(prefix)])
    assert {prefix: sorted(topics) for prefix, topics in found.items()} == {
        prefix: sorted(wires(prefix)) for prefix in prefixes
    }


def test_other_programs_topics_are_no_pipeline() -> None:
    assert _by_prefix(["corp.orders", "corp.bars", "orders", "__consumer_offsets", "my-bars"]) == {}
    found = _by_prefix([*wires("shadow"), "shadow.stray", "corp.orders"])
    assert list(found) == ["shadow"] and "shadow.stray" not in found["shadow"]


def test_topics_that_tell_a_pipeline_are_deleted_last_so_that_a_drop_can_go_on() -> None:
    (topics,) = _by_prefix(wires("shadow")).values()
    half_done = topics[len(topics) // 2 :]
    assert list(_by_prefix(half_done)) == ["shadow"]
    assert list(_by_prefix(topics[-1:])) == ["shadow"]


def test_groups_belong_to_the_prefix_that_leaves_a_stage_or_dispatcher() -> None:
    groups = [
        "tapedeck-features",
        "a-signals",
        "a-b-signals",
        "a-dispatch-large",
        "a-b-dispatch-x",
        "a-other",
    ]
    assert _of_prefixes(TOPOLOGY, groups, ["", "a", "a-b"]) == {
        "": ["tapedeck-features"],
        "a": ["a-dispatch-large", "a-signals"],
        "a-b": ["a-b-dispatch-x", "a-b-signals"],
    }


def test_pipeline_without_a_prefix_is_never_dropped() -> None:
    with pytest.raises(Fatal, match="without a prefix cannot be dropped"):
        drop(Owned("", ("bars",), (), 0), Cluster("127.0.0.1:1"))
