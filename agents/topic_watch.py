"""Watches a process's topics: one that is deleted, recreated or given more partitions ends the process.

Anything written between the change and the next check still names the old topics, so the next start detects
it (``agents.identity``).
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import Described, describe_ids
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.streams.logs import TopicIds, rebuild, short, start_over
from tapedeck.streams.protocol import StageSpec

log = logging.getLogger("tapedeck.topics")

LOOK_S = 2.0
REPLACED_EXIT = 72


def end_process(error: Exception) -> NoReturn:
    """Log the reason and exit before another batch is applied; kill -9 is a normal stop here."""
    log.critical("%s", error)
    logging.shutdown()
    os._exit(REPLACED_EXIT)


def topics_of(specs: Iterable[StageSpec]) -> tuple[str, ...]:
    """The topics that stages read, write and keep their tables in."""
    names = (name for spec in specs for name in (*spec.inputs, *spec.outputs, spec.changelog))
    return tuple(dict.fromkeys(names))


class TopicWatch:
    """The topics of ``specs``, and those read ``beside``, as they were when this was created.

    Raises Fatal for one that is missing or has other partitions, Retry if the broker does not answer.
    """

    def __init__(self, cluster: Cluster, specs: Sequence[StageSpec], beside: Iterable[str] = ()) -> None:
        self._cluster, self._specs, self._beside = cluster, specs, tuple(beside)
        self._names = tuple(dict.fromkeys((*topics_of(specs), *self._beside)))
        self._known = describe_ids(cluster, self._names)
        self.refuse(self._known)

    @property
    def ids(self) -> TopicIds:
        """The ids by catalogue name, if the broker gives some."""
        return {name: each.topic_id for name, each in self._known.items() if each and each.topic_id}

    async def run(self) -> None:
        """Check every LOOK_S and end the process if something changed. A broker that is unavailable counts as
        no change."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self.look)
            except Retry:
                continue
            except Fatal as error:
                end_process(error)

    def look(self) -> None:
        """Compare once. Raises like the constructor."""
        self.refuse(describe_ids(self._cluster, self._names))

    def refuse(self, found: Mapping[str, Described | None]) -> None:
        """Raise Fatal, naming the first topic that has changed."""
        for name in self._names:
            now, before = found.get(name), self._known[name]
            wire, wanted = self._cluster.layout.wire_name(name), self._cluster.layout.partitions(name)
            if now is None:
                remedy = f"`tape topics --recreate {name}` creates it and starts over what depends on it"
                raise Fatal(f"topic {wire} was deleted", remedy=f"stop the workers, then {remedy}")
            if before and before.topic_id and now.topic_id and now.topic_id != before.topic_id:
                what = f"topic {wire} was recreated: it had the id {short(before.topic_id)}"
                raise Fatal(what, value=short(now.topic_id), remedy=self._remedy(name))
            if now.partitions != wanted:
                raise Fatal(
                    f"topic {wire} does not have the layout's {wanted} partitions: some of its "
                    "records would not be read, or not in order",
                    value=now.partitions,
                    remedy="stop its writers, and write its records again under another prefix, or here "
                    f"after `tape topics --recreate {name}`",
                )

    def _remedy(self, name: str) -> str:
        for spec in self._specs:
            if name == spec.changelog:
                return rebuild(spec)
            if name in spec.inputs:
                return start_over(spec)
        if name in self._beside:
            return "restart this process: it keeps no state of that topic"
        return f"stop the workers, then `tape topics --recreate {name}`: its stage writes it again"
