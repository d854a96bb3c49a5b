"""Another name for a logical server: asked for, looked at first (R264)."""

from collections.abc import Mapping
from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit


async def ask(visit: Visit, server: str) -> Page:
    """Ask for the new name."""
    return await _page(visit, server, Form.of("to"))


async def rename(visit: Visit, server: str) -> Answer:
    """Show what the new name would change; give it once that was seen."""
    form = visit.form
    seen = form.text("seen") == form.text("to") != ""
    try:
        run = visit.write if seen else visit.look
        done = await run("lserver.rename", name=server, to=form.text("to"))
    except RefusedError as error:
        return await _page(visit, server, form.refused(error.refusal, "to"))
    if not seen:
        return await _page(visit, server, form, plan=done.result)
    return Redirect(local("servers", "server", done.result["name"], change=done.change_id))


async def _page(
    visit: Visit, server: str, form: Form, plan: Mapping[str, Any] | None = None
) -> Page:
    name = (await visit.ask("lserver.show", name=server))["name"]
    return Page(
        "server-rename",
        f"Rename {name}",
        "servers",
        {"name": name, "form": form, "plan": plan},
        crumbs=(L_SERVERS, (name, local("servers", "server", name))),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/servers/server/{}/rename", ask),
    Route("POST", "/servers/server/{}/rename", rename),
)
