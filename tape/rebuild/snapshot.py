"""Snapshots: the tables of some stages at one moment, as Parquet with a manifest, to resume or restore from.

A folder per snapshot: ``STAGE.parquet`` with one row per key and ``manifest.json``. The rows are (task, table
partition, key, epoch, cursors, body, size); the manifest says what they belong to: configuration, rules,
cluster, prefix, partition counts, the offset after them per input partition, the ids of the topics of these
offsets, their digest, the checksum of each file, and one of itself. All are checked before anything is used.
"""

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.changelog import Values
from tapedeck.streams.columnar.job import Start, TaskId, inputs_of, task_name
from tapedeck.streams.frame import without_logs
from tapedeck.streams.identity import RULES_VERSION
from tapedeck.streams.logs import NO_IDS, TopicIds, logs_now, short
from tapedeck.streams.merge import Part
from tapedeck.streams.topology import Topology
from tapedeck.tape.rebuild.verdict import Begin
from tapedeck.topics.catalogue import Layout

FORMAT = 1
MANIFEST = "manifest.json"
_SEAL = "seal"
_DAMAGED = "restore the file, or remove the snapshot's folder and take a new one"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Fits:
    """What a snapshot belongs to. Its offsets and digests cannot be used elsewhere."""

    cluster: str
    layout: Layout
    config_digest: str

    def fields(self) -> dict[str, Any]:
        """As the manifest stores them."""
        return {
            "cluster": self.cluster, "prefix": self.layout.prefix, "config_digest": self.config_digest,
            "rules_version": RULES_VERSION, "symbol_partitions": self.layout.symbol_partitions,
            "account_partitions": self.layout.account_partitions,
        }  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One task's table. ``offsets``: after it, per input partition; ``label``: its watermark."""

    task: TaskId
    values: Values
    offsets: Mapping[Part, int]
    label: int | None

    @property
    def begin(self) -> Begin:
        return Begin(Start(self.values, self.offsets), self.label or 0)


