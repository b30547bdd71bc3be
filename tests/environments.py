"""Creates the Makefile's virtual environments, and runs the unit tests on every Python of the machine.

Runs before anything is installed, so it uses only the standard library:

    python tests/environments.py install FOLDER EXTRA ...
    python tests/environments.py test [--short]

pip writes into FOLDER/pip.log; its end is shown on failure. ``test`` gives each other Python from 3.11 to
3.13, on the PATH or in pyenv, its own environment, .venv-3.X, and runs the unit tests there. ``--short``
uses only those on the PATH, imports every module and runs the quick tests. Missing versions are reported.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).resolve().parent.parent
PINNED = ("pyproject.toml", "constraints.txt")
LOG = "pip.log"
_MARKER = ".installed"
QUICK = (
    "agents/test_arrivals", "agents/test_ending", "agents/test_journal", "agents/test_liveness",
    "agents/test_table", "connectors/test_alpaca_shapes", "connectors/test_clock",
    "connectors/test_credentials", "connectors/test_database_refusals", "connectors/test_database_url",
    "connectors/test_kafka_security", "connectors/test_lease", "connectors/test_outbox",
    "connectors/test_registry", "connectors/test_registry_access", "connectors/test_trade_updates",
    "schemas/test_codec", "schemas/test_golden", "stages/test_contracts", "stages/test_gates",
    "stages/test_order_rules", "stages/test_positions", "stages/test_sizing_pricing",
    "stages/test_watch_score", "streams/test_config", "streams/test_digests", "streams/test_rounding",
    "streams/test_sessions", "streams/test_shell", "streams/test_wire", "tape/test_certificates",
    "tape/test_tap_times", "topics/test_catalogue",
)  # fmt: skip
"""The unit tests that ``--short`` runs: codecs, times, types, loops and connections, where Pythons differ, in
about a minute. Kernels and folds compute the same on each, and take minutes."""
_BEAT_S = 5.0
_TAIL_LINES = 40
_IMPORT_ALL = """
import importlib, pkgutil, tapedeck
for found in pkgutil.walk_packages(tapedeck.__path__, "tapedeck."):
    if not found.name.endswith("__main__") and ".migrations" not in found.name:
        importlib.import_module(found.name)
"""


def install(python: Path, folder: Path, extras: Sequence[str], *options: str) -> bool:
    """Create an environment of ``python`` in ``folder`` with tapedeck and ``extras``; returns success.

    ``options``: those of pip.
    """
    made = subprocess.run([python, "-m", "venv", folder], check=False)
    if made.returncode:
        print(
            f"{python} cannot make a virtual environment: install its venv module"
            " (Debian: apt install python3-venv)",
            file=sys.stderr,
        )
        return False
    command = [
        *(folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
        *("--progress-bar", "off", "--constraint", ROOT / "constraints.txt", *options),
        *("--editable", f"{ROOT}[{','.join(extras)}]"),
    ]
    print(f"installing the packages into {folder.name}, a few hundred MB, once: ", end="", flush=True)
    began, log = time.monotonic(), folder / LOG
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as pip:
        try:
            while not _ended(pip):
                print(".", end="", flush=True)
        except BaseException:
            pip.terminate()
            print(" stopped", flush=True)
            raise
    took = f"{time.monotonic() - began:.0f} s"
    if pip.returncode:
        print(f" failed after {took}", flush=True)
        end = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        print(*end, f"pip failed; the whole log is {log}", sep="\n", file=sys.stderr)
        return False
    print(f" {took}", flush=True)
    (folder / _MARKER).touch()
    return True


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(_BEAT_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def on_path(version: str) -> Path | None:
    """The interpreter of ``version`` ("3.12") on the PATH; None if there is none that runs."""
    named = shutil.which(f"python{version}")
    # pyenv also has a command there for versions that are not selected: it does not run.
    return Path(named) if named and _runs(Path(named)) else None


def of_pyenv(version: str) -> Path | None:
    """The newest interpreter of ``version`` that pyenv has; None if there is none that runs."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted(root.glob(f"versions/{version}.*/bin/python{version}"), key=_patch, reverse=True)
    return next(filter(_runs, found), None)


def _runs(path: Path) -> bool:
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


def _patch(path: Path) -> int:
    digits = path.parts[-3].rpartition(".")[2]
    return int(digits) if digits.isdecimal() else -1


def run_tests(*, short: bool) -> bool:
    """Run the unit tests on every Python except this one; returns whether all passed."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    failed = [version for version in VERSIONS if version != own and not _passes(version, short=short)]
    if failed:
        print(f"the unit tests failed on Python {', '.join(failed)}", file=sys.stderr)
    return not failed


def _passes(version: str, *, short: bool) -> bool:
    python, kept = on_path(version), of_pyenv(version)
    if python is None and kept is not None and short:
        print(f"Python {version} is pyenv's ({kept}) and not on the PATH: `make test-pythons` tests with it")
        return True
    python = python or kept
    if python is None:
        print(f"Python {version} is not on this machine: nothing was tested with it")
        return True
    folder = ROOT / f".venv-{version}"
    marker = folder / _MARKER
    newest = max((ROOT / name).stat().st_mtime for name in PINNED)
    is_made = marker.is_file() and marker.stat().st_mtime >= newest
    # Most of what would be compiled is never imported here.
    if not is_made and not install(python, folder, ("test",), "--no-compile"):
        return False
    print(
        f"Python {version} ({python}): {'every module, and the quick unit tests' if short else 'unit tests'}"
    )
    own = folder / "bin" / "python"
    chosen = [f"tests/unit/{name}.py" for name in QUICK] if short else ["tests/unit"]
    for command in ([own, "-c", _IMPORT_ALL], [own, "-m", "pytest", *chosen]):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser("install")
    installing.add_argument("folder", type=Path)
    installing.add_argument("extras", nargs="*")
    commands.add_parser("test").add_argument("--short", action="store_true")
    told = parser.parse_args()
    try:
        if told.command == "install":
            return 0 if install(Path(sys.executable), told.folder.absolute(), told.extras) else 1
        return 0 if run_tests(short=told.short) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
