"""``hsctl status``: the cluster at a glance."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from controller.hsctl.terminal import mark, paint, print_json, write
from controller.hsctl.verbs import Output, output_option, session
from controller.hsctl.views import duration, lane_words, place
from controller.printable import clean

WIDTH = 100
"""Columns that the picture fits, whatever the names are."""

Answer = Mapping[str, Any]


def status(output: Output) -> None:
    """Show the cluster: boxes with intent and condition, what runs on them, faults, counts.

    \b
    hsctl status
    hsctl status -o json
    """
    current = session()
    answer = current.client.read("status.show", {})
    if output == "json":
        print_json(answer)
        return
    cluster = f"{current.profile.name}, {current.profile.url}"
    for line in picture(answer, cluster, datetime.now(UTC)):
        write(line)


setattr(status, "__hsctl_command__", "status.show")  # noqa: B010 (what the decorators leave)
status = click.command()(output_option(status))


def picture(answer: Answer, cluster: str, now: datetime) -> Iterator[str]:
    """Draw the cluster in lines of at most `WIDTH` columns, painted."""
    yield paint(_cut(f"{clean(str(answer['service_domain']))}  ({cluster})", WIDTH), bold=True)
    yield _counts(answer["counts"])
    yield ""
    boxes: Sequence[Answer] = answer["boxes"]
    if not boxes:
        yield "No boxes yet: hsctl pserver add NAME --ip A --mask M --groups web,dns"
    by_box: dict[str, list[Answer]] = {}
    for lane in answer["lanes"]:
        by_box.setdefault(lane["box"], []).append(lane)
    name_width = min(24, max((len(clean(str(box["name"]))) for box in boxes), default=0))
    for box in boxes:
        yield _box_line(box, name_width, now)
        for lane in by_box.get(box["name"], ()):
            yield from _lane_lines(lane)
    left = int(answer["counts"]["boxes"]) - len(boxes)
    if left > 0:
        yield f"... and {left} more: hsctl pserver list"
    yield ""
    yield _sum(answer)


def _counts(counts: Answer) -> str:
    words = (
        ("boxes", "box", "boxes"),
        ("logical_servers", "logical server", "logical servers"),
        ("accounts", "account", "accounts"),
        ("domains", "domain", "domains"),
    )
    return ", ".join(
        f"{counts[name]} {one if counts[name] == 1 else many}" for name, one, many in words
    )


def _box_line(box: Answer, name_width: int, now: datetime) -> str:
    good = box["condition"] == "connected"
    # R248: the exclamation mark stands for a box that never connected, and for nothing else.
    if box["never_connected"]:
        sign, colour = "!", "red"
    else:
        sign = mark("good" if good else "moving" if box["condition"] == "behind" else "bad")
        colour = "green" if good else "yellow" if box["condition"] == "behind" else "red"
    intent = "" if box["intent"] == "open" else f" ({clean(str(box['intent']))})"
    words = ", ".join(clean(str(word)) for word in box["conditions"]) or "lost"
    seen = "" if box["connected"] else _last_seen(box["last_seen_at"], now)
    plain = (
        f"{_cut(clean(str(box['name'])), name_width):{name_width}}  {clean(str(box['ip'])):15}  "
    )
    told = _cut(f"{words}{intent}{seen}", WIDTH - len(plain) - 2)
    return f"{paint(sign, colour)} {paint(plain, bold=True)}{paint(told, colour)}"


def _last_seen(at: str | None, now: datetime) -> str:
    if at is None:
        return ""
    return f", last seen {duration((now - datetime.fromisoformat(at)).total_seconds())} ago"


def _lane_lines(lane: Answer) -> Iterator[str]:
    words = lane_words(
        lane["connected"],
        lane["condition"],
        lane["settled_revision"],
        lane["revision"],
        lane.get("faults", 0),
    )
    good = words in ("up to date", "modelled")
    where = "no address yet" if lane["address"] is None else place(lane["address"], lane["port"])
    plain = (
        f"    {_cut(clean(str(lane['logical_server'])), 36):36}  {clean(str(lane['type'])):8}  "
        f"{_cut(where, 22):22}  "
    )
    yield plain + paint(_cut(words, WIDTH - len(plain)), None if good else "yellow")
    if lane["message"]:
        yield paint(_cut(f"      {clean(str(lane['message']))}", WIDTH), "red")


def _sum(answer: Answer) -> str:
    faults = int(answer["counts"]["faults"])
    trouble = int(answer["counts"]["boxes_in_trouble"])
    if faults:
        many = "fault" if faults == 1 else "faults"
        return f"{paint(f'{faults} {many}', 'red', bold=True)}: hsctl fault list"
    if trouble:
        many = "box needs" if trouble == 1 else "boxes need"
        return paint(f"No object is at fault, but {trouble} {many} a look.", "yellow")
    return paint("No faults; every box is connected and up to date.", "green")


def _cut(text: str, width: int) -> str:
    """Cut what is longer than ``width``, and show that it was."""
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."
