"""``hs-agent``: run the agent, enrol the box, and break-glass on the box itself.

Everything heavy is imported by the command that needs it, so that ``status`` and ``hold`` answer at
once also on a box in trouble.
"""

import sys
from pathlib import Path

import click

from node_agent.config import DEFAULT_PATH, Config, read_config
from node_agent.owned_file import ConfigError
from pki.cores import write_no_core


class _ConfigPath(click.ParamType[Config]):
    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Config:
        """Read the file; a bad one is a usage error of one line."""
        if isinstance(value, Config):
            return value
        try:
            return read_config(Path(str(value)))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def _config_option(function: "click.decorators.FC") -> "click.decorators.FC":
    return click.option(
        "--config",
        type=_ConfigPath(),
        default=str(DEFAULT_PATH),
        show_default=True,
        help="The agent's configuration.",
    )(function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Work the logical servers of this box as the cluster's controller asks."""
    write_no_core()


@main.command()
@_config_option
@click.option("--log", type=click.Path(path_type=Path), help="Log to this file, rotated.")
@click.option("--verbose", is_flag=True, help="Log debugging events too.")
def run(config: Config, log: Path | None, verbose: bool) -> None:
    """Run the agent in the foreground until SIGTERM."""
    from node_agent.logs import set_up
    from node_agent.running import CannotRunError, run_agent

    set_up(log or config.log, verbose=verbose)
    try:
        run_agent(config)
    except CannotRunError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@_config_option
@click.option("--controller", required=True, metavar="HOST:PORT", help="The enrolment port.")
@click.argument("token")
def enrol(config: Config, controller: str, token: str) -> None:
    """Get this box its certificate. TOKEN is what `hsctl pserver enroll` printed; `-` reads it."""
    from node_agent.running import CannotRunError, enrol_box

    text = sys.stdin.readline().strip() if token == "-" else token  # noqa: S105
    try:
        click.echo(enrol_box(config, controller, text))
    except CannotRunError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@_config_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(config: Config, output: str) -> None:
    """Show each lane: what it has stored, what is settled, what is wrong."""
    from node_agent import break_glass

    found = break_glass.status(config)
    if output == "json":
        import json

        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"agent: {'running' if found['running'] else 'NOT RUNNING'}")
    for lane in found["lanes"]:
        click.echo(
            f"{lane['name']}  {lane['service_type']}  {lane['condition']}"
            f"  stored {lane['stored_revision']}  settled {lane['settled_revision']}"
            f"  served {lane['served']}  faults {lane['faults']}"
            f"{'  HELD' if lane['held'] else ''}  {lane['message']}".rstrip()
        )


@main.command()
@_config_option
@click.argument("lane", default="all")
def hold(config: Config, lane: str) -> None:
    """Touch nothing on LANE (a name or id; all by default) until it is released.

    Survives a restart. Returns once the agent has stopped working the lane.
    """
    _set_held(config, lane, held=True)


@main.command()
@_config_option
@click.argument("lane", default="all")
def release(config: Config, lane: str) -> None:
    """Go on with LANE (a name or id; all by default)."""
    _set_held(config, lane, held=False)


def _set_held(config: Config, lane: str, *, held: bool) -> None:
    from node_agent import break_glass

    try:
        for line in break_glass.set_held(config, lane, held=held):
            click.echo(line)
    except LookupError as error:
        raise click.ClickException(str(error.args[0])) from error


@main.command()
@_config_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def faults(config: Config, output: str) -> None:
    """List the objects that are not as they should be, with the daemon's own words."""
    from node_agent import break_glass

    found = break_glass.faults(config)
    if output == "json":
        import json

        click.echo(json.dumps(found, indent=2))
        return
    for fault in found:
        click.echo(
            f"{fault['lane']}  {fault['kind']} {fault['key']}  revision {fault['revision']}"
            f"  {fault['outcome']}: {fault['message']}"
        )
    if not found:
        click.echo("none")


@main.command()
@_config_option
def grants(config: Config) -> None:
    """Show what this box's owner lets a controller have touched here (grants.toml)."""
    from node_agent.grants import told

    for table, what in told(config.grants).items():
        click.echo(f"{table}: {what}")


@main.command()
@_config_option
def addresses(config: Config) -> None:
    """Bring back the addresses of this box's sites that a boot took down.

    What boots before the agent, or without it, needs them. A running agent sees to them itself.
    """
    from node_agent.break_glass import agent_running
    from node_agent.running import CannotRunError, bring_addresses_back

    if agent_running(config):
        click.echo("the agent runs: it sees to its addresses itself")
        return
    try:
        refused = bring_addresses_back(config)
    except CannotRunError as error:
        raise click.ClickException(str(error)) from error
    if refused:
        raise click.ClickException("\n".join(refused))


if __name__ == "__main__":
    main()
