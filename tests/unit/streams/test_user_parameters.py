"""``[user.NAME]`` of the document: declared by a package, checked like ours, known wherever it travels."""

import pickle
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tapedeck.schemas import ids
from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.config import user
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.groups import Group
from tapedeck.streams.definition import Definition
from tapedeck.streams.topology import Topology, definition_of
from tapedeck.tape.rebuild.pool import run_all
from tapedeck.tape.whatif.changes import Between, changes_between, touched_by
from tests.support.own_parameters import Quiet, Relative, told

DEFAULT, WITH_ACCOUNTS = "5dac21d7f8dffb8f", "198dbc0e72be4298"


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    with user.scratch():
        user.declare("relative", Relative)
        user.declare("quiet", Quiet)
        yield


def given(**values: Any) -> Config:
    return from_dict({"user": {"relative": values}})


def test_what_the_document_says_is_what_the_stage_gets() -> None:
    found = from_dict(tomllib.loads("[user.relative]\nwindow = 30\nlimit = 0.2\nsteps = [3, 4.5]"))
    expected = Relative(window=30, limit=Decimal("0.2"), steps=(3.0, 4.5))
    assert found.of(Relative) == expected and found.of(Quiet) == Quiet()
    assert Config().of(Relative) == Relative()


def test_defaults_change_no_digest_and_another_value_does() -> None:
    assert (Config().digest, Config(accounts=EXAMPLE_ACCOUNTS).digest) == (DEFAULT, WITH_ACCOUNTS)
    assert given(window=20, limit="0.1000").digest == DEFAULT
    changed = {given(window=21).digest, given(window=22).digest, given(limit="0.2").digest}
    assert len(changed | {DEFAULT}) == 4
    again = from_dict({"user": {"quiet": {"enabled": True}}})
    assert again.digest not in changed | {DEFAULT}


def test_the_whole_document_has_them_and_survives_its_own_toml() -> None:
    shown = tomllib.loads(Config().to_toml())
    assert shown["user"]["relative"] == {"window": 20, "least": 0.5, "limit": "0.10", "steps": [1.0, 2.0]}
    changed = given(window=21)
    assert from_dict(tomllib.loads(changed.to_toml())) == changed
    with user.scratch():
        user._declared.clear()
        assert "user" not in tomllib.loads(Config().to_toml())


@pytest.mark.parametrize(
    "table, words",
    [
        ({"relative": {"windw": 3}}, "unknown configuration key user.relative.windw; .*'window'"),
        ({"relative": {"window": 121}}, "user.relative.window: .*less than or equal to 120; got 121"),
        ({"relative": {"window": True}}, "user.relative.window: .*valid integer; got True"),
        ({"relative": {"limit": "much"}}, "user.relative.limit: .*got 'much'"),
        ({"relative": 3}, "user.relative: .*got 3"),
        ({"relativ": {}}, r"no package declares the parameters \[user.relativ\]; .*name is 'relative'"),
        ({"far": {}}, r"\[user.far\]; .*topology = .*; declared are: quiet, relative"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key_path(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigInvalid, match=words):
        from_dict({"user": table})


class Other(Group):
    """A group of another package."""

    window: int = 3


class Without(Group):
    """A group that not every document could leave out."""

    window: int


class Unwritable(Group):
    """A default that TOML has no word for."""

    window: int | None = None


@pytest.mark.parametrize(
    "name, model, words",
    [
        ("Relative", Relative, "not a valid name for a group of parameters; got 'Relative'"),
        ("relative", Other, r"two packages declare \[user.relative\].*own_parameters.*another name"),
        ("without", Without, r"defaults of \[user.without\].*got 'window'; give every field of Without"),
        ("unwritable", Unwritable, r"defaults of \[user.unwritable\] cannot be written"),
    ],
)
def test_a_group_that_cannot_stand_in_a_document_is_refused(
    name: str, model: type[Group], words: str
) -> None:
    with pytest.raises(Fatal, match=words):
        user.declare(name, model)
    user.declare("relative", Relative)  # the same again


def test_parameters_that_nobody_declared_cannot_be_asked_for() -> None:
    early = Config()
    with pytest.raises(Fatal, match=r"were not declared; got '.*Other'; call .*declare"):
        early.of(Other)
    user.declare("other", Other)
    assert early.of(Other) == Other(), "the document was made before"


def test_what_if_changes_one_of_them_by_its_path() -> None:
    base, changed = given(window=20), from_dict({"user": {"relative": {"window": 30, "least": 0.7}}})
    found = changes_between(base, changed)
    assert [str(each) for each in found] == [
        "user.relative.window 20 -> 30",
        "user.relative.least 0.5 -> 0.7",
    ]
    assert {each.group for each in found} == {"user.relative"}
    between = Between(base, changed)
    assert between.with_only(["user.relative.least"]).of(Relative) == Relative(least=0.7)
    assert between.with_only(list(between.units)) == changed


def test_what_if_computes_the_stages_that_say_they_read_it(
    toys: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(spec: Any) -> Definition:
        found = definition_of(spec)
        return replace(found, groups=("user.relative",)) if spec.name == "signals" else found

    changes = changes_between(given(), given(window=30))
    monkeypatch.setattr("tapedeck.tape.whatif.changes.definition_of", reading)
    assert [spec.name for spec in touched_by(toys, changes)] == ["signals"]


def test_a_worker_process_gets_parameters_topics_and_schemas_of_its_parent(toys: Topology) -> None:
    config = given(window=33)
    task = (config, toys, "toy_moods")
    answers = [answer for _, answer in run_all(told, [task, task], 2, lambda n: None)]
    assert answers == [(33, config.digest, toys.names[-1], "toy_moods")] * 2
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_topology_brings_its_topics_and_schemas_along(toys: Topology) -> None:
    packed = pickle.dumps(toys)
    with ids.scratch():
        ids._replace_declared({})
        assert pickle.loads(packed) == toys
        assert ids.schema_of(ids.current_id("toy_moods"))[0] == "toy_moods"
