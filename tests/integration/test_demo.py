"""The demo as a user runs it: a short one to its summary, an interrupted one, and one that cannot begin."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapedeck.tape.local import state
from tapedeck.tape.local.disk import usage
from tapedeck.tape.local.process import is_running
from tapedeck.tape.local.purge import purge
from tests.conftest import Broker
from tests.support.cases import REPOSITORY, few

pytestmark = pytest.mark.integration

DEMO = (sys.executable, "-m", "tapedeck", "demo")
MINUTES = 12
DISK_BYTES = 250 << 20
"""What a session of 28 symbols may take, and the demo plays the one before as well."""
ROOMS = ("schemas", "topics", "streams", "agents", "connectors", "tape")
OURS = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TAPE_HOME", "TAPE_CONFIG", "TAPE_PREFIX")


@pytest.fixture
def environment() -> dict[str, str]:
    """This environment without what would lead to another stack."""
    return {name: value for name, value in os.environ.items() if name not in OURS}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tracked files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, source / name, follow_symlinks=False)
    pip("wheel", "--no-deps", "--wheel-dir", folder, source)
    (found,) = folder.glob("*.whl")
    return found


def tracked() -> list[str]:
    """Every file of the checkout that is not ignored; skips the test in a tree without git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a git checkout: what belongs into the wheel is not known")
    return [name for name in listing.stdout.split("\0") if name and os.path.lexists(REPOSITORY / name)]


def pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def neighbour(folder: Path) -> Path:
    """The wheel of a tiny distribution that owns a module called ``agents``, as a popular one does."""
    path = folder / "neighbour-1.0-py3-none-any.whl"
    about = "neighbour-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("agents/__init__.py", "OWNER = 'neighbour'\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: neighbour\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return path


def fresh_environment(folder: Path, wheel: Path, other: Path, *, alone: bool = True) -> Path:
    """The Python of a new virtual environment with the wheel and ``other``.

    ``alone``: with what the wheel's extra ``local`` requires; otherwise it sees what is installed here.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    words: list[object] = ["--python", python, "install", "--no-compile"]
    if alone:
        pip(*words, "--constraint", REPOSITORY / "constraints.txt", f"{wheel}[local]", other)
        return python
    pip(*words, "--no-deps", wheel, other)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


@pytest.fixture
def here(kafka: Broker, tmp_path: Path) -> Iterator[Path]:
    """An empty folder to run in; ``kafka`` has filled the cache. The demo's database goes with it."""
    yield tmp_path
    known = state.read(tmp_path / ".tape" / "demo")
    assert known is None or not known.is_running, "the demo left its stack running"
    assert state.end_processes(known) == []
    purge(tmp_path / ".tape" / "demo")


@pytest.mark.parametrize("of", few(["this checkout", "the installed wheel"], 1))
def test_a_short_demo_runs_the_whole_pipeline_and_proves_it(
    of: str, here: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """The wheel's kernels are compiled anew, which takes minutes; what it lacks would show at once below."""
    python = Path(sys.executable)
    if of != "this checkout":
        python = fresh_environment(here / "environment", request.getfixturevalue("wheel"), neighbour(here))
    earlier = here / ".tape" / "demo" / "left from an earlier demo"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    done = subprocess.run(
        [python.with_name("tape"), "demo", "--minutes", str(MINUTES)],
        cwd=here, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not earlier.exists()
    document = json.loads((here / ".tape" / "demo" / "summary.json").read_text())
    assert document["failures"] == [] and document["tape"]["minutes"] == MINUTES
    assert document["records"]["bars"] > 28 * 380, "the session before and the first minutes"
    assert document["rows"]["t_decisions"] == document["records"]["decisions"] > 0
    assert all(line["unexplained"] == 0 for line in document["funnel"])
    assert all(line["agrees"] and line["rebuilt"] for line in document["digests"])
    watchlist = next(line for line in document["funnel"] if line["stage"] == "watchlist")
    assert watchlist["out"] > 0
    assert set(document["timings_s"]) == {"tape", "start", "play", "settle", "read", "rebuild", "stop"}
    assert "OK every table has the rows of its topic" in done.stdout
    assert "because" in done.stdout, "the funnel says why there was no order"
    assert sum(usage(here / ".tape" / "demo")[part] for part in ("kafka", "postgres")) < DISK_BYTES
    logs = {log.stem: log.read_text() for log in (here / ".tape" / "demo" / "logs").glob("*.log")}
    assert {"features", "sink", "exchange"} <= set(logs) and not any("\x1b" in text for text in logs.values())
    for name in set(logs) - {"kafka", "postgres"}:  # the servers' words are their own
        assert " ERROR " not in logs[name], f"{name}: {logs[name][-3000:]}"


def test_the_installed_wheel_has_every_module_and_file_beside_a_package_called_agents(
    wheel: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    python = fresh_environment(tmp_path / "environment", wheel, neighbour(tmp_path), alone=False)
    said = "import agents, tapedeck.agents.app; print(agents.OWNER, tapedeck.__file__)"
    owner, ours = subprocess.check_output(
        [python, "-c", said], cwd=tmp_path, env=environment, text=True
    ).split()
    assert owner == "neighbour" and Path(ours).is_relative_to(tmp_path / "environment")
    installed = Path(ours).parent
    files = [name for name in tracked() if name.split("/")[0] in ROOMS]
    assert len(files) > 500 and [name for name in files if not (installed / name).is_file()] == []


def test_the_wheel_owns_one_name_at_top_level(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"tapedeck"}


@pytest.mark.long
def test_ctrl_c_stops_everything(here: Path, environment: dict[str, str]) -> None:
    output = here / "output"
    with output.open("w") as stream:
        process = subprocess.Popen([*DEMO], cwd=here, env=environment, stdout=stream, stderr=stream)
    try:
        until = time.monotonic() + 120
        while "is synthetic" not in output.read_text():
            assert process.poll() is None and time.monotonic() < until, output.read_text()[-3000:]
            time.sleep(0.2)
        time.sleep(1.0)
        known = state.running(here / ".tape" / "demo")
        process.send_signal(signal.SIGINT)
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        assert process.poll() == 130, output.read_text()[-3000:]
    finally:
        process.kill()
    assert "interrupted; everything was stopped" in output.read_text()
    assert not any(is_running(each.identity) for each in known.processes)


def test_a_tape_that_cannot_be_read_stops_the_demo_before_anything_is_removed(
    here: Path, environment: dict[str, str]
) -> None:
    kept = here / ".tape" / "demo" / "summary.json"
    kept.parent.mkdir(parents=True)
    kept.touch()
    done = subprocess.run(
        [*DEMO, "--tape", "nowhere.parquet"],
        cwd=here, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nowhere.parquet" in done.stderr and kept.exists()
