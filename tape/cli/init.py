"""``tape init`` and ``tape universe``: what must exist before the first process of a pipeline starts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, found
from tapedeck.tape.local.where import DATABASE

if TYPE_CHECKING:
    from tapedeck.streams.config.document import Config
    from tapedeck.tape.local.where import Where

First = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        envvar="TAPE_FIRST",
        help="The first minute of the market, for a tape of the past; default: now.",
    ),
]
Database = Annotated[
    str, typer.Option("--database", envvar="DATABASE_URL", help="The audit database.", show_default=False)
]


def init(
    *,
    person: Annotated[
        str, typer.Option("--person", help="Who lets the accounts open positions.")
    ] = "tape init",
    reason: Annotated[
        str, typer.Option("--reason", help="Why; it is stored with the change.")
    ] = "first start",
    first: First = None,
    database: Database = "",
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Create topics and tables, let the accounts open positions, and write the configured universe.

    Existing things stay as they are: a second run changes nothing. Each step is also a command of its own:
    `tape topics --create`, `tape migrate`, `tape release all`, `tape universe`.
    """
    where = found(bootstrap, prefix, database=database)
    config, url = _document(where), database_of(where)
    steps = list(_steps(where, config, url, person=person, reason=reason, first=_first(first)))
    if not any(steps):
        print("nothing was changed: everything already exists")


def _steps(
    where: "Where", config: "Config", url: str, *, person: str, reason: str, first: int
) -> Iterator[bool]:
    from tapedeck.connectors.kafka.admin import ensure  # noqa: PLC0415 - see `tape.cli.play`
    from tapedeck.tape import begin  # noqa: PLC0415 - see above
    from tapedeck.topics.catalogue import CATALOGUE  # noqa: PLC0415 - see above

    cluster = where.cluster()
    created = ensure(cluster)
    print(f"topics: {len(created)} created, {len(CATALOGUE) - len(created)} existed, on {cluster.bootstrap}")
    yield bool(created)
    is_new = begin.migrate(url, cluster.prefix)
    print(f"tables: {'created, or upgraded to the newest revision' if is_new else 'at the newest revision'}")
    yield is_new
    is_kept = begin.keep_document(url, cluster.prefix, config, person=person, reason=reason)
    print(f"configuration: {config.digest} {'stored in the audit' if is_kept else 'was stored before'}")
    yield is_kept
    is_armed = begin.arm(cluster, config, person=person, reason=reason)
    print(
        f"controls: {f'ACTIVE for all accounts, by {person}' if is_armed else 'already written, unchanged'}"
    )
    yield is_armed
    standing = begin.universe_of(cluster)
    written = begin.write_universe(cluster, config, first=first) if standing is None else None
    in_force = written or standing
    assert in_force is not None
    print(f"universe: version {in_force['version']}, {len(in_force['members'])} symbols")
    yield written is not None


def universe(*, first: First = None, bootstrap: Bootstrap = "", prefix: Prefix = None) -> None:
    """Write the universe of the configuration, as the next version if it differs from the current one."""
    from tapedeck.tape import begin  # noqa: PLC0415 - see above

    where = found(bootstrap, prefix)
    written = begin.write_universe(where.cluster(), _document(where), first=_first(first))
    if written is None:
        print("the universe already has these symbols: nothing was changed")
    else:
        print(f"universe version {written['version']}: {', '.join(begin.symbols_of(written))}")


def database_of(where: "Where") -> str:
    """The configured database. Raises Fatal if there is none."""
    if not (url := where.get(DATABASE)):
        remedy = "set it, or `database` under [deployment] in the document; nothing was changed"
        raise Fatal("the environment variable DATABASE_URL is not set", remedy=remedy)
    return url


def _document(where: "Where") -> "Config":
    if where.config is None:
        remedy = (
            "set it to the document of this pipeline (start from `tape config show`); nothing was changed"
        )
        raise Fatal("the environment variable TAPE_CONFIG is not set", remedy=remedy)
    return where.document()


def _first(named: str | None) -> int:
    from tapedeck.connectors.clock import SystemClock  # noqa: PLC0415 - see above
    from tapedeck.streams.protocol import MINUTE_US  # noqa: PLC0415 - see above
    from tapedeck.tape.notebook.times import moment  # noqa: PLC0415 - see above

    at = SystemClock().now() if named is None else moment(named, "--first", lambda: None)
    return at // MINUTE_US * MINUTE_US
