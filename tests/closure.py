"""Prints what tapedeck's core takes installed: the size of each distribution, and of all.

    python tests/closure.py [--python FOLDER/bin/python] [--strip]

Without ``--python``, core is installed into a new folder first, which needs a network. ``--strip`` removes
what the image removes (deploy/strip.py) before it measures. Exit code 1 above 460 MB (10^6 bytes).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 460_000_000
_SIZES = """
import importlib.metadata as metadata, json, os
found = {}
for each in metadata.distributions():
    paths = {os.path.realpath(each.locate_file(file)) for file in each.files or ()}
    found[each.metadata["Name"]] = sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
print(json.dumps(found))
"""
_TOOLS = ("pip", "setuptools", "wheel")
"""The image has none of these."""


def sizes(python: Path) -> dict[str, int]:
    """Bytes of each distribution of ``python``, compiled files included, without the installers."""
    done = subprocess.run([python, "-c", _SIZES], check=True, capture_output=True, text=True)
    found: dict[str, int] = json.loads(done.stdout)
    return {name: size for name, size in found.items() if name.lower() not in _TOOLS}


def report(found: dict[str, int]) -> str:
    """One line per distribution, the largest first, then the sum."""
    lines = [f"{size / 1e6:8.1f} MB  {name}" for name, size in sorted(found.items(), key=lambda x: -x[1])]
    return "\n".join([*lines, f"{sum(found.values()) / 1e6:8.1f} MB  in all, of {LIMIT / 1e6:.0f}"])


def installed(folder: Path) -> Path:
    """The interpreter of a new environment in ``folder`` with tapedeck's core."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint"]
    subprocess.run([*command, ROOT / "constraints.txt", ROOT], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", type=Path)
    parser.add_argument("--strip", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = told.python or installed(Path(folder))
        if told.strip:
            subprocess.run([python, ROOT / "deploy" / "strip.py"], check=True)
        found = sizes(python)
    print(report(found))
    return 0 if sum(found.values()) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
