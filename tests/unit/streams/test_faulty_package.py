"""A package of the user's that is at fault: one line that names the user's file, and what to do."""

import json
import re
import sys
from pathlib import Path

import pytest

from tapedeck.schemas.ids import FIRST_OWN
from tapedeck.tape.cli import main
from tests.support.packages import Package, here, package

__all__ = ["here", "package"]

DECLARE = """
from importlib import resources
from tapedeck.schemas import ids
from tapedeck.topics.catalogue import declare
from tapedeck.topics.topic import Spread, Topic

def mine(name, owner="mine", spread=Spread.SYMBOL, schema="bars"):
    return Topic(
        name=name, schema=schema, owner=owner, doc="mine", spread=spread, key=("symbol",), part="symbol",
        natural_key=("symbol", "t"), watermarked=True,
    )

declare(mine("mine_in", "feed"), mine("mine_out"), mine("other_out", "other"))
"""
PIPELINE = """
from tapedeck.streams.protocol import Join, StageSpec
from tapedeck.streams.stages.topology import TOPOLOGY as SHIPPED
from tapedeck.streams.topology import Topology

def stage(name, trigger, *outputs, joins=(), folder="tests.support.toy_stages.echo"):
    return StageSpec(name=name, folder=folder, trigger=trigger, joins=joins, outputs=outputs, doc="mine")

"""


def made(*stages: str) -> str:
    return f"{PIPELINE}TOPOLOGY = Topology(*SHIPPED, {', '.join(stages)})\n"


GOOD = made('stage("mine", "mine_in", "mine_out")')
LAST = PIPELINE.count("\n") + 1
CASES: dict[str, tuple[dict[str, str], str]] = {
    "a topic that exists": (
        {"__init__": DECLARE + 'declare(mine("bars"))\n'},
        r"__init__.py, line 14: two topics have the same name; got 'bars'; give the topic another name",
    ),
    "a stage that exists": (
        {"pipeline": made('stage("features", "mine_in", "mine_out")')},
        rf"pipeline.py, line {LAST}: the name of a stage is taken.*got 'features'; give the stage",
    ),
    "two writers": (
        {"pipeline": made('stage("mine", "mine_in", "scores")')},
        rf"pipeline.py, line {LAST}: topic scores has two writers, scores and mine.*another topic",
    ),
    "partitions that differ": (
        {
            "__init__": DECLARE + 'declare(mine("mine_accounts", "feed", Spread.ACCOUNT))\n',
            "pipeline": made('stage("mine", "mine_in", "mine_out", joins=(Join("mine_accounts"),))'),
        },
        rf"pipeline.py, line {LAST}: stage mine scales with .*got 'mine_accounts'; partition them as",
    ),
    "a circle": (
        {
            "pipeline": made(
                'stage("mine", "mine_in", "mine_out", joins=(Join("other_out"),))',
                'stage("other", "mine_out", "other_out")',
            )
        },
        rf"pipeline.py, line {LAST}: stages read each other.*'mine -> other -> mine'; remove one of these",
    ),
    "an unknown topic": (
        {"pipeline": made('stage("mine", "mine_im", "mine_out")')},
        rf"pipeline.py, line {LAST}: no such topic in the catalogue; got 'mine_im'; did you mean 'mine_in'",
    ),
    "no schema": (
        {
            "__init__": DECLARE + 'declare(mine("lost", schema="lost"))\n',
            "pipeline": made('stage("mine", "lost", "mine_out")'),
        },
        rf"pipeline.py, line {LAST}: topic lost of stage mine has a schema.*got 'lost'; add a line of lost",
    ),
    "an import of its own that fails": (
        {"pipeline": "import json\nimport no_such_library\n"},
        r"pipeline.py, line 2: the topology that TAPE_TOPOLOGY names cannot be imported: "
        r"ModuleNotFoundError: No module named 'no_such_library'.*correct that line",
    ),
    "a name that is not there": (
        {"pipeline": "from tapedeck.streams.protocol import StageSpce\n"},
        r"pipeline.py, line 1: .*ImportError: cannot import name 'StageSpce'",
    ),
    "a fault of syntax": (
        {"pipeline": "from mine import parts\n", "parts": "x = 1\ndef oh(:\n    pass\n"},
        r"parts.py, line 2: .*cannot be imported: SyntaxError: invalid syntax.*correct that line",
    ),
    "another error": (
        {"pipeline": GOOD + "1 / 0\n"},
        rf"pipeline.py, line {LAST + 1}: .*ZeroDivisionError: division by zero",
    ),
    "no topology of that name": (
        {"pipeline": GOOD.replace("TOPOLOGY = ", "TOPOLGY = ")},
        r"TAPE_TOPOLOGY does not name a Topology: TOPOLOGY does not exist.*there: SHIPPED, TOPOLGY",
    ),
    "something else of that name": (
        {"pipeline": "TOPOLOGY = 'a text'\n"},
        r"TAPE_TOPOLOGY does not name a Topology: TOPOLOGY is of type str.*define a Topology with that",
    ),
    "code of a stage that is not there": (
        {"pipeline": made('stage("mine", "mine_in", "mine_out", folder="mine.rule")')},
        r"pipeline.py: the code of stage mine cannot be imported: there is no module mine.rule; .*folder= of",
    ),
    "code of a stage with a fault of syntax": (
        {
            "pipeline": made('stage("mine", "mine_in", "mine_out", folder="mine.rule")'),
            "rule/definition": "x = (\n",
        },
        r"rule/definition.py, line 1: the code of stage mine cannot be imported: SyntaxError: '\(' was never",
    ),
    "code of a stage that reads something else": (
        {"pipeline": made('stage("mine", "mine_in", "mine_out", folder="tests.support.toy_stages.echo")')},
        r"echo/definition.py: the step of stage mine does not read all its inputs.*got 'mine_in'; handle",
    ),
    "a default that its own range forbids": (
        {
            "__init__": DECLARE + "from pydantic import Field\n"
            "from tapedeck.streams.config.groups import Group\n"
            "from tapedeck.streams.config.user import declare as declare_parameters\n"
            "class Mine(Group):\n    window: int = Field(ge=2)\n"
            "declare_parameters('mine', Mine)\n"
        },
        r"__init__.py, line 19: the defaults of \[user.mine\].*got 'window'; give every field of Mine",
    ),
}  # fmt: skip


