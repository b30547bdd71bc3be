"""Recorded runs for ``whatif``, and configurations to compare with theirs."""

from functools import cache
from typing import Any

from tapedeck.connectors.tapes.player import PLAYED
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.whatif.diff import Diff, Difference
from tapedeck.tape.whatif.whatif import whatif_from
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.paths import CONFIG, morning, whole_day

SOURCES = (*PLAYED, "sentiment")
"""What a run is fed: everything that no stage writes."""


def recorded(log: MemoryLog) -> list[Message]:
    return [m for each in CATALOGUE if each.schema for m in log.messages(each.name)]


@cache
def day() -> MemorySource:
    return MemorySource(Layout(), recorded(whole_day().log))


@cache
def hours() -> MemorySource:
    return MemorySource(Layout(), recorded(morning().log))


def changed(account: str = "", **groups: dict[str, Any]) -> Config:
    """The run's configuration with some parameters of some groups, or of one account, changed."""
    document = CONFIG.model_dump(mode="python")
    for group, content in groups.items():
        if group == "limits":
            accounts = [a | content if a["account_id"] == account else a for a in document["accounts"]]
            document["accounts"] = tuple(accounts)
        else:
            document[group] = document[group] | content
    return Config.model_validate(document)


def diff_of(source: MemorySource, config: Config, **options: Any) -> Diff:
    return whatif_from(TOPOLOGY, source, CONFIG, config, **options)


def names(differences: list[Difference]) -> set[str]:
    return {name for each in differences for name in each.parameters}
