"""Each exit code, by itself: scripts rely on them."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from controller.client import exit_codes
from controller.client.profiles import Profile, save
from controller.storage.database import DatabaseUnavailableError
from tests.conftest import LoggedErrors
from tests.unit.controller.hsctl.conftest import Cli, change, lane
from tests.web_site import TOKEN, Told, refusal

ADD = ("account", "add", "acme")


def test_the_codes_are_those_that_scripts_know() -> None:
    assert exit_codes.MEANINGS.keys() == {0, 1, 2, 3, 4, 5}


@ensureDeferred
async def test_0_when_live_everywhere(cli: Cli) -> None:
    cli.answers({"name": "acme"}, change("done", lane("live")))
    ended = await cli.run(*ADD)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.splitlines() == [
        f"cluster: test (https://127.0.0.1:{cli.site.port})",
        "ns1 live",
        "account acme added: live on ns1 [change 7 on test]",
    ]


@ensureDeferred
async def test_0_when_accepted_and_not_waited_for(cli: Cli) -> None:
    cli.answers({"name": "acme"}, change("pending", lane("sending")))
    ended = await cli.run(*ADD, "--no-wait")
    assert ended.code == 0
    assert "hsctl change watch 7" in ended.err
    assert [asked.name for asked in cli.runner.asked] == ["account.add"]


@ensureDeferred
async def test_0_when_read(cli: Cli) -> None:
    cli.runner.answer = lambda asked: Told({"name": "acme"})
    assert (await cli.run("account", "show", "acme")).code == 0


@ensureDeferred
async def test_1_when_refused_in_one_line(cli: Cli) -> None:
    cli.runner.answer = lambda asked: refusal(field="name", value="a\nb\x1b[2J", allowed="a-z")
    ended = await cli.run(*ADD)
    assert ended.code == 1
    assert ended.err.splitlines()[1:] == [
        "hsctl: refused: the thing is invalid (name: a\\nb\\x1b[2J); allowed: a-z [thing.invalid]"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("account", "add"),
        ("account", "add", "acme", "--timeout", "soon"),
        ("account", "delete", "acme"),
        ("lserver", "add", "x", "--group", "g", "--type", "t", "--pserver", "p", "--set", "odd"),
        ("login", "http://127.0.0.1:1"),
    ],
)
@ensureDeferred
async def test_2_for_usage_and_for_a_question_that_nobody_can_answer(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    ended = await cli.run(*arguments)
    assert ended.code == 2
    assert cli.runner.asked == []


@ensureDeferred
async def test_3_when_not_known_to_be_live_in_time(cli: Cli) -> None:
    cli.answers({"name": "acme"}, change("pending", lane("stored")))
    ended = await cli.run(*ADD, "--timeout", "0.2")
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == (
        "account acme added, but not known to be live after 0.2 s (ns1 applying); "
        "it goes on by itself, hsctl change watch 7 follows it [change 7 on test]"
    )


@pytest.mark.parametrize("state", ["held", "unknown"])
@ensureDeferred
async def test_3_at_once_when_a_lane_is_lost_or_held(cli: Cli, state: str) -> None:
    cli.answers({"name": "acme"}, change("pending", lane(state, "not there"), lane("live")))
    ended = await cli.run(*ADD, "--timeout", "50")
    assert ended.code == 3
    assert f"ns1 zone shop.test {state}: not there" in ended.err


@ensureDeferred
async def test_3_and_how_to_go_on_when_interrupted(cli: Cli) -> None:
    cli.answers({"name": "acme"}, change("pending", lane("stored")))

    def work() -> tuple[int, str]:
        process = cli.start(*ADD)
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert lines[1] == "waiting for ns1\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        return process.returncode, err

    code, err = await deferToThread(work)
    assert (code, err) == (3, "change 7 on test goes on; follow it with: hsctl change watch 7\n")


@ensureDeferred
async def test_5_and_how_to_ask_again_when_interrupted_before_the_answer(cli: Cli) -> None:
    """Not 1: that would say that nothing was written."""

    def work() -> tuple[int, str]:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
            save(
                Profile("deaf", url, cli.site.authority.certificate_pem.decode(), TOKEN),
                path=cli.config,
            )
            process = cli.start("--profile", "deaf", *ADD)
            heard, _ = deaf.accept()
            with heard:
                heard.recv(1)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=30)
            return process.returncode, err

    code, err = await deferToThread(work)
    assert code == 5
    assert "whether it was done is not known" in err
    assert "--idempotency-key" in err


@pytest.mark.parametrize("state", ["failed", "quarantined"])
@ensureDeferred
async def test_4_when_a_box_could_not_apply_it(cli: Cli, state: str) -> None:
    cli.answers({"name": "acme"}, change("failed", lane(state, "named says no"), lane("live")))
    ended = await cli.run(*ADD)
    assert ended.code == 4
    assert ended.err.splitlines()[-1] == (
        f"account acme added, but not live everywhere: ns1 zone shop.test {state}: named says no; "
        "hsctl fault list shows it [change 7 on test]"
    )


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (change("done", lane("live")), 0, ": live on ns1 [change 7 on test]"),
        (change("pending", lane("unknown", "away")), 3, ", but ns1 zone shop.test unknown: away;"),
        (change("failed", lane("failed", "no")), 4, ", but not live everywhere:"),
    ],
)
@ensureDeferred
async def test_a_write_that_is_repeated_ends_as_the_change_by_which_it_is_so(
    cli: Cli, state: dict[str, object], code: int, words: str
) -> None:
    cli.runner.answer = lambda asked: Told(
        state if asked.name == "change.show" else {"name": "acme"}, None, since=7
    )
    ended = await cli.run(*ADD)
    assert ended.code == code
    assert f"nothing changed: it is so already{words}" in ended.err
    assert (await cli.run(*ADD, "--no-wait")).code == 0


@ensureDeferred
async def test_4_or_3_from_change_watch_as_from_the_write(cli: Cli) -> None:
    cli.answers({}, change("failed", lane("failed", "no")))
    assert (await cli.run("change", "watch", "7")).code == 4
    cli.answers({}, change("pending", lane("stored")))
    assert (await cli.run("change", "watch", "7", "--timeout", "0.2")).code == 3


@pytest.mark.parametrize("state", ["held", "unknown"])
@ensureDeferred
async def test_change_watch_goes_on_while_a_lane_is_lost_or_held(cli: Cli, state: str) -> None:
    """A write that was stuck names it as the way to go on: it may not end there at once again."""
    cli.answers({}, change("pending", lane(state, "not there")))
    ended = await cli.run("change", "watch", "7", "--timeout", "0.2")
    assert ended.code == 3
    assert f"not known to be live after 0.2 s (ns1 {state}: not there)" in ended.err

    seen = change("pending", lane(state, "not there"))
    cli.answers({}, seen)

    def work() -> int:
        process = cli.start("change", "watch", "7")
        assert process.stderr is not None
        assert process.stderr.readline() == f"ns1 {state}: not there\n"
        seen.update(change("done", lane("live")))
        process.stderr.close()
        return process.wait(60)

    assert await deferToThread(work) == exit_codes.DONE


@ensureDeferred
async def test_a_program_that_watches_is_told_how_the_change_stands(cli: Cli) -> None:
    for state, code in (("done", 0), ("failed", 4)):
        cli.answers({}, change(state, lane("live" if state == "done" else "failed", "no")))
        ended = await cli.run("change", "watch", "7", "-o", "json")
        assert (ended.code, json.loads(ended.out)["state"]) == (code, state)
        assert (await cli.run("change", "watch", "7")).out == ""


@ensureDeferred
async def test_5_when_nothing_listens(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    ca = cli.site.authority.certificate_pem.decode()
    save(Profile("gone", f"https://127.0.0.1:{port}", ca, TOKEN), path=cli.config)
    for arguments in (ADD, ("account", "list")):
        ended = await cli.run("--profile", "gone", *arguments)
        assert ended.code == 5
        assert ended.err.endswith(
            "nothing listens there; is the controller of profile gone running?\n"
        )


@ensureDeferred
async def test_5_when_nobody_is_signed_in(cli: Cli) -> None:
    cli.environment["HSCTL_CONFIG"] = str(cli.config.parent / "none.toml")
    ended = await cli.run(*ADD)
    assert (ended.code, ended.err) == (
        5,
        "hsctl: not signed in: hsctl login URL, or hsctl local up\n",
    )


@ensureDeferred
async def test_5_when_the_token_is_not_known(cli: Cli) -> None:
    ca = cli.site.authority.certificate_pem.decode()
    url = f"https://127.0.0.1:{cli.site.port}"
    save(Profile("test", url, ca, "hs_" + "x" * 43), path=cli.config)
    ended = await cli.run(*ADD)
    assert ended.code == 5
    assert "not signed in" in ended.err


@ensureDeferred
async def test_5_when_the_controller_is_another_clusters(cli: Cli, tmp_path: object) -> None:
    from pki.authority import Authority

    other = Authority.create(cli.config.parent / "other", "other")
    url = f"https://127.0.0.1:{cli.site.port}"
    save(Profile("test", url, other.certificate_pem.decode(), TOKEN), path=cli.config)
    ended = await cli.run(*ADD)
    assert ended.code == 5
    assert cli.runner.asked == []


@ensureDeferred
async def test_5_when_the_controller_fails(cli: Cli, logged_errors: LoggedErrors) -> None:
    cli.runner.answer = lambda asked: RuntimeError("inner")
    ended = await cli.run(*ADD)
    assert ended.code == 5
    assert "incident" in ended.err
    assert len(logged_errors.flush()) == 1


@ensureDeferred
async def test_a_write_whose_answer_was_lost_is_asked_again_under_one_key(cli: Cli) -> None:
    told = [DatabaseUnavailableError("away"), Told({"name": "acme"})]
    cli.runner.answer = lambda asked: told.pop(0)
    assert (await cli.run(*ADD)).code == 0
    first, second = cli.written
    assert first.idempotency_key == second.idempotency_key is not None


async def into(cli: Cli, streams: str, *arguments: str) -> int:
    """Give the exit code of hsctl whose streams a shell leads elsewhere."""
    line = shlex.join([sys.executable, "-m", "controller.hsctl.main", *arguments])

    def work() -> int:
        return subprocess.run(
            ["/bin/sh", "-c", f"{line} {streams}"],
            env={**os.environ, "HSCTL_CONFIG": str(cli.config)},
            cwd=Path(__file__).parents[4],
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode

    return await deferToThread(work)


@pytest.mark.parametrize(
    "streams", [">/dev/full", ">/dev/full 2>/dev/null", ">&-", "2>&-", ">&- 2>&-"]
)
@pytest.mark.parametrize("state", ["done", "failed"])
@ensureDeferred
async def test_a_change_that_is_made_is_not_called_refused_where_nobody_takes_the_words(
    cli: Cli, streams: str, state: str
) -> None:
    cli.answers({"name": "acme"}, change(state, lane("live" if state == "done" else "failed")))
    code = exit_codes.DONE if state == "done" else exit_codes.NOT_APPLIED
    assert await into(cli, streams, "record", "add", "a.test", "www", "A", "192.0.2.1") == code
    assert await into(cli, streams, *ADD, "-o", "json") == code
    assert await into(cli, streams, "change", "watch", "7") == code


@pytest.mark.parametrize("arguments", [ADD, ("change", "watch", "7")])
@ensureDeferred
async def test_a_reader_that_goes_away_does_not_end_the_wait(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    state = change("pending", lane("stored"))
    cli.answers({"name": "acme"}, state)

    def work() -> int:
        process = cli.start(*arguments)
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        state.update(change("done", lane("live")))
        return process.wait(60)

    assert await deferToThread(work) == exit_codes.DONE


@ensureDeferred
async def test_1_in_one_line_when_an_answer_cannot_be_written_down(cli: Cli) -> None:
    cli.runner.answer = lambda asked: Told({"name": "acme"})
    seen = cli.config.with_name("seen")
    streams = f">/dev/full 2>{shlex.quote(str(seen))}"
    assert await into(cli, streams, "account", "show", "acme") == exit_codes.REFUSED
    words = "hsctl: the answer could not be written: No space left on device"
    assert seen.read_text().splitlines() == [words]
