"""``hsctl completion``: the script that makes a shell complete hsctl's words."""

import click
from click.shell_completion import get_completion_class

from controller.client.errors import UsageError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    hsctl completion bash > /etc/bash_completion.d/hsctl
    hsctl completion zsh  > "${fpath[1]}/_hsctl"
    hsctl completion fish > ~/.config/fish/completions/hsctl.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"this click knows no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "hsctl", "_HSCTL_COMPLETE").source())
