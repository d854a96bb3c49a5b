"""What a preview carries along, and what it leaves out."""

from typing import Any

import attrs

from controller.change_plan import ChangePlan, PlannedObject
from controller.changes import secret_field
from controller.commands import Command
from controller.web.panel.answers import Page
from controller.web.panel.previews import preview_page
from controller.web.panel.visits import Form, PreviewedError


@attrs.frozen
class Request:
    """A request with something to hide."""

    name: str
    key: str = secret_field(default="")


@attrs.frozen
class Told:
    """The dry run of a command."""

    result: Any
    plan: ChangePlan
    change_id: int | None = None


async def nothing(work: Any, request: Request) -> None:
    """Do nothing."""


def page(
    texts: dict[str, list[str]], *, zones: int = 0, warnings: tuple[str, ...] = (), key: str = ""
) -> Page:
    plan = ChangePlan(
        tuple(PlannedObject("add", "zone", f"z{number}", "ns1", ()) for number in range(zones)),
        (),
        {},
    )
    command: Command[Any] = Command(
        "domain.add", "POST", "/domains", Request, "provider.write", "Add", nothing
    )
    told = PreviewedError(command, Request("a", key), Told({"warnings": warnings}, plan))
    return preview_page(told, Form(texts), "/domains/add", "/domains")


def test_the_fields_of_the_form_are_carried_in_their_order_and_none_of_the_panels_own() -> None:
    texts = {"csrf": ["x"], "name": ["a", "b"], "preview": ["1"], "again": ["1"], "once": ["o"]}
    assert page(texts).values["fields"] == [
        ("name", "a"),
        ("name", "b"),
        ("once", "o"),
        ("from", "/domains"),
    ]


def test_what_is_secret_is_never_carried_and_the_way_on_is_closed() -> None:
    found = page({"name": ["a"], "key": ["hidden"]}, key="hidden")
    assert "hidden" not in repr(found.values)
    assert found.values["complete"] is False
    assert page({"name": ["a"], "key": [""]}).values["complete"] is True


def test_warnings_that_were_shown_are_said_to_be() -> None:
    found = page({"confirmed": ["an older one."]}, warnings=("it is so", "and so"))
    assert ("confirmed", "it is so. and so.") in found.values["fields"]
    assert found.values["warnings"] == ["it is so", "and so"]
    assert [name for name, _ in page({"confirmed": ["x"]}).values["fields"]] == ["from"]


def test_a_long_list_of_objects_is_cut_and_the_rest_counted() -> None:
    assert len(page({}, zones=231).values["objects"]) == 20
    assert page({}, zones=231).values["left_out"] == 211
    assert page({}, zones=20).values["left_out"] == 0
