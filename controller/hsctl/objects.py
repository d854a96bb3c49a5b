"""``hsctl object``: every version of what a logical server must serve."""

from collections.abc import Iterator
from typing import Any

import click

from controller.hsctl import change_views
from controller.hsctl.terminal import paint, print_json, print_table, write
from controller.hsctl.verbs import Output, output_option, session
from controller.printable import clean

_COLUMNS = ("at", "change", "command", "actor", "action", "server", "revision", "reason")
_PAGE = 50


@click.group("object")
def object_() -> None:
    """Desired objects: a zone, a site, the configuration of a server; versions are never lost.

    \b
    hsctl object history zone shop.test
    """


@object_.command()
@click.argument("kind")
@click.argument("key", default="")
@click.option("--lserver", default="", metavar="NAME", help="On this logical server only.")
@click.option("--diff", is_flag=True, help="Show what each version changed; secrets are left out.")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most so many; all by default.")
@output_option
def history(
    kind: str, key: str, lserver: str, *, diff: bool, limit: int | None, output: Output
) -> None:
    """List the versions of an object, the newest first: which change, who and when.

    JSON says what each version changed, too. The object of a server itself has the kind server
    and no key.

    \b
    hsctl object history zone shop.test
    hsctl object history site shop.test --diff --limit 5
    hsctl object history server --lserver ns1.example.net -o json
    """
    told = diff or output == "json"
    fields = {"kind": kind, "key": key, "lserver": lserver, "diff": told}
    items = session().client.pages("object.history", fields, limit, page=_PAGE)
    if output == "json":
        print_json(list(items))
    elif diff:
        _print_differences(items)
    else:
        print_table(_COLUMNS, map(change_views.version, items))


setattr(history.callback, "__hsctl_command__", "object.history")  # noqa: B010 (as decorators do)


def _print_differences(items: Iterator[dict[str, Any]]) -> None:
    for item in items:
        on = f" on {item['logical_server']}" if item["logical_server"] else ""
        who = f"change {item['change']}: {item['command']} by {item['actor']}, {item['at']}{on}"
        write(paint(clean(who), bold=True))
        for line in item["diff"].splitlines():
            colour = {"+": "green", "-": "red"}.get(line[:1])
            write(paint(clean(line), colour))
