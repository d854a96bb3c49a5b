"""What a change would do to the boxes, printed as git prints a diff."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.hsctl.terminal import mark, paint, write
from controller.printable import clean

_COLOURS = {"-": "red", "+": "green", "@": "cyan"}
_ACTIONS = {"create": "new", "change": "changed", "remove": "removed"}

Answer = Mapping[str, Any]


def print_differences(lanes: Sequence[Answer]) -> None:
    """Print what each logical server would come to; what is not known is said."""
    if not lanes:
        write("no object of a box changes: there are no differences")
    for lane in lanes:
        where = clean(f"{lane['logical_server']} on {lane['box']}")
        write(f"\n{paint(where, bold=True)}")
        for words in lane["words"]:
            write(f"{mark('moving' if lane['known'] else 'stuck')} {clean(words)}")
        if lane["known"]:
            _print_lane(lane)


def _print_lane(lane: Answer) -> None:
    for refused in lane["refused"]:
        thing = f"{refused['kind']} {refused['key']}".strip()
        write(paint(clean(f"{thing} would be {refused['outcome']}: {refused['words']}"), "red"))
    for file in lane["files"]:
        _print_file(file)
    if not lane["files"] and not lane["refused"]:
        write("no file changes")
    if lane["effects"]:
        write(paint("in this order:", bold=True))
    for number, words in enumerate(lane["effects"], 1):
        write(f"{number:3}. {clean(words)}")
    if lane["cut"]:
        write("... and more, which the box did not tell")


def _print_file(file: Answer) -> None:
    path = clean(file["path"])
    write(paint(f"diff --git a/{path} b/{path}", bold=True))
    kind = f"{_ACTIONS.get(file['action'], file['action'])} {file['kind']}"
    write(paint(clean(": ".join(filter(None, (kind, file["words"])))), bold=True))
    for number, line in enumerate(file["lines"]):
        shown = "\t".join(clean(part) for part in str(line).split("\t"))
        heading = number < len(("---", "+++"))
        write(paint(shown, None if heading else _COLOURS.get(shown[:1]), bold=heading))
    if file["cut"]:
        write("... and more, which is not shown")
