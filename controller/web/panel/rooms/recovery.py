"""Which side is right, where boxes know more than the database (design of *ahead*)."""

from collections.abc import Mapping
from typing import Any

from controller.fleet.repair import WOULD_REMOVE
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_FIELDS = ("mode", "removed")


def undecided(server: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the lanes of boxes that are there, of which it is yet to be said which side is right."""
    return [
        lane
        for lane in server["lanes"]
        if lane["connected"]
        and (
            lane["condition"] == "ahead"
            or (lane["condition"] == "held" and lane["message"].startswith(WOULD_REMOVE))
        )
    ]


def adopted(server: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the lanes whose side was taken, which an overwrite takes along."""
    return [lane for lane in server["lanes"] if lane["adopted"] and lane["connected"]]


async def ask(visit: Visit, server: str) -> Page:
    """Ask which side is right."""
    return await _page(visit, server, Form.of(*_FIELDS))


async def choose(visit: Visit, server: str) -> Answer:
    """Go on as it was chosen."""
    form = visit.form
    try:
        done = await visit.write(
            "lserver.recover",
            name=server,
            mode=form.text("mode"),
            removed=form.text("removed") or None,
        )
    except RefusedError as error:
        return await _page(visit, server, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("servers", "server", server, change=done.change_id))


async def _page(visit: Visit, server: str, form: Form) -> Page:
    shown = await visit.ask("lserver.show", name=server)
    asked, kept = undecided(shown), adopted(shown)
    choice = any(lane["condition"] == "ahead" for lane in asked)
    if choice:
        title = "Which side is right for {}?"
    elif asked:
        title = "How many objects may go from {}?"
    else:
        title = "Overwrite what was adopted on {}?" if kept else "Nothing to decide for {}"
    return Page(
        "server-recover",
        title.format(shown["name"]),
        "servers",
        {"server": shown, "form": form, "undecided": asked, "adopted": kept, "choice": choice},
        crumbs=(L_SERVERS, (shown["name"], local("servers", "server", shown["name"]))),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/servers/server/{}/recovery", ask),
    Route("POST", "/servers/server/{}/recovery", choose),
)
