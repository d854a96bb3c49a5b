"""The command ``hsctl``: its verbs, each loaded when it is used."""

import errno
import importlib
import os
import sys

import click

from controller.client import exit_codes

# Verb -> (module, attribute, help). What a verb needs is imported when it runs: ``--help`` must not
# wait for anything.
_VERBS: dict[str, tuple[str, str, str]] = {
    "local": ("controller.hsctl.local", "local", "Run a whole cluster on this machine."),
    "login": ("controller.hsctl.signing_in", "login", "Sign in to a controller; keep a profile."),
    "pserver": ("controller.hsctl.boxes", "pserver", "Physical servers: the boxes."),
    "lserver": ("controller.hsctl.servers", "lserver", "Logical servers: what runs on the boxes."),
    "group": ("controller.hsctl.groups", "group", "Server groups: what may be placed where."),
    "dns": ("controller.hsctl.name_servers", "dns", "Name servers: their roles for new zones."),
    "rollout": ("controller.hsctl.rollouts", "rollout", "Settings of many servers, in waves."),
    "placement": ("controller.hsctl.placement", "placement", "Where new sites and zones go."),
    "ip": ("controller.hsctl.addresses", "ip", "IP addresses of logical servers."),
    "account": ("controller.hsctl.accounts", "account", "Customers' accounts."),
    "domain": ("controller.hsctl.domains", "domain", "Domains: a zone and a site each."),
    "record": ("controller.hsctl.records", "record", "Records in the zones of domains."),
    "site": ("controller.hsctl.sites", "site", "Settings and certificates of web sites."),
    "service": ("controller.hsctl.service_domain", "service", "The service domain and its uses."),
    "ssl": ("controller.hsctl.shared_certificates", "ssl", "Certificates that names share."),
    "change": ("controller.hsctl.changes", "change", "What was changed, by whom, how far it is."),
    "object": ("controller.hsctl.objects", "object_", "Every version of what boxes must serve."),
    "why": ("controller.hsctl.why", "why", "Where a line of a file on a box comes from."),
    "model": ("controller.hsctl.model", "model", "The cluster's model as a file."),
    "audit": ("controller.hsctl.audit", "audit", "Prove that no change was altered or removed."),
    "drift": ("controller.hsctl.drift", "drift", "Files that somebody else changed."),
    "fault": ("controller.hsctl.faults", "fault", "What the boxes could not apply."),
    "health": ("controller.hsctl.health", "health", "What breaks a rule, and what repairs it."),
    "recover": ("controller.hsctl.recovery", "recover", "Go on with boxes that are ahead."),
    "operator": ("controller.hsctl.operators", "operator", "Who may sign in."),
    "token": ("controller.hsctl.operators", "token", "API tokens of operators."),
    "status": ("controller.hsctl.status", "status", "The state of the cluster."),
    "backup": ("controller.hsctl.backups", "backup", "Back up and restore the controller."),
    "support": ("controller.hsctl.support", "support", "Collect what a bug report needs."),
    "completion": ("controller.hsctl.completion", "completion", "Shell completion."),
}

_CODES = "\n".join(f"  {code}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())


class Verbs(click.Group):
    """The verbs, by name; the module of one is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the verbs in the order in which a newcomer meets them."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb."""
        if cmd_name not in _VERBS:
            return None
        module, attribute, _ = _VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, _, help) in _VERBS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; one line says that an answer could not be written down."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by who started this
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (for the whole run)
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            from controller.client.errors import RefusedError
            from controller.hsctl.terminal import lead_nowhere

            lead_nowhere(sys.stdout)
            raise RefusedError(f"the answer could not be written: {error.strerror}") from error


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"\b\nExit codes:\n{_CODES}\n\n\b\nFirst steps:\n"
    "  hsctl local up\n"
    "  hsctl account add acme\n"
    "  hsctl domain add shop.test --account acme\n"
    "  hsctl record add shop.test www2 A 192.0.2.7",
)
@click.option("--profile", metavar="NAME", help="The cluster, as `hsctl login` named it.")
@click.version_option(package_name="heliosphere", prog_name="hsctl")
@click.pass_context
def main(ctx: click.Context, profile: str | None) -> None:
    """Run a hosting cluster from the command line.

    Every verb that changes something takes --dry-run, waits until the change is live on every box,
    and says so by its exit code.
    """
    ctx.obj = profile


if __name__ == "__main__":
    main()
