"""The topology: a value that says which stage reads, joins, writes and owns what.

Drivers and tools receive one and derive everything else from it. It is checked when it is created: a running
topology has no cycle, no topic with two writers, and no join of topics that are partitioned differently. A
stage's code is imported when it is needed, and checked against its entry then.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from tapedeck.schemas import ids
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.importing import file_of, import_users, users_file
from tapedeck.streams.protocol import Stage, StageSpec
from tapedeck.topics.catalogue import CATALOGUE, Spread, Topic, changelog_of, declare, topic

if TYPE_CHECKING:
    from tapedeck.streams.config.document import Config
    from tapedeck.streams.definition import Definition
    from tapedeck.streams.sessions import Calendar

STAGE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
TAKEN = frozenset(
    {"dispatcher", "exchange", "ingest", "operator", "operators", "admin", "play", "scorer", "sink"}
)
"""Names of other processes: a stage of that name would share their log, login or group."""
_ENTRY, _ATTRIBUTE = "definition", "DEFINITION"


class Topology:
    """The stages of a pipeline, in its order: a stage comes after those whose topics it reads.

    Raises Fatal for a topology that cannot run, saying what to change. The changelogs of the stages are
    declared in the catalogue.
    """

    def __init__(self, *stages: StageSpec) -> None:
        _check_names(stages)
        for spec in stages:
            _check_topics(spec)
        self._writers = _writers(stages)
        self.stages = _ordered(stages, self._writers)
        for spec in stages:
            _check_marks(spec)
            _check_signals(spec)
            _check_partitions(spec)
        declare(*(changelog_of(spec.name, topic(spec.trigger).spread) for spec in self.stages))

    def __reduce__(self) -> tuple[Callable[..., "Topology"], tuple[Any, ...]]:
        """Another process creates it again, which declares its topics, schemas and changelogs there."""
        named = {name for spec in self.stages for name in (*spec.inputs, *spec.outputs)}
        topics = tuple(each for each in CATALOGUE if each.name in named)
        return _anew, (topics, ids.declared({each.schema for each in topics}), self.stages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topology) and self.stages == other.stages

    def __hash__(self) -> int:
        return hash(self.stages)

    def __iter__(self) -> Iterator[StageSpec]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.stages)

    @cached_property
    def market(self) -> tuple[StageSpec, ...]:
        """The stages that workers run, in order."""
        return tuple(spec for spec in self.stages if not spec.per_account)

    @cached_property
    def accounts(self) -> tuple[StageSpec, ...]:
        """The stages with a task per account, which dispatchers run."""
        return tuple(spec for spec in self.stages if spec.per_account)

    @property
    def account(self) -> StageSpec:
        """The stage that an account's dispatcher runs. Raises Fatal if there is not exactly one."""
        if len(self.accounts) != 1:
            raise Fatal(
                "a dispatcher runs one stage per account",
                value=", ".join(spec.name for spec in self.accounts) or "none",
                remedy="give per_account=True to exactly one stage of the topology",
            )
        return self.accounts[0]

    def stage(self, name: str) -> StageSpec:
        """The stage called ``name``. Raises Fatal for a name the topology does not have."""
        for spec in self.stages:
            if spec.name == name:
                return spec
        raise Fatal("no such stage", value=name, remedy=f"stages: {', '.join(self.names)}")

    def only(self, names: Iterable[str]) -> tuple[StageSpec, ...]:
        """The stages called ``names``, in order. Raises Fatal for a name the topology does not have."""
        wanted = {self.stage(name).name for name in names}
        return tuple(spec for spec in self.stages if spec.name in wanted)

    def writer(self, name: str) -> StageSpec | None:
        """The stage that writes topic ``name``; None for a source, whose writer is outside."""
        return self._writers.get(name)

    def root(self, spec: StageSpec) -> str:
        """The source that ``spec`` goes back to by triggers."""
        writer = self.writer(spec.trigger)
        return spec.trigger if writer is None else self.root(writer)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The topics that market stages read and none writes, in the order they are read."""
        read = dict.fromkeys(name for spec in self.market for name in spec.inputs)
        return tuple(name for name in read if name not in self._writers)

    @cached_property
    def marked(self) -> tuple[str, ...]:
        """The outputs of market stages that carry watermarks, in order."""
        return tuple(name for spec in self.market for name in spec.outputs if topic(name).watermarked)

    @cached_property
    def signal_topics(self) -> tuple[str, ...]:
        """The topics of signals that market stages write, in the catalogue's order, for dispatchers."""
        found = (name for spec in self.market for name in spec.outputs if topic(name).carries_signals)
        return tuple(sorted(found, key=CATALOGUE.rank))

    @cached_property
    def optional(self) -> tuple[str, ...]:
        """The topics that some stage joins optionally, and that may be declared absent for a minute."""
        return tuple(dict.fromkeys(j.topic for spec in self.stages for j in spec.joins if j.optional))

    @cached_property
    def changelogs(self) -> Mapping[str, StageSpec]:
        """The stages by the names of their changelogs."""
        return {spec.changelog: spec for spec in self.stages}

    def downstream(self, names: Iterable[str]) -> tuple[StageSpec, ...]:
        """The stages that topics ``names`` reach, directly or through other stages, in order."""
        reached, found = set(names), []
        for spec in self.stages:
            if reached.intersection(spec.inputs):
                reached.update(spec.outputs)
                found.append(spec)
        return tuple(found)

    def check_code(self) -> None:
        """Import every stage's code. Raises Fatal if it fails, or does not read what its entry says."""
        for spec in self.stages:
            definition_of(spec)

    def as_text(self) -> str:
        """The topology, one stage a line."""
        width = max(len(name) for name in self.names) + 1
        lines = []
        for spec in self.stages:
            joins = [f"{join.topic}{' if there' if join.optional else ''}" for join in spec.joins]
            joined = f" joined with {', '.join(joins)}" if joins else ""
            period = f", every {spec.period} s" if spec.period else ""
            flow = f"{spec.trigger}{joined} -> {', '.join(spec.outputs)}"
            lines.append(f"{spec.name:<{width}}{flow} ({spec.scale}{period})")
            lines.append(f"{'':<{width}}{spec.doc}")
        return "\n".join(lines)

    def as_mermaid(self) -> str:
        """The topology as a Mermaid flow chart: topics are rounded, stages square."""
        lines = ["flowchart LR"]
        seen: set[str] = set()
        for spec in self.stages:
            for name in (*spec.inputs, *spec.outputs):
                if name not in seen:
                    seen.add(name)
                    lines.append(f"    {_node(name)}([{name}])")
            lines.append(f"    stage_{spec.name}[{spec.name}]")
            lines.append(f"    {_node(spec.trigger)} --> stage_{spec.name}")
            for join in spec.joins:
                how = "joins if there" if join.optional else "joins"
                lines.append(f"    {_node(join.topic)} -. {how} .-> stage_{spec.name}")
            lines.extend(f"    stage_{spec.name} --> {_node(output)}" for output in spec.outputs)
        for name in self.signal_topics:
            lines.append(f"    {_node(name)} --> dispatcher[dispatcher, one per account] --> account_inbox_t")
        return "\n".join(lines)


