"""The frame of the command: lazy sub-commands, one line per error, the exit codes."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config, from_dict
from tapedeck.tape.cli import main
from tapedeck.tape.cli.pipeline import Pipeline
from tests.support.cases import few


def invoke(*arguments):
    return CliRunner().invoke(main.app, list(arguments))


def test_help_lists_every_command_of_the_table():
    shown = invoke("--help").output
    assert all(name in shown for name in main.COMMANDS)
    assert all(title in shown for title in main.PANELS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_entry_of_the_table_points_at_a_command_with_help(name):
    module, attribute = main.COMMANDS[name].path.split(":")
    assert hasattr(import_module(f"tapedeck.tape.cli.{module}"), attribute)
    assert invoke(name, "--help").exit_code == 0


def test_help_imports_no_sub_command_and_no_heavy_library():
    script = (
        "import sys\nsys.argv = ['tape', '--help']\n"
        "from tapedeck.tape.cli.main import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "heavy = {'confluent_kafka', 'faust', 'pandas', 'numba', 'polars', 'alpaca', 'sqlalchemy'}\n"
        "heavy |= {'feedparser', 'aiohttp'}\n"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_version_is_printed_alone():
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.strip().count(".") == 2


def test_an_unknown_command_is_refused():
    assert invoke("topic").exit_code == 2


def test_an_error_of_ours_is_one_line_on_standard_error_and_exit_code_2(monkeypatch, capsys):
    def fail():
        raise Fatal("the port is taken", value=9092, remedy="stop what listens there")

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as caught:
        main.run()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "tape: the port is taken; got 9092; stop what listens there\n"


def test_an_interrupt_ends_without_a_traceback(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", interrupt)
    with pytest.raises(SystemExit) as caught:
        main.run()
    assert caught.value.code == 130
    assert capsys.readouterr().err == ""


def test_config_show_prints_a_document_that_config_check_accepts(tmp_path):
    shown = invoke("config", "show").output
    config = from_dict(tomllib.loads(shown))
    assert [account.account_id for account in config.accounts] == ["large", "tiny"]
    path = tmp_path / "tape.toml"
    path.write_text(shown)
    checked = invoke("config", "check", str(path))
    assert checked.exit_code == 0
    assert config.digest in checked.output


@pytest.mark.parametrize(
    "words", few(["tail bars", "pause all --person p --reason r", "digest", "topics"], 1)
)
def test_a_broker_that_is_stopped_is_told_before_anything_is_tried(words):
    result = invoke(*words.split(), "--bootstrap", "127.0.0.1:1")
    assert isinstance(result.exception, Fatal)
    assert "no Kafka broker listens there" in str(result.exception)


def test_command_that_takes_the_default_configuration_says_so_and_which_variable_names_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = Pipeline(Cluster("127.0.0.1:1"), None)
    assert unnamed.document() == Config()
    assert "the built-in defaults are used: set TAPE_CONFIG to name one" in capsys.readouterr().err
    document = tmp_path / "own.toml"
    document.write_text("")
    unnamed.document(document)
    unnamed._replace(config=document).document()
    assert capsys.readouterr().err == ""
