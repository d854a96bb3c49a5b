"""What is decided of a box before and after logging in to it: no network, no clock."""

import attrs
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controller.bootstrap.job import SshFailedError, SshJob
from controller.bootstrap.procedure import Ended, Looked, judge_look, shown
from controller.bootstrap.ssh import SshLogin, _Authentication

JOB = SshJob(
    id=1,
    box="b",
    box_name="web9",
    login="root",
    host="192.0.2.1",
    port=22,
    host_key="SHA256:x",
    anew=False,
    install="true",
    enrolment_endpoint="192.0.2.9:8445",
    token="token",
    password="password",
)


def answer(of: "Deferred[list[str]]") -> list[str] | None:
    found: list[list[str]] = []
    of.addCallbacks(found.append, lambda _: None)
    return found[0] if found else None


def test_a14_the_password_is_given_once() -> None:
    login = SshLogin(reactor, JOB)
    assert login.take_password() == "password"
    assert login.take_password() is None
    assert login.password_given


def test_a_hidden_question_is_answered_with_the_password_once() -> None:
    asking = _Authentication(SshLogin(reactor, JOB))
    assert answer(asking.getGenericAnswers(b"", b"", [])) == []
    assert answer(asking.getGenericAnswers(b"", b"", [(b"Password: ", False)])) == ["password"]
    assert answer(asking.getGenericAnswers(b"", b"", [(b"Password: ", False)])) is None
    assert asking.auth_keyboard_interactive() is False


@pytest.mark.parametrize(
    "prompts",
    [[(b"User: ", True)], [(b"Password: ", False), (b"Code: ", False)], [(b"Password: ", True)]],
)
def test_a_question_that_is_not_for_the_password_alone_gets_none(
    prompts: list[tuple[bytes, bool]],
) -> None:
    asking = _Authentication(SshLogin(reactor, JOB))
    assert answer(asking.getGenericAnswers(b"", b"", prompts)) is None


def test_a_job_shows_neither_password_nor_token() -> None:
    assert "password" not in repr(JOB).replace("password=", "")
    assert "'token'" not in repr(JOB)


def looked(*lines: str, status: int | None = 0) -> Ended:
    return Ended(status, "\n".join(lines))


def test_a_new_box_is_to_be_installed() -> None:
    assert judge_look(looked("0", "Linux", "none", "new"), JOB) == Looked(False, False)


def test_what_a_login_prints_before_is_no_matter() -> None:
    ended = looked("Welcome!", "0", "Linux", "program", "new")
    assert judge_look(ended, JOB) == Looked(True, False)


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (looked("1000", "Linux", "none", "new"), "not-root"),
        (looked("0", "FreeBSD", "none", "new"), "not-linux"),
        (looked("0", "Linux", "program", "enrolled"), "already-enrolled"),
        (looked("no shell here", status=1), "not-linux"),
        (looked(status=None), "not-linux"),
    ],
)
def test_a_box_that_cannot_be_enrolled_says_why(ended: Ended, reason: str) -> None:
    with pytest.raises(SshFailedError) as caught:
        judge_look(ended, JOB)
    assert caught.value.reason == reason


def test_an_enrolled_box_is_taken_where_that_was_said() -> None:
    ended = looked("0", "Linux", "program", "enrolled")
    assert judge_look(ended, attrs.evolve(JOB, anew=True)) == Looked(True, True)


def test_what_a_box_says_is_bounded_and_steers_no_terminal() -> None:
    assert len(shown("x" * 5000)) < 500
    assert "\x1b" not in shown("\x1b[31m")
