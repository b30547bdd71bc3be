"""The house rules that a machine can check, and that each check fires. CONTRIBUTING.md has them in words."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tapedeck.streams.stages.topology import TOPOLOGY

ROOT = Path(__file__).parents[3]
MAX_LINES = 400

IMPURE_MODULES = {
    *("time", "secrets", "uuid", "os", "logging", "socket", "subprocess", "threading", "asyncio"),
    *("requests", "aiohttp", "urllib.request", "http", "sqlite3", "psycopg", "confluent_kafka", "aiokafka"),
    *("faust", "alpaca", "rich", "typer"),
    *("pathlib", "tempfile", "shutil", "glob", "fileinput", "mmap", "importlib.resources"),
}
IMPURE_CALLS = {"now", "utcnow", "today", "fromtimestamp", "utcfromtimestamp", "getenv"}
FILE_CALLS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "mkdir", "unlink", "touch"),
    *("fromfile", "tofile", "memmap", "loadtxt", "savetxt", "genfromtxt"),
}
# Spelt in parts, so that this file does not break its own rule.
_HOSTS = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "maven" + ".org",
    "maven.apache" + ".org",
    "npmjs" + ".org",
)
_IMAGES = ("docker" + ".io", "ghcr" + ".io", "quay" + ".io", "gcr" + ".io")
HOST = re.compile("|".join(map(re.escape, (*_HOSTS, *_IMAGES))) + "|index" + r"[-_]url\s*=", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.~*])/(?:work|root|home/[a-z]|tmp|Users/[A-Za-z])" + r"(?:/|\b(?!\w))")
SECRET = re.compile(r"\b(?:PK|AK|CK)[A-Z0-9]{18}\b|-----BEGIN [A-Z ]*PRIVATE" + r" KEY")
BLANKET = re.compile(r"#\s*(?:type:\s*ignore(?!\[)|noqa(?!:))" + r"|ruff:\s*noqa(?!:)|mypy:\s*ignore-errors")


def tracked(*patterns):
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def texts(*patterns):
    """(path from the root, text) of each tracked text file."""
    for path in tracked(*patterns):
        try:
            yield str(path.relative_to(ROOT)), path.read_text()
        except UnicodeDecodeError:
            continue


def lines_with(pattern, text):
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


def impurities(source):
    """What a module of the pure core must not do, as "line: what"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [(node, f"imports {n.name}") for n in names if _is_impure(n.name)]
            case ast.ImportFrom(module=str(module)) if _is_impure(module):
                found.append((node, f"imports {module}"))
            case ast.ImportFrom(module="random", names=names) if {n.name for n in names} != {"Random"}:
                found.append((node, "draws chance without a seed"))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr=name), args=seeds) if (
                name != "Random" or not seeds
            ):
                found.append((node, "draws chance without a seed"))
            case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_CALLS and not _has_zone(node):
                found.append((node, f"calls {name}"))
            case ast.Call(func=ast.Attribute(attr=name)) if name in FILE_CALLS:
                found.append((node, f"calls {name}"))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="io"), attr="open" | "FileIO" as name)):
                found.append((node, f"calls io.{name}"))
            case ast.ImportFrom(module="io", names=names) if {n.name for n in names} & {"open", "FileIO"}:
                found.append((node, "imports what opens files"))
            case ast.ImportFrom(module="importlib", names=names) if "resources" in {n.name for n in names}:
                found.append((node, "imports importlib.resources"))
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                found.append((node, f"calls {name}"))
            case ast.Call(func=ast.Name(id="datetime")) if not _has_zone(node):
                found.append((node, "makes a naive datetime"))
            case ast.Call(func=ast.Name(id="Decimal"), args=[ast.Constant(value=float())]):
                found.append((node, "makes money of a float"))
            case ast.For(iter=source_of) | ast.comprehension(iter=source_of) if _is_unordered(source_of):
                found.append((source_of, "iterates over a set"))
    return sorted(f"{node.lineno}: {what}" for node, what in found)


def _is_impure(module):
    return any(module == banned or module.startswith(f"{banned}.") for banned in IMPURE_MODULES)


