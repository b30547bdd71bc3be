"""What `make` prints while it installs, and which Pythons it finds."""

from pathlib import Path

import pytest

from tests import environments
from tests.support.cases import REPOSITORY

PIP = """#!/bin/sh
i=0
while [ $i -lt 400 ]; do i=$((i + 1)); echo "Collecting package-$i"; done
echo "$*" > "$0.called"
exit {status}
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def python_with_pip(folder: Path, status: int) -> Path:
    """An interpreter whose environments have a pip that talks much and ends with ``status``."""
    pip = script(folder / "pip", PIP.format(status=status))
    return script(folder / "python", f'#!/bin/sh\nmkdir -p "$3/bin" && cp {pip} "$3/bin/python"\n')


def test_pip_is_one_line_and_its_words_are_in_a_file(tmp_path, capsys):
    folder = tmp_path / "env"
    assert environments.install(python_with_pip(tmp_path, 0), folder, ("local", "dev"))
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1 and "env, a few hundred MB" in told.out and told.err == ""
    assert "package-400" in (folder / "pip.log").read_text()
    called = (folder / "bin" / "python.called").read_text()
    assert "[local,dev]" in called and "constraints.txt" in called
    assert (folder / ".installed").exists()


def test_a_pip_that_fails_shows_the_end_of_what_it_said_and_where_the_rest_is(tmp_path, capsys):
    folder = tmp_path / "env"
    assert not environments.install(python_with_pip(tmp_path, 1), folder, ())
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1 and "failed" in told.out
    assert len(told.err.splitlines()) == 41 and "package-400" in told.err and "package-1\n" not in told.err
    assert str(folder / "pip.log") in told.err
    assert not (folder / ".installed").exists()


def test_a_python_without_venv_is_told_what_to_install(tmp_path, capsys):
    assert not environments.install(script(tmp_path / "python", "#!/bin/sh\nexit 1\n"), tmp_path / "env", ())
    assert "python3-venv" in capsys.readouterr().err


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A PATH and a pyenv that are empty, and folders to fill them."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_a_command_of_pyenvs_that_does_not_run_is_no_python_and_its_newest_is_found(machine):
    script(machine / "path" / "python3.12", "#!/bin/sh\nexit 127\n")
    for patch in ("3.12.9", "3.12.10"):
        script(machine / "pyenv" / "versions" / patch / "bin" / "python3.12", "#!/bin/sh\n")
    assert environments.on_path("3.12") is None
    found = environments.of_pyenv("3.12")
    assert found is not None and "3.12.10" in str(found)
    runs = script(machine / "path" / "python3.12", "#!/bin/sh\n")
    assert environments.on_path("3.12") == runs


def test_what_is_not_there_or_not_on_the_path_is_named_and_fails_nothing(machine, capsys, monkeypatch):
    monkeypatch.setattr(environments, "VERSIONS", ("3.97", "3.98"))
    script(machine / "pyenv" / "versions" / "3.98.0" / "bin" / "python3.98", "#!/bin/sh\n")
    assert environments.run_tests(short=True)
    told = capsys.readouterr().out
    assert "Python 3.97 is not on this machine" in told
    assert "Python 3.98 is pyenv's" in told and "make test-pythons" in told


def test_modules_and_unit_tests_run_with_each_python_that_is_found(machine, capsys, monkeypatch):
    monkeypatch.setattr(environments, "VERSIONS", ("3.99", "3.98"))
    monkeypatch.setattr(environments, "ROOT", machine)
    for name in environments.PINNED:
        (machine / name).touch()
    calls = machine / "calls"
    env = f'#!/bin/sh\necho "$0 $1 $2 $3 $4 $5" >> {calls}\ncase "$0" in *3.98*) exit 1;; esac\n'
    made = script(machine / "made", env)
    for version in ("3.99", "3.98"):
        venv = f'#!/bin/sh\n[ "$1" = -c ] && exit\nmkdir -p "$3/bin" && cp {made} "$3/bin/python"\n'
        script(machine / "path" / f"python{version}", venv)
    monkeypatch.setenv("PATH", f"{machine / 'path'}:/usr/bin:/bin")
    # the environment of 3.98 cannot even be filled
    assert not environments.run_tests(short=True)
    told = capsys.readouterr()
    assert "failed on Python 3.98" in told.err and "Python 3.99 (" in told.out
    lines = calls.read_text().splitlines()
    assert any("3.99" in line and "pytest tests/unit/agents/test_" in line for line in lines)
    assert not environments.run_tests(short=False)
    assert any("3.99" in line and "pytest tests/unit " in line for line in calls.read_text().splitlines())
    assert calls.read_text().count("pip install") == 1 + 2, "an environment that is whole is made once"


def test_each_quick_test_is_there():
    for name in environments.QUICK:
        assert (REPOSITORY / "tests" / "unit" / f"{name}.py").is_file(), name
