"""``tape topics --acls``: what to grant on your own cluster, in a form that can be applied."""

import json
import sys
from collections.abc import Iterable

from tapedeck.connectors.kafka.acls import as_json as acls_as_json
from tapedeck.connectors.kafka.acls import commands, grants_of
from tapedeck.connectors.kafka.cluster import BOOTSTRAP
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.places import say
from tapedeck.tape.local.where import PREFIX, look
from tapedeck.tape.topology import topology_in_use
from tapedeck.topics.catalogue import Layout

_PATTERN = "User:{}"
_SOMEWHERE = f'"${BOOTSTRAP}"'


def print_acls(address: str, prefix: str | None, named: Iterable[str], *, as_json: bool) -> None:
    """Print the table without contacting a cluster. The accounts are those of the current configuration.

    Raises Fatal for an unknown kind of process.
    """
    # Modules that load the kernels are imported when the command runs.
    from tapedeck.connectors.kafka.principals import principals  # noqa: PLC0415 - see above

    where = look({BOOTSTRAP: address or None, PREFIX: prefix})
    config = where.document()
    address = where.get(BOOTSTRAP) or _SOMEWHERE
    if not config.accounts:
        say("no account is configured, so there are no dispatchers; name the document in TAPE_CONFIG")
    layout = Layout(where.get(PREFIX))
    table = principals(topology_in_use(), layout, [account.account_id for account in config.accounts])
    names = _names(table, named)
    if as_json:
        rows = [
            row
            for kind, rights in table.items()
            for row in acls_as_json(names[kind], grants_of(rights, layout))
        ]
        print(json.dumps(rows, indent=1))
        return
    print("# admin.properties holds the login of a user who may alter the cluster", file=sys.stderr)
    for kind, rights in table.items():
        print(f"# {kind}")
        print("\n".join(commands(names[kind], grants_of(rights, layout), address)))


def _names(kinds: Iterable[str], named: Iterable[str]) -> dict[str, str]:
    """The principal of each kind of process."""
    names = {kind: _PATTERN.format(kind) for kind in kinds}
    for each in sorted(named, key=lambda each: "{}" not in each):  # a pattern first, then those named alone
        kind, _, principal = each.partition("=")
        if kind in names and principal:
            names[kind] = principal
        elif "{}" in each:
            names = {kind: each.replace("{}", kind) for kind in names}
        else:
            remedy = f"write a pattern such as User:tape-{{}}, or KIND=PRINCIPAL; kinds: {', '.join(names)}"
            raise Fatal("no such kind of process", value=each, remedy=remedy)
    return names
