"""``tape prefix``: lists the pipelines that share a cluster, or drops one."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tapedeck.connectors.kafka.acls import ADMIN
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.pipeline import Bootstrap, found
from tapedeck.tape.local.where import DATABASE
from tapedeck.tape.topology import topology_in_use

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List the prefixes of a cluster, or drop one."
)

Database = Annotated[
    str,
    typer.Option("--database", envvar="DATABASE_URL", help="Where schemas are; default: the local stack's."),
]


@app.command("list")
def list_prefixes(bootstrap: Bootstrap = "", database: Database = "") -> None:
    """Print every pipeline of the cluster: its topics, consumer groups, members, and tables."""
    from tapedeck.connectors.kafka.groups import KafkaGroups  # noqa: PLC0415 - see below
    from tapedeck.tape.prefixes import pipelines  # noqa: PLC0415 - the database tools load for long

    where = found(bootstrap, "", database=database)
    cluster = where.cluster(ADMIN)
    groups = KafkaGroups(cluster)
    table = Table("prefix", "topics", "groups", "members", "tables")
    for each in pipelines(topology_in_use(), cluster, where.get(DATABASE)).values():
        members = sum(len(groups.members(group)) for group in each.groups)
        counts = (len(each.topics), len(each.groups), members, each.tables)
        table.add_row(each.prefix or "(none)", *map(str, counts))
    Console().print(table)


@app.command()
def drop(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="The prefix, as in `tape prefix list`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    *,
    bootstrap: Bootstrap = "",
    database: Database = "",
) -> None:
    """Delete the topics, consumer groups and database schema of a prefix that no process uses."""
    from tapedeck.connectors.kafka.groups import KafkaGroups  # noqa: PLC0415 - see above
    from tapedeck.tape import prefixes  # noqa: PLC0415 - see above

    where = found(bootstrap, "", database=database)
    cluster, url = where.cluster(ADMIN), where.get(DATABASE)
    there = prefixes.pipelines(topology_in_use(), cluster, url)
    if not prefix or prefix not in there:
        known = ", ".join(filter(None, there)) or "none"
        raise Fatal("there is no such prefix", value=prefix, remedy=f"there are: {known}")
    owned = there[prefix]
    if where.stack is not None and where.stack.prefix == prefix:
        remedy = "stop it with `tape down`, then run `tape up --servers-only` and this again"
        raise Fatal("the local stack is running under this prefix", value=prefix, remedy=remedy)
    prefixes.refuse_members(owned, KafkaGroups(cluster))
    print(f"this will be permanently deleted on {cluster.bootstrap}:", file=sys.stderr)
    for line in owned.in_words():
        print(f"  {line}", file=sys.stderr)
    if not yes:
        if not sys.stdin.isatty():
            remedy = "add --yes if that is intended; nothing was changed"
            raise Fatal("the prefix would be deleted", value=prefix, remedy=remedy)
        typer.confirm("Delete it?", abort=True, err=True)
    prefixes.drop(owned, cluster, url)
    print(f"dropped {prefix}: {len(owned.topics)} topics, {len(owned.groups)} groups, {owned.tables} tables")