def _anew(topics: Sequence[Topic], schemas: ids.Rows, stages: Sequence[StageSpec]) -> Topology:
    ids.adopt(schemas)
    declare(*topics)
    return Topology(*stages)


def make(spec: StageSpec, config: "Config", calendar: "Calendar", account_id: str | None = None) -> Stage:
    """Create the stage of ``spec`` under ``config``; for one account if it has a task per account."""
    return definition_of(spec).make(config, calendar, account_id)


def definition_of(spec: StageSpec) -> "Definition":
    """The code of a stage. Raises Fatal if it cannot be imported, or reads other topics than declared."""
    found = _imported(spec.name, spec.folder)
    _check_reads(spec, f"{spec.folder}.{_ENTRY}", "step", found.reads)
    if found.columnar is not None:
        _check_reads(spec, f"{spec.folder}.{_ENTRY}", "columnar fold", found.columnar.reads)
    return found


@cache
def _imported(stage: str, folder: str) -> "Definition":
    from tapedeck.streams.definition import Definition  # noqa: PLC0415 - loads the configuration's models

    module = f"{folder}.{_ENTRY}"
    remedy = (
        f"folder= of its entry names a package whose module {_ENTRY} holds {_ATTRIBUTE}; install it where "
        "every process of the pipeline finds it"
    )
    imported = import_users(module, f"the code of stage {stage} cannot be imported", remedy)
    found = getattr(imported, _ATTRIBUTE, None)
    if not isinstance(found, Definition):
        raise Fatal(
            f"{_ATTRIBUTE} of stage {stage} is not a Definition",
            place=file_of(imported),
            value=type(found).__name__ if hasattr(imported, _ATTRIBUTE) else "none",
            remedy=f"make it a tapedeck.streams.definition.Definition in {module}",
        )
    return found


def _check_reads(spec: StageSpec, where: str, what: str, reads: Sequence[str]) -> None:
    place = users_file(where)
    missing = sorted(set(spec.inputs) - set(reads))
    if missing:
        raise Fatal(
            f"the {what} of stage {spec.name} does not read all its inputs: it would skip their records",
            value=", ".join(missing),
            remedy=f"handle them and name them in reads= of {where}, or remove them from the topology",
            place=place,
        )
    undeclared = sorted(set(reads) - set(spec.inputs))
    if undeclared:
        raise Fatal(
            f"the {what} of stage {spec.name} reads what the topology does not declare",
            value=", ".join(undeclared),
            remedy=f"add a Join of it to the entry of {spec.name}, or remove it from reads= of {where}",
            place=place,
        )


