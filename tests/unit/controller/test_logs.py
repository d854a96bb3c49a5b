"""The log: one line for each event, which no text from outside can imitate (S8)."""

from pathlib import Path

from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from controller.logs import LineObserver, line


def event(format: str, **more: object) -> dict[str, object]:
    return {
        "log_time": 0.0,
        "log_level": LogLevel.info,
        "log_namespace": "here",
        "log_format": format,
        **more,
    }


def test_an_event_is_one_line() -> None:
    text = line(event("change {change}", change=7))
    assert text == "1970-01-01T00:00:00.000+00:00 info here change 7\n"


def test_a_line_from_outside_stays_inside_its_line() -> None:
    text = line(event("{words}", words="a\n1970-01-01 info here change 8: \x1b[2J\u202e"))
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "a\\n1970" in text


def test_a_traceback_is_indented_below_its_event() -> None:
    try:
        raise ValueError("first\n1970-01-01 info forged")
    except ValueError:
        text = line(event("failed", log_failure=Failure()))
    first, *rest = text.splitlines()
    assert first.endswith("here failed")
    assert rest
    assert all(part.startswith("    ") for part in rest)


def test_a_file_rotates_and_keeps_so_many(tmp_path: Path) -> None:
    file = LogFile("c.log", str(tmp_path), rotateLength=200, maxRotatedFiles=2, defaultMode=0o600)
    observer = LineObserver(file)
    for number in range(50):
        observer(event("change {change}", change=number))
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c.log", "c.log.1", "c.log.2"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