def _has_zone(call):
    """Whether a zone is given; ``fromtimestamp`` and ``datetime`` of a given instant are pure then."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
    if name in ("now", "utcnow", "today", "utcfromtimestamp", "getenv"):
        return False
    return any(keyword.arg in ("tz", "tzinfo") for keyword in call.keywords)


def _is_unordered(node):
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
    return False


def test_the_pure_core_takes_no_clock_chance_environment_input_or_output():
    broken = {path: found for path, text in texts("streams/*.py") if (found := impurities(text))}
    assert broken == {}


@pytest.mark.parametrize(
    "source, what",
    [
        ("import time", "imports time"),
        ("from os import environ", "imports os"),
        ("import logging", "imports logging"),
        ("from random import random", "without a seed"),
        ("import random\nrandom.choice(x)", "without a seed"),
        ("import random\nrandom.Random()", "without a seed"),
        ("from datetime import datetime\ndatetime.now(tz=UTC)", "calls now"),
        ("from datetime import date\ndate.today()", "calls today"),
        ("datetime.fromtimestamp(3)", "calls fromtimestamp"),
        ("datetime(2013, 10, 11)", "makes a naive datetime"),
        ("Decimal(0.1)", "makes money of a float"),
        ("for x in {a, b}: pass", "iterates over a set"),
        ("[x for x in set(y)]", "iterates over a set"),
        ("open('f')", "calls open"),
        ("io.open('f')", "calls io.open"),
        ("from io import FileIO", "opens files"),
        ("from pathlib import Path", "imports pathlib"),
        ("from tempfile import TemporaryFile", "imports tempfile"),
        ("import shutil", "imports shutil"),
        ("from importlib import resources", "imports importlib.resources"),
        ("import importlib.resources", "imports importlib.resources"),
        ("path.read_text()", "calls read_text"),
        ("numpy.fromfile('f')", "calls fromfile"),
    ],
)
def test_the_purity_check_fires(source, what):
    assert what in "\n".join(impurities(source))


@pytest.mark.parametrize(
    "source",
    [
        "datetime(2013, 10, 11, tzinfo=UTC)",
        "datetime.fromtimestamp(3, tz=UTC)",
        "for x in sorted(set(y)): pass",
        "from io import BytesIO",
        "stage.open(state)",
    ],
)
def test_the_purity_check_lets_pure_code_pass(source):
    assert impurities(source) == []


def test_no_module_is_longer_than_it_reads_in_one_sitting():
    assert {p: n for p, t in texts("*.py") if (n := len(t.splitlines())) > MAX_LINES} == {}


def test_no_tracked_file_names_a_registry_host():
    assert {p: found for p, text in texts() if (found := lines_with(HOST, text))} == {}


def test_no_tracked_file_names_a_path_of_one_machine():
    assert {p: found for p, text in texts() if (found := lines_with(MACHINE_PATH, text))} == {}


def test_no_tracked_file_holds_a_credential():
    assert {p: found for p, text in texts() if (found := lines_with(SECRET, text))} == {}


def test_no_rule_is_switched_off_without_its_name():
    assert {p: found for p, text in texts("*.py") if (found := lines_with(BLANKET, text))} == {}


@pytest.mark.parametrize(
    "pattern, line",
    [
        (HOST, "url = https://" + "pypi" + ".org/simple"),
        (HOST, "image: " + "docker" + ".io/library/kafka"),
        (MACHINE_PATH, "path = '/wo" + "rk/main'"),
        (MACHINE_PATH, "cd /ro" + "ot/x"),
        (MACHINE_PATH, "open('/t" + "mp/x')"),
        (SECRET, "key = " + "PK" + "A1" * 9),
        (BLANKET, "x = 1  # type" + ": ignore"),
        (BLANKET, "x = 1  # no" + "qa"),
    ],
)
def test_each_pattern_fires(pattern, line):
    assert pattern.search(line)


CLIENTS = re.compile(
    r"\b(?:Consumer|Producer|AdminClient|SchemaRegistryClient|create_connection)\(|bootstrap: str\b"
)
KAFKA_ROOM = "connectors/kafka/"


def clients_outside_the_kafka_room(path, text):
    """Lines that make a Kafka client, or take an address instead of a Cluster. Classes are no clients."""
    if path.startswith((KAFKA_ROOM, "tests/")):
        return []
    return [
        n for n in lines_with(CLIENTS, text) if not text.splitlines()[n - 1].lstrip().startswith("class ")
    ]


def test_every_kafka_client_is_made_in_the_kafka_room_from_a_cluster():
    # Where a person's word, an option or an argument, becomes a Cluster; and what stack.json holds.
    names = (
        "cli/pipeline",
        "cli/replay",
        "cli/snapshot",
        "notebook/connection",
        "notebook/place",
        "local/state",
    )
    # It asks a registry's or a database's port, once, why TLS failed there.
    # And `tape health` asks a process of this machine, with as little as it can import.
    allowed = {f"tape/{name}.py" for name in names} | {"connectors/tls.py", "connectors/health/asked.py"}
    broken = {
        p: n for p, t in texts("*.py") if p not in allowed and (n := clients_outside_the_kafka_room(p, t))
    }
    assert broken == {}


def test_a_client_elsewhere_is_found():
    assert clients_outside_the_kafka_room("agents/x.py", "a = 1\nc = AdminClient({})\n") == [2]
    assert clients_outside_the_kafka_room("tape/x.py", "def f(bootstrap: str) -> None: ...\n") == [1]
    assert clients_outside_the_kafka_room("agents/x.py", "class TapeConsumer(Consumer):\n") == []
    assert clients_outside_the_kafka_room(f"{KAFKA_ROOM}x.py", "Consumer({})\n") == []


def test_the_rooms_have_one_import_name():
    links = {p.name: p.resolve() for p in (ROOT / "src" / "tapedeck").iterdir() if p.is_symlink()}
    assert links == {
        name: ROOT / name for name in ("schemas", "topics", "streams", "agents", "connectors", "tape")
    }


ROOM_BY_TEXT = re.compile(r"import_module\(f?[\"'](?!tapedeck\b)")


def test_no_module_is_imported_by_the_bare_name_of_a_room():
    assert {p: found for p, text in texts("*.py") if (found := lines_with(ROOM_BY_TEXT, text))} == {}
    assert ROOM_BY_TEXT.search("import_" + "module(f'agents.{name}')")


def test_the_import_contracts_are_in_place_for_the_import_linter():
    contracts = (ROOT / "pyproject.toml").read_text()
    assert 'layers = ["tape", "agents", "connectors", "streams", "topics", "schemas"]' in contracts
    assert 'source_modules = ["tapedeck.streams"]' in contracts
    assert all(f'"{name}"' in contracts for name in ("faust", "confluent_kafka", "tempfile", "shutil"))


def imports_in(path, text, modules):
    """Those of ``modules`` that the module at ``path`` imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{each.name}" for each in node.names}
            found |= inner & modules or {node.module}
    return (found & modules) - {module_of(path)}


