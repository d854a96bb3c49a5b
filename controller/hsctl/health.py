"""``hsctl health``: what breaks a rule of the cluster, and the command that repairs it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.hsctl.terminal import paint, print_json, write
from controller.hsctl.verbs import Output, output_option, session
from controller.printable import clean

Item = Mapping[str, Any]


@click.option("--rule", default="", metavar="ID", help="Only of this rule.")
@click.option(
    "--severity",
    type=click.Choice(["refuse", "warn"]),
    help="Only what a command would refuse, or would warn of.",
)
@click.option("--filter", "text", default="", metavar="TEXT", help="Only objects so named.")
@click.option("--check", is_flag=True, help="End with 1 where there is a finding.")
def health(rule: str, severity: str | None, text: str, check: bool, output: Output) -> None:
    """Judge the whole model by every rule of the cluster.

    Each finding names the object and the rule, says why it matters, and gives the command that
    repairs it. What only you know stands in capitals.

    \b
    hsctl health
    hsctl health --check --severity refuse
    """
    fields = {"rule": rule, "severity": severity, "filter": text}
    items = list(session().client.pages("health.list", fields))
    if output == "json":
        print_json(items)
    else:
        for line in report(items):
            write(line)
    if check and items:
        click.get_current_context().exit(exit_codes.REFUSED)


setattr(health, "__hsctl_command__", "health.list")  # noqa: B010 (what the decorators leave)
health = click.command()(output_option(health))


def report(items: Iterable[Item]) -> Iterator[str]:
    """Give the lines of the report, painted: four for each finding, and a sum."""
    severe = mild = 0
    for item in items:
        refuse = item["severity"] == "refuse"
        severe, mild = severe + refuse, mild + (not refuse)
        words, rule, reason, repair = (
            clean(str(item[name])) for name in ("words", "rule", "reason", "repair")
        )
        kind = paint("breach" if refuse else "warning", "red" if refuse else "yellow")
        yield f"{kind}: {paint(words, bold=True)}"
        yield f"    {rule}: {reason}"
        yield f"    {repair}"
        yield ""
    if severe or mild:
        yield paint(
            f"{severe} {'breach' if severe == 1 else 'breaches'}, "
            f"{mild} {'warning' if mild == 1 else 'warnings'}",
            "red" if severe else "yellow",
            bold=True,
        )
    else:
        yield paint("No findings: every rule of the cluster holds.", "green")
