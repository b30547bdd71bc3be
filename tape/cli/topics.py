"""``tape topics``: the catalogue compared with the cluster."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tapedeck.connectors.kafka.acls import ADMIN, OPERATOR
from tapedeck.connectors.kafka.admin import Difference, Found, compare, describe, ensure
from tapedeck.connectors.kafka.cluster import BOOTSTRAP
from tapedeck.schemas.errors import CatalogueMismatch, Fatal
from tapedeck.tape.cli.acls import print_acls
from tapedeck.tape.cli.pipeline import Bootstrap, Pipeline, Prefix, pipeline_of, say_withheld
from tapedeck.tape.local.where import PREFIX, look
from tapedeck.tape.topology import topology_in_use
from tapedeck.topics.catalogue import CATALOGUE, FOREVER, Cleanup, Layout, Topic

DIFFERS = 1


def topics(
    create: Annotated[bool, typer.Option("--create", help="Create the topics that are missing.")] = False,
    *,
    recreate: Annotated[
        str | None,
        typer.Option(
            "--recreate",
            metavar="NAME",
            help="Delete and recreate NAME, and start over whatever depends on it.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --recreate: do not ask.")] = False,
    acls: Annotated[
        bool,
        typer.Option("--acls", help="Print the rights that each kind of process needs, and nothing else."),
    ] = False,
    principals: Annotated[
        list[str] | None,
        typer.Option(
            "--principals",
            metavar="PATTERN",
            help="With --acls: to whom, {} being the kind, as in User:tape-{}; KIND=PRINCIPAL for one alone. "
            "May be repeated.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --acls: as one JSON document.")] = False,
    asyncapi: Annotated[
        bool,
        typer.Option("--asyncapi", help="Print the topics as an AsyncAPI 3 document, and nothing else."),
    ] = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """List the catalogue next to the cluster's topics; reports differences with exit code 1.

    Nothing that exists is changed, except by --recreate: it says what it deletes, and asks.
    """
    if acls:
        print_acls(bootstrap, prefix, principals or (), as_json=as_json)
        return
    if asyncapi:
        _print_asyncapi(prefix)
        return
    if recreate is not None:
        _recreate(recreate, pipeline_of(bootstrap, prefix, ADMIN), yes=yes)
        return
    if not create and not look({BOOTSTRAP: bootstrap or None}).is_named:
        _show(Layout(prefix or ""), None, [])
        print("no cluster is named and no local stack runs; this is only the catalogue", file=sys.stderr)
        return
    cluster = pipeline_of(bootstrap, prefix, ADMIN if create else OPERATOR).cluster
    if create:
        try:
            created = ensure(cluster)
            print(f"created {len(created)} topics on {cluster.bootstrap}", file=sys.stderr)
        except CatalogueMismatch:
            print("nothing was altered: existing topics differ from the catalogue", file=sys.stderr)
    found = describe(cluster)
    differences = compare(found, cluster.layout)
    _show(cluster.layout, found, differences)
    for difference in differences:
        print(difference, file=sys.stderr)
    say_withheld(cluster, [each.name for each in CATALOGUE if cluster.layout.wire_name(each.name) in found])
    if differences:
        raise typer.Exit(DIFFERS)


def _print_asyncapi(prefix: str | None) -> None:
    from tapedeck.tape.asyncapi import as_yaml, document  # noqa: PLC0415 - the list needs none of it

    where = look({PREFIX: prefix})
    print(as_yaml(document(topology_in_use(), Layout.described(where.get(PREFIX), where.told()))), end="")


def _recreate(name: str, pipeline: Pipeline, *, yes: bool) -> None:
    from tapedeck.connectors.kafka.groups import KafkaGroups  # noqa: PLC0415 - the list needs none of it
    from tapedeck.tape.recreate import carry_out, plan_of, refuse_members, told  # noqa: PLC0415 - see above

    cluster = pipeline.cluster
    accounts = [each.account_id for each in pipeline.document().accounts]
    plan = plan_of(topology_in_use(), name, cluster.layout, accounts)
    refuse_members(plan, KafkaGroups(cluster))
    for line in told(plan, cluster):
        print(line, file=sys.stderr)
    if not yes:
        if not sys.stdin.isatty():
            remedy = "add --yes if that is intended; nothing was changed"
            raise Fatal("these records would be deleted", value=name, remedy=remedy)
        typer.confirm("Delete them?", abort=True, err=True)
    carry_out(plan, cluster, lambda line: print(line, file=sys.stderr))


def _show(layout: Layout, found: dict[str, Found] | None, differences: list[Difference]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("topic", "partitions", "by", "record key", "kept", "written by", "on the cluster"):
        table.add_column(heading, no_wrap=heading == "topic")
    for topic in CATALOGUE:
        name = layout.wire_name(topic.name)
        here = "" if found is None else _state(name, differences)
        partitions = str(layout.partitions(topic.name))
        table.add_row(name, partitions, _spread(topic), _key(topic), _kept(topic, layout), topic.owner, here)
    known = {layout.wire_name(topic.name) for topic in CATALOGUE}
    for name in sorted(set(found or {}) - known):
        table.add_row(name, "", "", "", "", "", "[red]UNEXPECTED[/red]")
    # A pipe has no width. Its rows are for grep, and must not be wrapped.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def _state(name: str, differences: list[Difference]) -> str:
    kinds = sorted({str(d.kind) for d in differences if d.topic == name})
    return f"[red]{', '.join(kinds)}[/red]" if kinds else "[green]as expected[/green]"


def _spread(topic: Topic) -> str:
    return topic.part or "-"


def _key(topic: Topic) -> str:
    if topic.schema is None:
        return "source topic" if topic.audited else "state key"
    return ", ".join(topic.key) or "constant"


def _kept(topic: Topic, layout: Layout) -> str:
    if topic.cleanup is Cleanup.COMPACT:
        days = "" if topic.keep_days == FOREVER else f", all for {topic.keep_days} d"
        return f"newest per key{days}"
    config = layout.topic_config(topic.name)
    return "forever" if config["retention.ms"] == str(FOREVER) else f"{topic.keep_days} d"