def heard(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """What the command says on standard error: one line, and exit code 2."""
    monkeypatch.setattr(sys, "argv", ["tape", *words])
    with pytest.raises(SystemExit) as ended:
        main.run()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1), said
    return said


@pytest.mark.parametrize(("modules", "words"), CASES.values(), ids=CASES)
def test_a_faulty_package_is_told_with_its_file_and_the_remedy(
    here: Path,
    package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    modules: dict[str, str],
    words: str,
) -> None:
    named = package("mine", **{"__init__": DECLARE, "pipeline": GOOD, **modules})
    monkeypatch.setenv("TAPE_TOPOLOGY", named)
    said = heard(capsys, monkeypatch, "topology")
    assert re.search(words, said), said
    if "echo" not in words:
        assert said.startswith(f"tape: {here / 'mine'}/"), said


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": FIRST_OWN, "name": "bars"}, "a record with the same name; got 'bars'; give it another name"),
        ({"id": 7, "name": "mine"}, "not in the range for packages; got 7; use ids from 1000000 to"),
        ({"name": "mine"}, "a line of ids.jsonl cannot be read: KeyError"),
    ],
)
def test_schemas_at_fault_are_told_with_their_id_log(
    here: Path,
    package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    row: dict[str, object],
    words: str,
) -> None:
    declaring = DECLARE + "ids.declare(resources.files(__name__) / 'ids.jsonl')\n"
    monkeypatch.setenv("TAPE_TOPOLOGY", package("mine", __init__=declaring, pipeline=GOOD))
    log = here / "mine" / "ids.jsonl"
    log.write_text(json.dumps({"schema": {"type": "record", "name": "Mine", "fields": []}} | row) + "\n")
    assert re.search(rf"^tape: {log}: .*{words}", heard(capsys, monkeypatch, "topology"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[user.mine]\nwindow = 500\n", "user.mine.window: .*less than or equal to 120; got 500; see `tape"),
        ("[user.mine]\nwindw = 5\n", "unknown configuration key user.mine.windw.*valid key is 'window'"),
        ("[user.mind]\n", r"no package declares the parameters \[user.mind\].*declared name is 'mine'"),
        ("[user.mine\n", "the file is not TOML: .*line 2.*correct that line"),
    ],
)
def test_a_parameter_at_fault_is_told_with_the_document(
    here: Path,
    package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: str,
    words: str,
) -> None:
    from tests.unit.streams.test_named_topology import PARAMETERS

    path = here / "tape.toml"
    path.write_text(f'topology = "{package("mine", __init__=PARAMETERS)}"\n{more}')
    said = heard(capsys, monkeypatch, "config", "check", str(path))
    assert re.search(rf"^tape: {path}: {words}", said), said


def test_a_package_that_is_not_installed_is_told_with_who_names_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "tape.toml"
    path.write_text('topology = "nowhere.pipeline:TOPOLOGY"\n')
    monkeypatch.setenv("TAPE_CONFIG", str(path))
    said = heard(capsys, monkeypatch, "topology")
    assert f"that `topology` of {path} names cannot be imported: there is no module nowhere" in said
    assert "`pip install -e`" in said
    path.write_text('topology = "a sentence"\n')
    said = heard(capsys, monkeypatch, "topology")
    assert "does not name a topology; got 'a sentence'; write package.module:NAME" in said