def module_of(path):
    return "tapedeck." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def circles(sources):
    """The modules that import themselves through others. A package's own module counts as a module."""
    names = {module_of(path) for path in sources}
    modules = {module_of(path): imports_in(path, text, names) for path, text in sources.items()}
    reached = {name: set(found) for name, found in modules.items()}
    for name in modules:
        ahead = list(reached[name])
        while ahead:
            for each in modules[ahead.pop()] - reached[name]:
                reached[name].add(each)
                ahead.append(each)
    return sorted(name for name, found in reached.items() if name in found)


def test_no_module_of_the_schemas_imports_itself_through_others():
    assert circles(dict(texts("schemas/*.py"))) == []


def test_a_circle_is_found_where_an_import_stands_in_a_function_too():
    found = circles(
        {
            "schemas/a.py": "from tapedeck.schemas.b import x",
            "schemas/b.py": "def f():\n    from tapedeck.schemas import c",
            "schemas/c.py": "import tapedeck.schemas.a",
            "schemas/d.py": "import tapedeck.schemas.a",
        }
    )
    assert found == ["tapedeck.schemas.a", "tapedeck.schemas.b", "tapedeck.schemas.c"]


DERIVED = ("tape/why/*.py", "tape/explain/*.py", "tape/whatif/*.py")
SHIPPED_STAGES = set(TOPOLOGY.names)
SHIPPED_NAMES = SHIPPED_STAGES | {name for spec in TOPOLOGY for name in spec.outputs}
# Fields of documents and of the configuration that are called like a stage or a topic.
SAME_WORDS = {
    "tape/why/report.py": {"signals"},
    "tape/whatif/changes.py": {"accounts"},
    "tape/whatif/diff.py": {"account"},
    "tape/whatif/inbox.py": {"positions"},
    "tape/whatif/report.py": {"account"},
}
# What-if folds an account decision by decision, which is the account stage's own code.
ACCOUNT_APART = {
    f"tape/whatif/{name}.py": {"account"} for name in ("accounts", "inbox", "outcomes", "whatif")
}


def restated(path, text):
    """The shipped stages and topics that a module names as text, and the stages whose code it imports."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=str(name)) if name in SHIPPED_NAMES - SAME_WORDS.get(path, set()):
                found.append((node.lineno, name))
            case ast.ImportFrom(module=str(module)) | ast.Import(names=[ast.alias(name=module), *_]):
                stage = re.match(r"tapedeck\.streams\.stages\.(\w+)", module)
                if stage and stage[1] in SHIPPED_STAGES - ACCOUNT_APART.get(path, set()):
                    found.append((node.lineno, f"imports {stage[1]}"))
    return [f"{line}: {what}" for line, what in sorted(found)]


def test_why_explain_and_whatif_restate_nothing_that_the_topology_says():
    broken = {path: found for path, text in texts(*DERIVED) if (found := restated(path, text))}
    assert broken == {}, "ask the topology and the definitions of its stages"


def test_every_word_that_is_allowed_is_needed():
    sources = dict(texts(*DERIVED))
    for path, words in SAME_WORDS.items():
        assert all(f'"{word}"' in sources[path] for word in words), path
    for path in ACCOUNT_APART:
        assert "tapedeck.streams.stages.account" in sources[path], path


@pytest.mark.parametrize(
    "source, found",
    [
        ('PIPELINE = ("bars", "features")', ["1: features"]),
        ('names = {\n    "decisions": headline,\n}', ["2: decisions"]),
        ('recording.bodies("bars.late")', ["1: bars.late"]),
        ('topology.stage("watchlist")', ["1: watchlist"]),
        ("from tapedeck.streams.stages.signals.again import AGAIN", ["1: imports signals"]),
        ("import tapedeck.streams.stages.scores.rule", ["1: imports scores"]),
        ('"""It reads the features of bars."""', []),
        ("from tapedeck.streams.stages.base import derived", []),
    ],
)
def test_a_name_that_the_topology_has_is_found(source, found):
    assert restated("tape/why/x.py", source) == found
