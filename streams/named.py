"""The topology behind a name: ``package.module:NAME``, the shipped one or one of the user's own."""

import re
from functools import cache

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.importing import file_of, import_users, told_in
from tapedeck.streams.topology import Topology

TOPOLOGY_VARIABLE = "TAPE_TOPOLOGY"
"""Names the topology in the environment; it has precedence over ``topology`` of the document."""
SHIPPED = "tapedeck.streams.stages.topology:TOPOLOGY"
_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@cache
def topology_named(text: str, said_by: str) -> Topology:
    """The topology called ``text``; ``said_by``: who names it, for messages.

    Importing it declares its records, topics and parameters. Raises Fatal, with the user's file and line,
    where it cannot be imported or is not sound.
    """
    if not _FORM.fullmatch(text):
        raise Fatal(
            f"{said_by} does not name a topology",
            value=text,
            remedy="write package.module:NAME, for example mypackage.pipeline:TOPOLOGY",
        )
    name, _, attribute = text.partition(":")
    module = import_users(
        name,
        f"the topology that {said_by} names cannot be imported",
        "correct the name, or install the package where every process of the pipeline finds it: "
        "`pip install -e` with the folder of its pyproject.toml",
    )
    found = getattr(module, attribute, None)
    if not isinstance(found, Topology):
        there = [known for known, value in vars(module).items() if isinstance(value, Topology)]
        what = f"is of type {type(found).__name__}" if hasattr(module, attribute) else "does not exist"
        raise Fatal(
            f"{said_by} does not name a Topology: {attribute} {what}",
            value=text,
            place=file_of(module),
            remedy=f"Topologies there: {', '.join(there)}"
            if there
            else "define a Topology with that name there",
        )
    if text != SHIPPED:
        with told_in(name, module):
            found.check_code()
    return found
