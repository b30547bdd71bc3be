"""The skeleton of a package with one stage, which passes its own test as it is written."""

import keyword
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from tapedeck.schemas import ids
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.user import is_declared
from tapedeck.streams.topology import STAGE_NAME, TAKEN, Topology
from tapedeck.topics.catalogue import CATALOGUE

_FILES = {
    "pyproject.toml": "pyproject.toml",
    "$package/__init__.py": "package.py",
    "$package/py.typed": "",
    "$package/ids.jsonl": "ids.jsonl",
    "$package/topics.py": "topics.py",
    "$package/parameters.py": "parameters.py",
    "$package/pipeline.py": "pipeline.py",
    "$package/stages/__init__.py": "",
    "$package/stages/$name/__init__.py": "",
    "$package/stages/$name/definition.py": "definition.py",
    "$package/stages/$name/stage.py": "stage.py",
    "tests/test_$name.py": "test.py",
}
"""Each file that is written, and its template; an empty file where there is none."""


def write(name: str, package: str, into: Path, topology: Topology) -> list[Path]:
    """Write the package into the folder ``into``; returns its files.

    Raises Fatal if ``name`` or ``package`` is invalid, or taken in ``topology`` or on this machine, and if
    the folder already has files.
    """
    _check_name(name, topology)
    _check_package(package)
    if into.is_file() or (into.is_dir() and any(into.iterdir())):
        raise Fatal(
            "the folder for the new stage is not empty",
            value=str(into),
            remedy="name an empty or new folder with --into; nothing was written",
        )
    words = {
        "name": name,
        "package": package,
        "kind": "".join(part.title() for part in name.split("_")),
        "id": str(ids.next_own()),
    }
    written = []
    for path, template in _FILES.items():
        target = into / Template(path).substitute(words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(_text(template)).substitute(words) if template else "")
        written.append(target)
    return written


def _text(template: str) -> str:
    return (resources.files(__package__) / f"{template}.tmpl").read_text()


def _check_name(name: str, topology: Topology) -> None:
    if not STAGE_NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Fatal(
            "this is not a valid name for a stage: its module, topic and consumer group are named after it",
            value=name,
            remedy="use up to 40 lower-case letters, digits and underscores, a letter first",
        )
    taken = {
        "a stage": name in topology.names,
        "a topic": name in CATALOGUE,
        "a record": name in ids.names(),
        "a group of parameters": is_declared(name),
        "a process of the pipeline": name in TAKEN,
    }
    if known := [what for what, is_taken in taken.items() if is_taken]:
        raise Fatal(
            f"{known[0]} already has this name",
            value=name,
            remedy="choose another; `tape topology` and `tape topics` list the names in use",
        )


def _check_package(package: str) -> None:
    if not STAGE_NAME.fullmatch(package) or keyword.iskeyword(package):
        raise Fatal(
            "this is not a valid package name",
            value=package,
            remedy="give --package up to 40 lower-case letters, digits and underscores, a letter first",
        )
    if find_spec(package) is not None:
        raise Fatal(
            "a package with this name is already installed",
            value=package,
            remedy="choose another with --package",
        )