def _check_names(stages: Sequence[StageSpec]) -> None:
    seen: set[str] = set()
    for spec in stages:
        if spec.name in seen or spec.name in TAKEN:
            raise Fatal(
                "the name of a stage is taken: groups, logs and changelogs are named after it",
                value=spec.name,
                remedy="give the stage another name",
            )
        if not STAGE_NAME.fullmatch(spec.name):
            raise Fatal(
                "a stage's name is not valid in names of groups, folders and topics",
                value=spec.name,
                remedy="use up to 40 lower-case letters, digits and underscores, a letter first",
            )
        seen.add(spec.name)


def _check_topics(spec: StageSpec) -> None:
    """Every topic is in the catalogue and has a schema that is known, and no input is named twice."""
    for name in (*spec.inputs, *spec.outputs):
        schema = topic(name).schema
        if schema is not None and schema not in ids.names():
            raise Fatal(
                f"topic {name} of stage {spec.name} has a schema that no package declares",
                value=schema,
                remedy=f"add a line of {schema} to the ids.jsonl of your package, and declare the file with "
                "tapedeck.schemas.ids.declare before the topology is created",
            )
        if schema is None:
            raise Fatal(
                f"stage {spec.name} reads or writes a topic of raw bytes",
                value=name,
                remedy="a stage's topics hold records of a schema: give the topic one in the catalogue",
            )
    twice = sorted({name for name in spec.inputs if spec.inputs.count(name) > 1})
    if twice:
        raise Fatal(f"stage {spec.name} reads a topic twice", value=", ".join(twice), remedy="name it once")


def _writers(stages: Sequence[StageSpec]) -> dict[str, StageSpec]:
    found: dict[str, StageSpec] = {}
    for spec in stages:
        for name in spec.outputs:
            owner = topic(name).owner
            other = found[name].name if name in found else owner
            if other != spec.name:
                raise Fatal(
                    f"topic {name} has two writers, {other} and {spec.name}",
                    value=name,
                    remedy=f"let {spec.name} write another topic, or name it as owner in the catalogue",
                )
            found[name] = spec
    return found


def _ordered(stages: Sequence[StageSpec], writers: Mapping[str, StageSpec]) -> tuple[StageSpec, ...]:
    """The stages sorted so that each follows those it reads from, otherwise in the given order."""
    left, found = list(stages), []
    while left:
        names = {spec.name for spec in left}
        ready = next((spec for spec in left if not _waits_for(spec, writers) & names), None)
        if ready is None:
            raise Fatal(
                "stages read each other's outputs in a circle, so none of them could start",
                value=" -> ".join(_circle(left, writers)),
                remedy="remove one of these inputs, or split a stage in two",
            )
        left.remove(ready)
        found.append(ready)
    return tuple(found)


def _waits_for(spec: StageSpec, writers: Mapping[str, StageSpec]) -> set[str]:
    return {writers[name].name for name in spec.inputs if name in writers}


def _circle(left: Sequence[StageSpec], writers: Mapping[str, StageSpec]) -> list[str]:
    """One cycle among ``left``, by name: the first name is repeated at the end."""
    by_name = {spec.name: spec for spec in left}
    path = [left[0].name]
    while len(set(path)) == len(path):
        path.append(min(_waits_for(by_name[path[-1]], writers) & by_name.keys()))
    return path[path.index(path[-1]) :][::-1]


def _check_marks(spec: StageSpec) -> None:
    """What is joined or evaluated carries watermarks."""
    unmarked = [name for name in spec.inputs if not topic(name).watermarked]
    if (spec.joins or spec.period) and unmarked:
        raise Fatal(
            f"stage {spec.name} joins or evaluates by watermarks, and an input has none",
            value=", ".join(unmarked),
            remedy="declare the topic with watermarked=True, and let its writer write them",
        )


def _check_signals(spec: StageSpec) -> None:
    """Signals are routed minute by minute, to accounts and not by them."""
    for name in spec.outputs:
        if not topic(name).carries_signals:
            continue
        if spec.per_account:
            raise Fatal(
                f"stage {spec.name} writes signals, which every account reads, once per account",
                value=name,
                remedy="let a market stage write them, or give the topic another schema",
            )
        if not topic(name).watermarked or not topic(name).of_symbol:
            raise Fatal(
                f"stage {spec.name} writes signals to a topic that they cannot be routed from: a minute ends "
                "by its watermarks, and a record is found by its symbol",
                value=f"{name}: watermarked={topic(name).watermarked}, key={topic(name).key}",
                remedy='declare it with watermarked=True and key=("symbol",)',
            )


def _check_partitions(spec: StageSpec) -> None:
    """A task of a partitioned stage reads and writes one partition: the same of every topic."""
    if spec.scale == "single":
        return
    spread = topic(spec.trigger).spread
    apart = [name for name in spec.inputs if topic(name).spread not in (spread, Spread.ONE)]
    apart += [name for name in spec.outputs if topic(name).spread is not spread]
    if apart:
        raise Fatal(
            f"stage {spec.name} scales with {spec.trigger}, but other inputs are partitioned differently",
            value=", ".join(apart),
            remedy=f"partition them as {spec.trigger} is, or make the stage scale='single'",
        )


def _node(name: str) -> str:
    return name.replace(".", "_") + "_t"
