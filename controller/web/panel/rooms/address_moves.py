"""Renumbering a logical server: asked for, looked at first, watched, given up (R357)."""

from collections.abc import Mapping
from typing import Any

import attrs

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_FIELDS = ("new", "mask", "keep_hours")
_MOST = 50
_STEPS = (
    ("listening", "The server answers on both addresses"),
    ("announced", "The other name servers know both"),
    ("switched", "The new address is the server's own"),
    ("following", "Zones name the new address"),
    ("outlasting", "The old address runs out"),
    ("retiring", "The server answers on the new address alone"),
)
_COUNTED = frozenset({"announced", "following"})


def steps(move: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the phases of a move as steps: done, now, or later. Pure."""
    order = ["begun", *(phase for phase, _ in _STEPS), "ended"]
    at = order.index(move["phase"])
    return [
        {
            "words": words,
            "counted": phase in _COUNTED,
            "state": "done"
            if order.index(phase) < at
            else ("now" if move["phase"] == phase else "later"),
        }
        for phase, words in _STEPS
        if phase != "announced" or move["type"] == "service"
    ]


async def ask(visit: Visit, server: str) -> Page:
    """Ask for the new address."""
    ip, port = visit.query.get("ip", ""), visit.query.get("port", "")
    return await _page(visit, ip, port, Form.of(*_FIELDS))


async def begin(visit: Visit, server: str) -> Answer:
    """Show what the move would do; begin it once that was seen."""
    form = visit.form
    ip, port = form.text("ip"), form.text("port")
    seen = form.text("seen") == form.text("new") != ""
    try:
        run = visit.write if seen else visit.look
        done = await run(
            "ip.move",
            ip=ip,
            port=port or None,
            new=form.text("new"),
            mask=form.text("mask"),
            keep_hours=form.text("keep_hours") or "0",
        )
    except RefusedError as error:
        refusal = error.refusal
        if refusal.field == "first":
            refusal = attrs.evolve(refusal, field="new")
        return await _page(visit, ip, port, form.refused(refusal, *_FIELDS))
    if not seen:
        return await _page(visit, ip, port, form, plan=done.result)
    return Redirect(local("servers", "moves", str(done.result["move"])))


async def _page(
    visit: Visit, ip: str, port: str, form: Form, plan: Mapping[str, Any] | None = None
) -> Page:
    address = await visit.ask("ip.show", ip=ip, port=port or None)
    name = address["logical_server"]
    return Page(
        "address-move",
        f"Move {address['ip']}",
        "servers",
        {"address": address, "form": form, "plan": plan},
        crumbs=(L_SERVERS, (name, local("servers", "server", name))),
        status=form.refusal.status if form.refusal else 200,
    )


async def show_all(visit: Visit) -> Page:
    """List moves, the newest first."""
    found = await visit.ask("ip.moves", limit=str(_MOST), cursor=visit.query.get("cursor"))
    return Page(
        "address-moves",
        "Moves of addresses",
        "servers",
        {"moves": found["items"], "next": found["next"]},
        crumbs=(L_SERVERS,),
        hears=("change",),
    )


async def show(visit: Visit, number: str) -> Page:
    """Show how far a move is."""
    return await _move_page(visit, number, Form.of())


async def stop(visit: Visit, number: str) -> Answer:
    """Give a move up that has not switched."""
    try:
        await visit.write("ip.stop", id=number)
    except RefusedError as error:
        return await _move_page(visit, number, visit.form.refused(error.refusal))
    return Redirect(local("servers", "moves", number))


async def _move_page(visit: Visit, number: str, form: Form) -> Page:
    move = await visit.ask("ip.progress", id=number)
    name = move["logical_server"]
    return Page(
        "address-moving",
        f"{move['old']} becomes {move['new']}",
        "servers",
        {"move": move, "steps": steps(move), "form": form},
        crumbs=(
            L_SERVERS,
            (name, local("servers", "server", name)),
            ("Moves", local("servers", "moves")),
        ),
        hears=("change",),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/servers/server/{}/addresses/move", ask),
    Route("POST", "/servers/server/{}/addresses/move", begin),
    Route("GET", "/servers/moves", show_all),
    Route("GET", "/servers/moves/{}", show),
    Route("POST", "/servers/moves/{}/stop", stop),
)
