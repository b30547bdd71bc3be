"""Regression tapes on disk: what is saved is loaded, and whatever is not whole is refused with a remedy."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.connectors.recorded.format import MANIFEST, RECORDS, from_avro, load, renumbered, to_avro
from tapedeck.schemas import codec
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.ids import IdMap, current_id
from tapedeck.streams.protocol import Message
from tests.tapes import FOLDERS, HERE

TAPE = HERE / "revisions_and_inserted_bars"
MOST_BYTES = 300_000

_bytes = st.none() | st.binary(max_size=20)
_messages = st.lists(
    st.builds(
        Message,
        st.sampled_from(["bars", "quotes", "universe"]),
        st.integers(0, 3),
        st.just(0),
        st.integers(0, 2**41),
        _bytes,
        _bytes,
        st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3).map(tuple),
    ),
    max_size=30,
)


@given(_messages)
def test_any_records_come_back_as_they_were(messages):
    held = renumbered(messages)
    content = to_avro(held)
    assert from_avro(content) == held
    assert to_avro(held) == content


def test_records_are_numbered_in_each_partition_by_their_order():
    places = [("bars", 1), ("bars", 0), ("bars", 1), ("quotes", 1)]
    held = renumbered(Message(name, part, 99, at, None, None, ()) for at, (name, part) in enumerate(places))
    assert [(m.topic, m.partition, m.offset, m.timestamp) for m in held] == [
        ("bars", 0, 0, 1), ("bars", 1, 0, 0), ("bars", 1, 1, 2), ("quotes", 1, 0, 3),
    ]  # fmt: skip


def test_a_tape_holds_the_id_logs_ids_whatever_registry_its_cluster_had(folder):
    ours = load(folder)
    stamped = {log_id: 1000 + log_id for log_id in range(1, 100)}
    codec.use_ids(IdMap(to_wire={}, to_log={wire: log_id for log_id, wire in stamped.items()}))
    try:
        theirs = load(folder)
        values = [m.value for m in theirs.messages if m.value is not None]
        assert {int.from_bytes(value[1:5]) for value in values} == {
            stamped[current_id(name)] for name in {m.topic for m in ours.messages if m.value is not None}
        }
        assert codec.decode("bars", next(m.value for m in theirs.messages if m.topic == "bars" and m.value))
        assert to_avro(theirs.messages) == (folder / RECORDS).read_bytes()
    finally:
        codec.use_ids(None)
    assert load(folder) == ours


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TAPE, tmp_path / "tape"))


def refusal(folder: Path) -> str:
    with pytest.raises(Fatal) as caught:
        load(folder)
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("each", FOLDERS, ids=lambda path: path.name)
def test_the_tapes_of_this_project_are_small_and_synthetic(each):
    manifest = load(each).manifest
    assert manifest.name == each.name
    assert sum(path.stat().st_size for path in each.iterdir()) < MOST_BYTES
    assert manifest.origins
    assert all(origin.startswith("synthetic/") for origin in manifest.origins)


def test_records_cut_in_half_are_refused_with_both_sizes(folder):
    content = (folder / RECORDS).read_bytes()
    (folder / RECORDS).write_bytes(content[: len(content) // 2])
    assert f"is truncated; got '{folder / RECORDS}: {len(content) // 2} of {len(content)} bytes'" in refusal(
        folder
    )


@given(st.data())
def test_a_changed_byte_of_the_records_is_refused(tmp_path_factory, data):
    folder = Path(shutil.copytree(TAPE, tmp_path_factory.mktemp("tape") / "tape"))
    content = bytearray((folder / RECORDS).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / RECORDS).write_bytes(content)
    assert "was changed" in refusal(folder)


def test_a_manifest_cut_in_half_is_refused(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[: len(text) // 2])
    assert "manifest.json is truncated or damaged" in refusal(folder)


@pytest.mark.parametrize("old, new", [('"count": 978', '"count": 979'), ('"rsi": 14', '"rsi": 15')])
def test_a_changed_value_of_the_manifest_is_refused(folder, old, new):
    text = (folder / MANIFEST).read_text()
    assert old in text
    (folder / MANIFEST).write_text(text.replace(old, new))
    assert "its checksum does not match" in refusal(folder)


def test_another_format_version_is_refused_by_its_number(folder):
    document = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(document | {"format": 2}))
    assert "reads tapes of format 1; got 2; read it with the version that wrote it" in refusal(folder)


def test_a_folder_without_a_tape_is_refused(tmp_path):
    assert "there is no recorded tape" in refusal(tmp_path)


def test_a_tape_without_its_records_is_refused(folder):
    (folder / RECORDS).unlink()
    assert RECORDS in refusal(folder)
