"""Deciding about a file that is not as it was written; what is shown of it. Pure."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.box.interface import Look
from node_agent.differing import LONGEST_LINE, MOST_LINES, compared, difference
from node_agent.drift import PAGE_BYTES, PAGE_FILES, SHORTEST_PAUSE, finding_of, page_of, pause
from node_agent.records import WrittenFile
from node_agent.wire.messages import LONGEST_PATH, DriftFinding
from node_agent.wire.questions import MOST_DIFFERENCES
from tests.patching import patched

FILE = WrittenFile("a.conf", ("server",), "file aa", 4, 0o644, "agent")
LINK = WrittenFile("vhosts/a.test", ("site:a.test",), "link ../sites/1/htdocs", 0, 0, "agent")
GOOD = Look("file aa", 0o644, "0:0")


def found(look: Look, written: WrittenFile = FILE) -> DriftFinding | None:
    return finding_of(written, look, "0:0")


def test_what_is_as_it_was_written_is_no_drift() -> None:
    assert found(GOOD) is None
    assert found(Look(LINK.looks, 0, "5:5"), LINK) is None, "nobody looks at a link's owner"


@pytest.mark.parametrize(
    ("look", "what"),
    [
        (Look("absent"), "missing"),
        (Look("file bb", 0o644, "0:0"), "changed"),
        (Look("file", 0o644, "0:0"), "changed"),
        (Look("file aa", 0o666, "0:0"), "mode"),
        (Look("file aa", 0o644, "33:33"), "owner"),
        (Look("link /etc/passwd", 0, "0:0"), "kind"),
        (Look("directory", 0o755, "0:0"), "kind"),
        (Look("other"), "kind"),
    ],
)
def test_each_difference_has_its_word(look: Look, what: str) -> None:
    finding = found(look)
    assert finding is not None
    assert (finding.path, finding.what) == ("a.conf", what)


def test_all_differences_are_told_and_the_weightiest_names_the_finding() -> None:
    finding = found(Look("file bb", 0o600, "7:8"))
    assert finding is not None
    assert finding.what == "changed"
    assert finding.words == (
        "its content was changed; its mode is 0600, not 0644; its owner is 7:8, not 0:0"
    )


def test_a_link_that_points_elsewhere_is_told_by_its_target_without_controls() -> None:
    finding = found(Look(f"link ../\x1b[31m{'x' * 5000}", 0, "0:0"), LINK)
    assert finding is not None
    assert finding.what == "changed"
    assert finding.words.isprintable()
    assert len(finding.words) <= LONGEST_PATH + 3


def test_one_look_takes_few_files_and_few_bytes() -> None:
    small = [WrittenFile(str(n), (), "file a", 10, 0, "agent") for n in range(PAGE_FILES + 5)]
    assert len(page_of(small)) == PAGE_FILES
    big = [WrittenFile(str(n), (), "file a", PAGE_BYTES, 0, "agent") for n in range(3)]
    assert len(page_of(big)) == 1
    assert len(page_of([])) == 0


def test_the_rests_of_a_round_add_up_to_its_time_and_are_never_too_short() -> None:
    assert pause(3600.0, 3200, 32, 1.0) * 100 == pytest.approx(3600.0)
    assert pause(60.0, 1_000_000, 32, 1.0) == SHORTEST_PAUSE
    assert pause(3600.0, 0, 1, 1.0) == 3600.0


def lines(there: str, wanted: str) -> str:
    return "\n".join(difference("f", there.encode(), wanted.encode(), "").lines)


def test_the_difference_is_what_a_repair_does() -> None:
    shown = lines("a\nmine\nc\n", "a\nb\nc\n")
    assert "-mine" in shown.splitlines()
    assert "+b" in shown.splitlines()


KEY = "-----BEGIN PRIVATE KEY-----\nTUlJQ2RnSUJB\nT0xEU0VDUkVU\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("there", "secret"),
    [
        ('key x {\n secret "c2VjcmV0LW9uZQ==";\n};\n', "c2VjcmV0"),
        ("key x {\n secret\n c2VjcmV0LW9uZQ==;\n};\n", "c2VjcmV0"),
        ("AuthLDAPBindPassword hunter2\n", "hunter2"),
        ("password = 'hunter2'\n", "hunter2"),
        ("client-secret-value: hunter2\n", "hunter2"),
        ('SetEnv DB_PASSWORD_1 "hunter2"\n', "hunter2"),
        (KEY, "T0xEU0VDUkVU"),
        ("-----BEGIN RSA PRIVATE KEY-----\nT0xEU0VDUkVU\n", "T0xEU0VDUkVU"),
        (f"{'Q' * 64}\n{'T0xEU0VDUkVU' * 5}\n", "T0xEU0VDUkVU"),
    ],
)
def test_no_secret_is_shown_on_either_side(there: str, secret: str) -> None:
    assert secret not in lines(there, "other\n")
    assert secret not in lines("other\n", there)


def test_a_name_that_only_sounds_like_a_secret_is_shown_as_it_is() -> None:
    hosts = "secret.a.test. 3600 IN A 192.0.2.1\nmy-password.a.test. 3600 IN A 192.0.2.2\n"
    assert lines("", hosts).splitlines()[3:] == [f"+{each}" for each in hosts.splitlines()]


def test_a_text_made_to_take_long_is_gone_through_at_once() -> None:
    for text in ("secret" * 40_000, f"secret{' ' * 200_000};", "a" * 250_000):
        begin = time.process_time()
        lines("", text)
        assert time.process_time() - begin < 5


def test_it_is_seen_that_a_secret_was_changed_and_that_it_was_not() -> None:
    one, two = 'secret "b25lb25lb25lb25l";\nx\n', 'secret "dHdvdHdvdHdvdHdv";\nx\n'
    assert lines(one, one) == ""
    assert lines(one, two).count("[secret ") == 2


def test_a_difference_is_of_the_bytes_tabs_and_a_missing_end_included() -> None:
    shown = difference("f", b"a\tb\x0bc\n", b"a\tb\x0bd", "")
    assert shown.lines[3:] == (
        "-a\tb\N{REPLACEMENT CHARACTER}c",
        "+a\tb\N{REPLACEMENT CHARACTER}d",
        "\\ No newline at end of file",
    )
    assert shown.cut, "a line that is not shown as it is"
    ends = difference("f", b"a\n", b"a", "")
    assert ends.lines[3:] == ("-a", "+a", "\\ No newline at end of file")
    assert not ends.cut


@given(*[st.text(st.sampled_from("ab\t\n+-@\\ "), max_size=60)] * 2)
def test_a_difference_applied_to_the_one_text_gives_the_other(there: str, wanted: str) -> None:
    found = compared(there.encode(), wanted.encode(), ("a/f", "b/f"))
    assert patched(there, found.lines) == wanted
    assert not found.cut


def test_what_is_no_text_or_too_large_is_said_so() -> None:
    assert "not text" in difference("f", b"\xff\xfe", b"a", "").words
    assert "not text" in difference("f", b"a\0", b"a", "").words
    assert "too large" in difference("f", b"a" * 300_000, b"a", "changed").words
    assert "too many lines" in difference("f", b"\n" * (MOST_LINES + 1), b"a", "").words


def test_a_long_difference_is_cut_and_its_lines_are_bounded_and_printable() -> None:
    there = "".join(f"\x1b[2J{n}{'x' * 5000}\n" for n in range(MOST_DIFFERENCES + 10))
    shown = difference("f", there[:200_000].encode(), b"", "")
    assert all(line.isprintable() and len(line) <= LONGEST_LINE + 3 for line in shown.lines)
    assert shown.cut
    many = difference("f", "".join(f"{n}\n" for n in range(3000)).encode(), b"", "")
    assert (len(many.lines), many.cut) == (MOST_DIFFERENCES, True)
