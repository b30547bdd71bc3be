"""The stages of articles and posts, with their scorer: few records, so they run one by one."""

from collections.abc import Iterator, Sequence

from tapedeck.connectors.scoring.simulated import SimScorer
from tapedeck.streams.blocks import Block
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, StageSpec
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.sim.task import drain, tasks_of
from tapedeck.streams.topology import Topology, make
from tapedeck.tape.backtest.days import TEXTS, Day
from tapedeck.tape.backtest.log import RollingLog
from tapedeck.topics.catalogue import Layout

SCORED = "sentiment"


class Texts:
    """``stages``: those that read nothing but texts and what comes of them."""

    def __init__(self, topology: Topology, config: Config, calendar: Calendar, layout: Layout) -> None:
        self.stages = stages_of_texts(topology)
        self._joined = tuple(
            name
            for name in dict.fromkeys([SCORED, *(name for spec in self.stages for name in spec.outputs)])
            if any(name in spec.inputs for spec in topology.market if spec not in self.stages)
        )
        self._log = RollingLog(layout)
        made = ((spec, make(spec, config, calendar)) for spec in self.stages)
        self._tasks = [task for spec, stage in made for task in tasks_of(spec, stage, self._log)]
        self._scorer = SimScorer(self._log, config)
        self._any = False

    def run(self, days: Sequence[Day]) -> Iterator[Block]:
        """What the other stages read of these sessions.

        Before the first text there is only a watermark at the end: nothing was said until then.
        """
        self._any = self._any or any(day.texts for day in days)
        writer = self._log.writer()
        if not self._any:
            for name in self._joined:
                writer.watermark(name, days[-1].last)
        else:
            for day in days:
                self._play(day)
        for (name, _), messages in self._log.parts():
            if name in self._joined:
                yield Block.of(messages)
        self._log.forget()

    def _play(self, day: Day) -> None:
        writer, texts = self._log.writer(), {minute.label: minute for minute in day.texts}
        for label in (day.first - MINUTE_US, *day.labels):
            minute = texts.get(label)
            for name, bodies in zip(TEXTS, (minute.news, minute.posts) if minute else ((), ()), strict=True):
                for body in bodies:
                    writer.send(name, body)
                writer.watermark(name, label)
        drain(self._tasks)
        while self._scorer.work():
            drain(self._tasks)


def stages_of_texts(topology: Topology) -> tuple[StageSpec, ...]:
    """The market stages whose inputs are texts, their scores, or outputs of such stages."""
    known, found = {*TEXTS, SCORED}, []
    for spec in topology.market:
        if known.issuperset(spec.inputs):
            known.update(spec.outputs)
            found.append(spec)
    return tuple(found)
