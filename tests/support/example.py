"""The package in ``examples/relative_strength``, installed as by a user, and a morning of its data."""

import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.topology import Topology
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.topics.catalogue import topic
from tests.support.cases import REPOSITORY
from tests.support.paths import CONFIG, cut
from tests.support.sim_tapes import small_tape

FOLDER = REPOSITORY / "examples" / "relative_strength"
NAME = "relative_strength.topology:TOPOLOGY"
MINUTES = 36
"""Before it are two of its own signals and one of the shipped rule."""


def install(target: Path) -> Path:
    """Build the package into a folder, as an installer does, and return it. No network is needed."""
    source, site = target / "source", target / "site"
    shutil.copytree(FOLDER, source)  # a build leaves its folders next to the source
    if find_spec("setuptools") is None:  # from Python 3.12 on an environment need not have it
        shutil.copytree(source / "relative_strength", site / "relative_strength")
    else:
        build = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "build"]
        subprocess.run([*build, "--build-lib", str(site)], cwd=source, check=True)
    return site


@cache
def played(topology: Topology, config: Config = CONFIG) -> Simulation:
    """Five symbols until after the first signals, through both rules and the dispatchers of ``config``."""
    return Simulation(topology, cut(small_tape(), slice(MINUTES)), config).play().rest(2)


def bodies(run: Simulation, name: str) -> list[dict[str, Any]]:
    """The decoded records of a topic."""
    schema = topic(name).schema
    assert schema is not None
    return [decode(schema, message.value) for message in run.log.messages(name) if message.value is not None]
