"""Golden bytes: what any version ever wrote is read the same by every later reader; the log never changes."""

import json

import fastavro
import pytest

from tapedeck.schemas import codec, golden, ids

FILES = sorted(golden.FOLDER.glob("*.json"))
VERSIONS = [(name, i, document) for name in ids.names() for i, document in ids.versions(name)]


def content_of(name, schema_id):
    path = golden.FOLDER / f"{name}-{schema_id}.json"
    assert path.is_file(), f"{path.name} is missing: run python -m tapedeck.schemas"
    return json.loads(path.read_text())


def common(one, other):
    """What ``one`` holds of the fields that both have, at any depth."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: common(value, other[key]) for key, value in one.items() if key in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [common(a, b) for a, b in zip(one, other, strict=True)]
    return one


def test_the_id_log_has_unique_rising_ids_and_every_schema_file_is_its_newest_version():
    lines = [json.loads(line) for line in (golden.FOLDER.parent / ids.LOG_NAME).read_text().splitlines()]
    assert [line["id"] for line in lines] == list(range(1, len(lines) + 1))
    newest = {line["name"]: line["schema"] for line in lines}
    files = {p.stem: json.loads(p.read_text()) for p in (golden.FOLDER.parent / "avsc").glob("*.avsc")}
    assert newest == files, "run python -m tapedeck.schemas"


def test_no_golden_file_has_lost_its_line_in_the_log():
    assert {path.stem for path in FILES} <= {f"{name}-{i}" for name, i, _ in VERSIONS}


@pytest.mark.parametrize("name, schema_id, document", VERSIONS, ids=[f"{n}-{i}" for n, i, _ in VERSIONS])
def test_a_logged_schema_is_the_one_its_golden_bytes_were_written_with(name, schema_id, document):
    content = content_of(name, schema_id)
    assert (content["id"], content["name"]) == (schema_id, name)
    assert content["schema_sha256"] == golden.schema_digest(document), "a line of the id log was edited"


@pytest.mark.parametrize("name, schema_id, document", VERSIONS, ids=[f"{n}-{i}" for n, i, _ in VERSIONS])
def test_golden_bytes_are_read_by_the_codec_and_by_every_later_reader(name, schema_id, document):
    writer = fastavro.parse_schema(codec.without_times(document))
    for sample in content_of(name, schema_id)["samples"]:
        wire, body = bytes.fromhex(sample["wire"]), sample["body"]
        now = golden.as_json(codec.decode(name, wire))
        assert common(now, body) == common(body, now)
        for later_id, later in ids.versions(name):
            if later_id >= schema_id:
                reader = fastavro.parse_schema(codec.without_times(later))
                fastavro.schemaless_reader(codec.io.BytesIO(wire[5:]), writer, reader)


@pytest.mark.parametrize("name", ids.names())
def test_the_samples_of_the_newest_version_encode_to_their_golden_bytes(name):
    schema_id = ids.current_id(name)
    wires = [bytes.fromhex(sample["wire"]) for sample in content_of(name, schema_id)["samples"]]
    assert [codec.encode(name, body) for body in golden.samples_of(codec.load_schema(name))] == wires


def test_every_record_of_the_inbox_union_stands_in_a_sample():
    union = next(f["type"] for f in codec.load_schema("account_inbox")["fields"] if f["name"] == "payload")
    seen = {body["payload"][0] for body in golden.samples_of(codec.load_schema("account_inbox"))}
    assert seen == {f"tapedeck.{branch['name']}" for branch in union}


def test_the_generator_adds_what_is_missing_and_touches_nothing_else(tmp_path):
    first = golden.add_missing(tmp_path)
    assert len(first) == len(VERSIONS)
    kept = tmp_path / first[0]
    kept.write_text("kept as it is")
    (tmp_path / first[1]).unlink()
    assert golden.add_missing(tmp_path) == [first[1]]
    assert kept.read_text() == "kept as it is"
