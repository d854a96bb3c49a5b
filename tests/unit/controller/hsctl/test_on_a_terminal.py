"""hsctl where a person sits: it asks, and draws tables; with nothing that steers the terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.unit.controller.hsctl.conftest import Cli, change, lane
from tests.web_site import Told


def on_a_terminal(cli: Cli, typed: bytes, *arguments: str) -> tuple[int, str]:
    """Run hsctl with a terminal at all three ends; gives exit code and all that was shown."""
    master, slave = pty.openpty()
    environment = {**os.environ, "HSCTL_CONFIG": str(cli.config), "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "controller.hsctl.main", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        cwd=Path(__file__).parents[4],
    )
    os.close(slave)
    os.write(master, typed)
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # the other end is closed: that is how a terminal ends
        pass
    os.close(master)
    return process.wait(60), shown.decode()


@ensureDeferred
async def test_a_deletion_asks_and_takes_no_for_an_answer(cli: Cli) -> None:
    cli.answers({"name": "acme"})
    code, shown = await deferToThread(on_a_terminal, cli, b"n\n", "account", "delete", "acme")
    assert "Delete account acme? [y/N]" in shown
    assert (code, cli.runner.asked) == (1, [])
    code, _ = await deferToThread(on_a_terminal, cli, b"y\n", "account", "delete", "acme")
    assert (code, [asked.name for asked in cli.written]) == (0, ["account.delete"])


@ensureDeferred
async def test_lanes_are_drawn_and_foreign_words_are_escaped(cli: Cli) -> None:
    moving = change("failed", lane("failed", "\x1b]0;owned\x07 [bold]no[/bold]"))
    cli.answers({"name": "acme"}, moving)
    code, shown = await deferToThread(on_a_terminal, cli, b"", "account", "add", "acme")
    assert code == 4
    assert "\x1b]0;" not in shown
    assert "\\x1b]0;owned\\x07 [bold]no[/bold]" in shown


@ensureDeferred
async def test_a_table_shows_foreign_words_as_they_are(cli: Cli) -> None:
    items = [{"name": "[red]a\x1b[2J\u202ecod", "domains": 1, "created_at": None}]
    cli.runner.answer = lambda asked: Told({"items": items, "next": None})
    code, shown = await deferToThread(on_a_terminal, cli, b"", "account", "list")
    assert code == 0
    assert "[red]a\\x1b[2J\\u202ecod" in shown
