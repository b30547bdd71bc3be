"""The topology as a value: what follows from it, and what it refuses to be."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tapedeck.schemas import ids
from tapedeck.schemas.codec import PREFIX, decode, encode, load_schema
from tapedeck.schemas.columns import decode_columns, encode_columns
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.definition import Definition
from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.topics.catalogue import CATALOGUE, declare, topic
from tapedeck.topics.topic import Spread, Topic

CODE = "tests.unit.test_topology_code"
TOY = StageSpec(name="toy", folder=CODE, trigger="toy_in", outputs=("toy_out",), doc="a toy")


def toy_topic(name: str, owner: str, **changed: object) -> Topic:
    found = Topic(
        name=name, spread=Spread.SYMBOL, key=("symbol",), part="symbol", schema="bars",
        natural_key=("feed", "symbol", "t"), watermarked=True, owner=owner, doc="a toy's",
    )  # fmt: skip
    return replace(found, **changed)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with CATALOGUE.scratch():
        declare(
            toy_topic("toy_in", "play"),
            toy_topic("toy_out", "toy"),
            toy_topic("toy_two", "two"),
            toy_topic("toy_unmarked", "play", watermarked=False),
            toy_topic("toy_accounts", "play", spread=Spread.ACCOUNT),
            toy_topic("toy_raw", "play", schema=None),
        )
        yield


def with_toy(**changed: object) -> Topology:
    return Topology(*TOPOLOGY.stages, replace(TOY, **changed))  # type: ignore[arg-type]


def test_what_tools_ask_of_it_follows_from_the_stages() -> None:
    assert TOPOLOGY.names == (
        "stories", "post_links", "features", "sentiment_windows", "scores", "watchlist", "signals",
        "mentions", "surges", "account",
    )  # fmt: skip
    assert tuple(spec.name for spec in TOPOLOGY.market) == TOPOLOGY.names[:-1]
    assert TOPOLOGY.account.name == "account"
    assert TOPOLOGY.sources == ("news", "posts", "bars", "sentiment", "universe")
    roots = {spec.name: TOPOLOGY.root(spec) for spec in TOPOLOGY.market}
    assert (roots["signals"], roots["surges"], roots["stories"]) == ("bars", "sentiment", "news")
    assert TOPOLOGY.writer("memberships") is TOPOLOGY.stage("watchlist")
    assert TOPOLOGY.writer("bars") is None
    assert TOPOLOGY.optional == ("sentiment_windows",)
    assert [spec.name for spec in TOPOLOGY.downstream(["scores"])] == ["watchlist", "signals"]
    assert {topic(name).spread for name in TOPOLOGY.changelogs} == set(Spread)
    with pytest.raises(Fatal, match="no such stage; got 'sings'; stages: stories, post_links, features"):
        TOPOLOGY.stage("sings")


def test_stages_come_after_those_that_they_read_however_they_are_given() -> None:
    turned = Topology(*reversed(TOPOLOGY.stages)).names
    assert turned.index("features") < turned.index("scores")
    assert turned.index("scores") < turned.index("watchlist") < turned.index("signals")


def test_a_stage_more_is_asked_for_like_the_others() -> None:
    wider = with_toy(joins=(Join("features", optional=True),))
    assert wider.optional == ("sentiment_windows", "features")
    assert wider.changelogs["toy.changelog"].name == "toy"
    assert topic("toy.changelog").spread is Spread.SYMBOL
    assert "toy_in joined with features if there -> toy_out" in wider.as_text()
    assert "stage_toy" in wider.as_mermaid()


def test_one_that_went_to_another_process_has_its_changelogs_there() -> None:
    code = (
        "import pickle, sys; t = pickle.load(sys.stdin.buffer); from tapedeck.topics.catalogue import topic; "
    )
    code += "print(t.names, topic('scores.changelog').spread)"
    told = subprocess.check_output([sys.executable, "-c", code], input=pickle.dumps(TOPOLOGY))
    assert told.decode().split()[-1] == "S"


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"name": "features"}, "the name of a stage is taken.*got 'features'.*another name"),
        ({"name": "sink"}, "the name of a stage is taken.*got 'sink'"),
        ({"name": "To-y"}, "is not valid in names of groups.*got 'To-y'.*lower-case"),
        ({"trigger": "tyo_in"}, "no such topic in the catalogue; got 'tyo_in'.*did you mean 'toy_in'"),
        ({"trigger": "toy_raw"}, "a topic of raw bytes; got 'toy_raw'.*give the topic one in the catalogue"),
        ({"joins": (Join("toy_in"),)}, "reads a topic twice; got 'toy_in'"),
        ({"outputs": ("scores",)}, "topic scores has two writers, scores and toy; got 'scores'"),
        ({"outputs": ("bars",)}, "topic bars has two writers, play and toy; got 'bars'"),
        ({"outputs": ("toy_two",)}, "topic toy_two has two writers, two and toy.*name it as owner"),
        ({"joins": (Join("toy_unmarked"),)}, "an input has none; got 'toy_unmarked'.*watermarked=True"),
        ({"joins": (Join("toy_accounts"),)}, "partitioned differently; got 'toy_accounts'.*as toy_in is"),
        ({"trigger": "scores"}, "scales with scores.*got 'toy_out'"),
    ],
)
def test_what_cannot_run_is_refused_with_what_to_change(changed: dict[str, object], words: str) -> None:
    with pytest.raises(Fatal, match=f"(?s){words}"):
        with_toy(**changed)


def test_stages_that_wait_for_each_other_are_named_in_their_circle() -> None:
    other = StageSpec(name="two", folder=CODE, trigger="toy_out", outputs=("toy_two",), doc="another toy")
    with pytest.raises(Fatal, match=r"in a circle.*got 'toy -> two -> toy'.*split a stage in two"):
        Topology(*TOPOLOGY.stages, replace(TOY, joins=(Join("toy_two"),)), other)


def test_a_single_stage_may_join_what_is_partitioned_otherwise() -> None:
    assert with_toy(scale="single", joins=(Join("universe"), Join("scores"))).stage("toy").scale == "single"


def code(monkeypatch: pytest.MonkeyPatch, name: str, found: object) -> StageSpec:
    """The toy with a module of its own for its code."""
    folder = f"{CODE}.{name}"
    module = ModuleType(f"{folder}.definition")
    module.DEFINITION = found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"{folder}.definition", module)
    return replace(TOY, folder=folder, joins=(Join("features", optional=True),))


def definition(*reads: str) -> Definition:
    return Definition(make=lambda config, calendar, account_id: None, reads=reads, state_version=1)  # type: ignore[arg-type,return-value]


def test_a_fold_that_misses_an_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = code(monkeypatch, "misses", definition("toy_in"))
    with pytest.raises(
        Fatal, match=r"step of stage toy does not read all its inputs.*got 'features'.*reads="
    ):
        definition_of(spec)
    columnar = replace(
        definition("toy_in", "features"), columnar=definition_of(TOPOLOGY.stage("scores")).columnar
    )
    with pytest.raises(Fatal, match=r"columnar fold of stage toy does not read all its inputs.*got 'toy_in'"):
        definition_of(code(monkeypatch, "columns", columnar))


def test_a_fold_that_reads_what_is_not_declared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = code(monkeypatch, "more", definition("toy_in", "features", "quotes"))
    with pytest.raises(Fatal, match=r"reads what the topology does not declare; got 'quotes'.*add a Join"):
        definition_of(spec)


def test_code_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match=r"code of stage toy cannot be imported: there is no module no"):
        with_toy(folder="no.such.package").check_code()
    with pytest.raises(Fatal, match="DEFINITION of stage toy is not a Definition; got 'str'"):
        definition_of(code(monkeypatch, "text", "a text"))


def test_the_code_of_every_shipped_stage_reads_what_its_entry_says() -> None:
    TOPOLOGY.check_code()


NO_MINUTES = {"stories", "post_links", "sentiment_windows", "mentions", "surges"}
"""Stages that news and posts pass, and no minute of a symbol."""


def test_what_shipped_stages_tell_is_of_their_own_topics_and_of_the_sources_that_they_read() -> None:
    for spec in TOPOLOGY:
        definition = definition_of(spec)
        told, trail = definition.told, definition.trail
        own = {*spec.outputs, *(name for name in spec.inputs if TOPOLOGY.writer(name) is None)}
        assert set(told) <= own, spec.name
        assert {words.because for words in told.values()} <= {*own, ""}
        assert {name for words in told.values() for each in words.names for name in each.beside} <= own
        if trail is None:  # `tape why` follows bars to decisions, and signals to orders
            assert TOPOLOGY.root(spec) in ("news", "posts", "sentiment"), spec.name
            continue
        assert {trail.topic, *trail.places} <= own, spec.name
        says = {type(trail.nothing), *(each.enum for each in definition.reasons)}
        assert len(says) == len(definition.reasons), f"{spec.name} has no words for {trail.nothing}"


def test_two_topics_of_one_name_are_refused() -> None:
    declare(toy_topic("toy_in", "play"))  # the same again
    with pytest.raises(Fatal, match="two topics have the same name; got 'toy_in'"):
        declare(toy_topic("toy_in", "toy"))


SCHEMA = {"type": "record", "name": "Toy", "namespace": "own", "fields": [{"name": "n", "type": "long"}]}


def id_log(folder: Path, *rows: tuple[object, str, object]) -> Path:
    path = folder / "ids.jsonl"
    lines = (json.dumps({"id": i, "name": name, "schema": schema}) for i, name, schema in rows)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_package_brings_records_of_its_own(tmp_path: Path, own_schemas: None) -> None:
    ids.declare(id_log(tmp_path, (1_000_000, "toy_record", SCHEMA)))
    ids.declare(id_log(tmp_path, (1_000_000, "toy_record", SCHEMA)))
    assert load_schema("toy_record") == SCHEMA
    wire = encode("toy_record", {"n": 3})
    assert int.from_bytes(wire[1:5], "big") == 1_000_000 and decode("toy_record", wire) == {"n": 3}
    assert ids.newest_id() < ids.FIRST_OWN


@pytest.mark.parametrize("schema_id", [ids.FIRST_OWN, 16_909_060, ids.LAST])
def test_an_id_of_four_bytes_is_read_by_rows_by_columns_and_behind_a_registry(
    tmp_path: Path, own_schemas: None, schema_id: int
) -> None:
    name = f"toy_{schema_id}"  # what is compiled of a schema is kept by its name
    ids.declare(id_log(tmp_path, (schema_id, name, SCHEMA)))
    wire = encode(name, {"n": 3})
    data, spans = np.frombuffer(wire, dtype=np.uint8), np.array([[0, len(wire)]])
    found, rejected = decode_columns(name, data, spans)
    assert found.row(0) == decode(name, wire) == {"n": 3} and not len(rejected)
    assert encode_columns(name, found)[0].tobytes() == wire == PREFIX.pack(0, schema_id) + wire[5:]
    behind = ids.IdMap(to_wire={name: 2**32 - 1}, to_log={2**32 - 1: schema_id})
    assert decode(name, encode(name, {"n": 3}, behind), behind) == {"n": 3}


@pytest.mark.parametrize(
    "row, words",
    [
        (
            (1_000_000, "other", SCHEMA),
            "two schemas have the same id, toy_record and other.*got 1000000.*another id",
        ),
        ((1_000_001, "bars", SCHEMA), "a record with the same name; got 'bars'.*another name"),
        ((7, "mine", SCHEMA), "not in the range for packages; got 7; use ids from 1000000 to"),
        (
            (2**31, "mine", SCHEMA),
            "not in the range for packages; got 2147483648; use ids from 1000000 to 2147483647",
        ),
        (("x", "mine", SCHEMA), "a line of ids.jsonl cannot be read: ValueError"),
        ((1_000_002, "mine", None), "a line of ids.jsonl cannot be read: TypeError"),
    ],
)
def test_schemas_that_clash_are_refused(
    tmp_path: Path, own_schemas: None, row: tuple[object, str, object], words: str
) -> None:
    ids.declare(id_log(tmp_path, (1_000_000, "toy_record", SCHEMA)))
    with pytest.raises(Fatal, match=words):
        ids.declare(id_log(tmp_path, row))


@pytest.fixture
def own_schemas() -> Iterator[None]:
    with ids.scratch():
        yield