@dataclass(frozen=True)
class Snapshot:
    """A named snapshot; ``tables`` are read on demand."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def label(self) -> int | None:
        """The lowest watermark of its tables; None if it holds accounts only."""
        labels = [task["watermark"] for task in self.manifest["tasks"] if task["watermark"] is not None]
        return min(labels, default=None)

    @property
    def held(self) -> set[str]:
        """The tasks whose tables it holds."""
        return {task_name(told["stage"], told["home"], told["account"]) for told in self.manifest["tasks"]}

    @property
    def topic_ids(self) -> dict[str, bytes]:
        """The ids of the topics of its offsets; none in a snapshot of an older release."""
        return {name: bytes.fromhex(each) for name, each in self.manifest.get("topic_ids", {}).items()}

    def refuse_other_topics(self, ids: TopicIds) -> None:
        """Raise Fatal if a topic in ``ids`` was recreated since."""
        for name, known in self.topic_ids.items():
            if ids.get(name, known) != known:
                raise Fatal(
                    f"topic {name} was recreated after the snapshot {self.name}",
                    value=short(ids[name]),
                    remedy=f"its offsets belong to the topic with the id {short(known)}: rebuild instead",
                )

    def refuse_unless(self, fits: Fits) -> None:
        """Raise Fatal, naming what differs, if it belongs to something else."""
        for name, wanted in fits.fields().items():
            if self.manifest[name] != wanted:
                raise Fatal(
                    f"the snapshot {self.name} belongs to another {name.replace('_', ' ')}",
                    value=self.manifest[name],
                    remedy=f"here it is {wanted!r}: use a snapshot of this one, or take a new one",
                )

    def refuse_damaged(self) -> None:
        """Raise Fatal, naming the file, if one is missing or was changed."""
        sums = self.manifest.get("files", {})  # none in a snapshot of an older release; its digests remain
        for name in sums or (f"{stage}.parquet" for stage in self.manifest["digests"]):
            path = self.folder / name
            if not path.is_file():
                raise Fatal(f"the snapshot {self.name} lacks {name}", value=str(path), remedy=_DAMAGED)
            if name in sums and (found := _checksum(path)) != sums[name]:
                raise Fatal(
                    f"{name} of snapshot {self.name} was changed: its checksum is {found[:16]}, "
                    f"the manifest says {sums[name][:16]}",
                    value=str(path),
                    remedy=_DAMAGED,
                )

    def tables(self, topology: Topology, layout: Layout) -> Iterator[Table]:
        """Its tables. Raises Fatal, before returning any, if a file was changed."""
        from tapedeck.tape.rebuild.table_files import read_tables  # noqa: PLC0415 - the extra frames

        self.refuse_damaged()
        rows: dict[str, Values] = {}
        for stage, digest in sorted(self.manifest["digests"].items()):
            path = self.folder / f"{stage}.parquet"
            try:
                found = read_tables(path, logs_now(topology.stage(stage), self.topic_ids))
            except ValueError as error:
                raise Fatal(
                    f"{path.name} of snapshot {self.name} cannot be read: {error}",
                    value=str(path),
                    remedy=_DAMAGED,
                ) from error
            if _digest(found) != digest:
                raise Fatal(
                    f"{path.name} of snapshot {self.name} was changed",
                    value=_digest(found)[:16],
                    remedy=f"the manifest says {digest[:16]}: restore the file, or take a new snapshot",
                )
            rows |= found
        for told in self.manifest["tasks"]:
            task = TaskId(topology.stage(told["stage"]), told["home"], told["account"])
            offsets = {part: told["offsets"][_told(part)] for part in inputs_of(task, layout)}
            yield Table(task, rows.get(str(task), {}), offsets, told["watermark"])


def save(
    folder: Path, name: str, tables: Sequence[Table], fits: Fits, code_version: str, *, ids: TopicIds = NO_IDS
) -> Snapshot:
    """Write a snapshot under ``folder``. ``ids``: those of the topics of its offsets. Raises Fatal for a
    bad name and for one that is taken."""
    if not _NAME.fullmatch(name):
        remedy = "use up to 64 letters, digits, dots, dashes and underscores"
        raise Fatal("not a valid name of a snapshot", value=name, remedy=remedy)
    path = folder / name
    if path.exists():
        raise Fatal(
            "a snapshot of this name already exists", value=name, remedy=f"choose another, or remove {path}"
        )
    from tapedeck.tape.rebuild.table_files import write_tables  # noqa: PLC0415 - the extra frames

    made = folder / f".{name}.part"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    digests, sums = {}, {}
    for stage in dict.fromkeys(table.task.stage for table in tables):
        mine = {str(t.task): t.values for t in tables if t.task.stage == stage}
        file = made / f"{stage}.parquet"
        write_tables(file, mine)
        sums[file.name] = _checksum(file)
        digests[stage] = _digest(mine)
    manifest = {
        "format": FORMAT, **fits.fields(), "code_version": code_version, "digests": digests, "files": sums,
        "tasks": [_manifest_of(table) for table in tables],
        "topic_ids": {name: each.hex() for name, each in sorted(ids.items())},
    }  # fmt: skip
    manifest[_SEAL] = _seal(manifest)
    (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    made.rename(path)
    return Snapshot(path, manifest)


def load(folder: Path, name: str) -> Snapshot:
    """The snapshot of that name.

    Raises Fatal if it is missing, was changed, or has another format version.
    """
    path = folder / name
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError:
        known = ", ".join(each.name for each in listed(folder)) or "none"
        raise Fatal("there is no such snapshot", value=name, remedy=f"snapshots: {known}") from None
    except ValueError as error:
        what = f"the manifest of snapshot {name} cannot be read: {error}"
        raise Fatal(what, value=str(path / MANIFEST), remedy=_DAMAGED) from error
    if manifest.get("format") != FORMAT:
        raise Fatal(
            f"the snapshot {name} has another format version",
            value=manifest.get("format"),
            remedy=f"this release reads version {FORMAT}: use the one that wrote it, or take a new snapshot",
        )
    if _SEAL in manifest and manifest[_SEAL] != _seal(manifest):
        what = f"the manifest of snapshot {name} was changed: its checksum does not match"
        raise Fatal(what, value=str(path / MANIFEST), remedy=_DAMAGED)
    return Snapshot(path, manifest)


def listed(folder: Path) -> list[Snapshot]:
    """Every snapshot under ``folder`` that this release reads, oldest watermark first."""
    found = []
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            found.append(load(folder, path.parent.name))
        except Fatal:
            continue
    return sorted(found, key=lambda each: (each.label or 0, each.name))


def unreadable(folder: Path) -> list[Fatal]:
    """What is wrong with each snapshot under ``folder`` that ``listed`` omits."""
    found = []
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            load(folder, path.parent.name)
        except Fatal as error:
            found.append(error)
    return found


def newest_before(folder: Path, time_us: int, fits: Fits, tasks: Collection[TaskId]) -> Snapshot | None:
    """The newest usable snapshot at or before ``time_us``; None if there is none.

    Of several at one watermark, the one with most of ``tasks``. A snapshot with none does not count.
    """
    wanted = {str(task) for task in tasks}
    found: list[tuple[int, int, str, Snapshot]] = []
    for each in listed(folder):
        same = all(each.manifest[name] == value for name, value in fits.fields().items())
        held = len(wanted & each.held)
        if same and held and each.label is not None and each.label <= time_us:
            found.append((each.label, held, each.name, each))
    return max(found)[-1] if found else None


def told(snapshot: Snapshot) -> str:
    """One line about a snapshot."""
    label = snapshot.label
    at = f"watermark {iso_time(label)}" if label is not None else "accounts only"
    stages = ", ".join(snapshot.manifest["digests"])
    prefix = snapshot.manifest["prefix"] or "no prefix"
    return f"{snapshot.name:<24} {at}  {stages} ({prefix}, config {snapshot.manifest['config_digest'][:12]})"


def _manifest_of(table: Table) -> dict[str, Any]:
    task = table.task
    return {
        "stage": task.stage, "home": task.home, "account": task.account_id, "watermark": table.label,
        "keys": len(table.values), "offsets": {_told(part): at for part, at in sorted(table.offsets.items())},
    }  # fmt: skip


def _told(part: Part) -> str:
    return f"{part[0]}/{part[1]}"


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over everything that a manifest says."""
    said = {name: value for name, value in manifest.items() if name != _SEAL}
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _digest(tables: Mapping[str, Values]) -> str:
    """SHA-256 over the tables: epochs, cursors and bodies; the topics' ids are in the manifest."""
    total = sha256()
    for task, values in sorted(tables.items()):
        for (partition, key), data in sorted(values.items()):
            for piece in (task.encode(), b"%d" % partition, key, without_logs(data)):
                total.update(len(piece).to_bytes(4, "big") + piece)
    return total.hexdigest()
