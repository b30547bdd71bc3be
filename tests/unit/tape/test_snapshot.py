"""A snapshot gives back what was saved, and says clearly what it does not fit."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.columnar.task import run_task
from tapedeck.streams.frame import unpack
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.rebuild.live import applied_by, read_changelog
from tapedeck.tape.rebuild.snapshot import (
    MANIFEST,
    Fits,
    Snapshot,
    Table,
    listed,
    load,
    newest_before,
    save,
    unreadable,
)
from tapedeck.tape.rebuild.tables import label_of
from tapedeck.tape.rebuild.verify import state_differences, verify_task
from tests.support.cases import BAR_STAGES
from tests.support.rebuilds import LAYOUT, TASKS, recorded
from tests.support.sim_tapes import CONFIG

FITS = Fits("cluster", LAYOUT, CONFIG.digest)


def tables() -> list[Table]:
    """The live tables of the recording."""
    source, found = recorded().basis().source, []
    for task in TASKS:
        values = read_changelog(source, task).values()
        found.append(Table(task, values, applied_by(source, task, values).cut, label_of(task, values)))
    return found


@pytest.fixture
def saved(tmp_path: Path) -> Snapshot:
    return save(tmp_path, "noon", tables(), FITS, "0.1.0")


def test_what_is_loaded_is_what_was_saved(saved: Snapshot, tmp_path: Path) -> None:
    found = load(tmp_path, "noon")
    found.refuse_unless(FITS)
    assert list(found.tables(TOPOLOGY, LAYOUT)) == tables()
    assert [each.name for each in listed(tmp_path)] == ["noon"]
    frame = pl.read_parquet(saved.folder / "features.parquet")
    assert frame.columns == ["task", "partition", "key", "epoch", "cursors", "body", "size"]
    assert (frame["size"] > 0).sum() == len({at for t in tables() if t.task.stage == "features"
                                             for at in t.values if at[1] != b"~watermark"})  # fmt: skip


def test_a_rebuild_begins_at_a_snapshot_and_gives_the_same_table(tmp_path: Path) -> None:
    """The snapshot stands half-way: what it leaves out is computed, and compared with live."""
    basis = recorded().basis()
    halves = []
    for task, whole in zip(TASKS, tables(), strict=True):
        trigger = {part: at // 2 for part, at in whole.offsets.items() if part[0] in ("bars", "features")}
        cut = trigger or {part: at // 2 for part, at in whole.offsets.items()}
        half = run_task(task, *basis[:3], cut=cut)
        halves.append(Table(task, half.values, half.applied, label_of(task, half.values)))
    save(tmp_path, "half", halves, FITS, "0.1.0")
    for table in load(tmp_path, "half").tables(TOPOLOGY, LAYOUT):
        live = read_changelog(basis.source, table.task).values()
        if table.task.stage not in BAR_STAGES:
            continue  # this log has hardly any news
        assert state_differences(table.task, live, table.values), "the snapshot is as far as live"
        committed = recorded().committed[table.task]
        assert verify_task(table.task, basis, committed=committed, begin=table.begin).differences == []


def test_the_newest_snapshot_before_a_time_is_found(tmp_path: Path) -> None:
    labels = [1_000_000, 2_000_000, 3_000_000]
    for label in labels:
        save(tmp_path, f"at{label}", [replace(t, label=label) for t in tables()], FITS, "0.1.0")
    save(tmp_path, "other", [replace(t, label=1_900_000) for t in tables()],
         replace(FITS, cluster="another"), "0.1.0")  # fmt: skip
    found = newest_before(tmp_path, 2_500_000, FITS, TASKS)
    assert found is not None and found.name == "at2000000"
    assert newest_before(tmp_path, 999_999, FITS, TASKS) is None


def test_of_snapshots_at_one_watermark_the_one_with_most_of_the_tasks_is_begun_at(tmp_path: Path) -> None:
    whole = [replace(t, label=1_000_000) for t in tables()]
    features = [t for t in whole if t.task.stage == "features"]
    save(tmp_path, "whole", whole, FITS, "0.1.0")
    save(tmp_path, "with-features-only", features, FITS, "0.1.0")
    found = newest_before(tmp_path, 2_000_000, FITS, TASKS)
    assert found is not None and found.name == "whole"
    save(tmp_path, "later", [replace(t, label=1_500_000) for t in features], FITS, "0.1.0")
    others = [task for task in TASKS if task.stage != "features"]
    found = newest_before(tmp_path, 2_000_000, FITS, others)
    assert found is not None and found.name == "whole"


@pytest.mark.parametrize(
    "other, told",
    [
        (replace(FITS, cluster="another"), "another cluster"),
        (replace(FITS, config_digest="0" * 64), "another config digest"),
        (replace(FITS, layout=replace(LAYOUT, symbol_partitions=12)), "another symbol partitions.*12"),
        (replace(FITS, layout=replace(LAYOUT, prefix="beside")), "another prefix.*beside"),
    ],
)
def test_a_snapshot_of_something_else_is_refused(saved: Snapshot, other: Fits, told: str) -> None:
    with pytest.raises(Fatal, match=told):
        saved.refuse_unless(other)


def test_a_snapshot_of_another_format_version_is_refused(saved: Snapshot, tmp_path: Path) -> None:
    path = saved.folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9}))
    with pytest.raises(Fatal, match=r"another format version; got 9; this release reads version 1"):
        load(tmp_path, "noon")
    assert listed(tmp_path) == []
    assert "another format version" in str(unreadable(tmp_path)[0])


def test_a_file_that_is_not_what_was_saved_is_refused(saved: Snapshot, tmp_path: Path) -> None:
    path = saved.folder / "features.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(epoch=pl.lit(7, pl.UInt32)).write_parquet(path)
    with pytest.raises(Fatal, match=r"features.parquet of snapshot noon was changed"):
        list(load(tmp_path, "noon").tables(TOPOLOGY, LAYOUT))
    without_sums(saved)
    with pytest.raises(Fatal, match=r"features.parquet of snapshot noon was changed"):
        list(load(tmp_path, "noon").tables(TOPOLOGY, LAYOUT))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Fatal, match=r"cannot be read.*features.parquet'; restore the file, or remove"):
        list(load(tmp_path, "noon").tables(TOPOLOGY, LAYOUT))
    path.unlink()
    with pytest.raises(Fatal, match=r"noon lacks features.parquet.*restore the file"):
        list(load(tmp_path, "noon").tables(TOPOLOGY, LAYOUT))


def without_sums(saved: Snapshot) -> None:
    """Make ``saved`` one of a release that kept no checksums."""
    path = saved.folder / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in manifest.items() if k not in ("files", "seal")}))


@pytest.mark.parametrize("place", [8, -9, "middle"])
def test_one_flipped_byte_of_any_file_is_refused_by_name_before_the_first_table(
    saved: Snapshot, tmp_path: Path, place: int | str
) -> None:
    files = sorted(saved.folder.glob("*.parquet"))
    assert [each.name for each in files] == sorted(load(tmp_path, "noon").manifest["files"])
    for path in files:
        whole = path.read_bytes()
        at = len(whole) // 2 if isinstance(place, str) else place
        flipped = bytearray(whole)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(Fatal, match=f"{path.name} of snapshot noon was changed.*restore the file"):
            next(load(tmp_path, "noon").tables(TOPOLOGY, LAYOUT))
        path.write_bytes(whole)
    assert list(load(tmp_path, "noon").tables(TOPOLOGY, LAYOUT)) == tables()


def test_an_offset_that_was_changed_in_the_manifest_is_refused(saved: Snapshot, tmp_path: Path) -> None:
    path = saved.folder / MANIFEST
    manifest = json.loads(path.read_text())
    part = next(iter(manifest["tasks"][0]["offsets"]))
    manifest["tasks"][0]["offsets"][part] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(Fatal, match=r"the manifest of snapshot noon was changed.*manifest.json"):
        load(tmp_path, "noon")
    assert "was changed" in str(unreadable(tmp_path)[0])


def test_a_manifest_that_is_no_json_is_refused_and_named(saved: Snapshot, tmp_path: Path) -> None:
    (saved.folder / MANIFEST).write_text("{")
    with pytest.raises(Fatal, match=r"manifest of snapshot noon cannot be read.*restore the file"):
        load(tmp_path, "noon")
    assert len(unreadable(tmp_path)) == 1


def test_names_are_checked(saved: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="a snapshot of this name already exists"):
        save(tmp_path, "noon", tables(), FITS, "0.1.0")
    with pytest.raises(Fatal, match="not a valid name"):
        save(tmp_path, "../noon", tables(), FITS, "0.1.0")
    with pytest.raises(Fatal, match=r"no such snapshot.*snapshots: noon"):
        load(tmp_path, "midnight")


OLD, NEW = b"o" * 16, b"n" * 16


def test_a_snapshot_says_which_topics_its_offsets_count_in_and_its_digest_does_not(tmp_path: Path) -> None:
    without = save(tmp_path, "without", tables(), FITS, "0.1.0")
    beside = save(tmp_path, "beside", tables(), FITS, "0.1.0", ids={"bars": OLD})
    assert without.manifest["digests"] == beside.manifest["digests"]
    found = load(tmp_path, "beside")
    logs = {t.task.stage: {rank for v in t.values.values() for rank in unpack(v).logs.items()}
            for t in found.tables(TOPOLOGY, LAYOUT)}  # fmt: skip
    assert logs["features"] == {(0, OLD)}
    assert logs["scores"] == set()
    found.refuse_other_topics({"bars": OLD, "features": NEW})
    found.refuse_other_topics({})


def test_a_snapshot_whose_topic_was_made_anew_since_is_refused_by_name(tmp_path: Path) -> None:
    found = save(tmp_path, "noon", tables(), FITS, "0.1.0", ids={"bars": OLD, "features": OLD})
    with pytest.raises(Fatal, match="topic bars was recreated after the snapshot noon"):
        found.refuse_other_topics({"bars": NEW, "features": OLD})


def test_a_snapshot_of_an_older_release_has_no_ids_and_is_read(saved: Snapshot, tmp_path: Path) -> None:
    without_sums(saved)
    path = saved.folder / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["topic_ids"]
    path.write_text(json.dumps(manifest))
    found = load(tmp_path, "noon")
    found.refuse_other_topics({"bars": NEW})
    assert list(found.tables(TOPOLOGY, LAYOUT)) == tables()
