"""Enrolling a box: a new line to run there, or all of it over SSH, step by step (A14, M4)."""

from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import P_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_FIELDS = ("ssh", "port", "password", "host_key", "anew")


async def show(visit: Visit, name: str) -> Page:
    """Show how far the last enrolment over SSH is, and the form that begins one.

    A host key that was confirmed is the one that the box showed last, never one from the address
    of the page.
    """
    box = await visit.ask("pserver.show", name=name)
    run = await visit.ask("pserver.enrolment", name=name)
    known = run if run["state"] == "failed" else {}
    host_key = known.get("host_key", "") if visit.query.get("confirmed") == "1" else ""
    login = f"{known['login']}@{known['host']}" if known else f"root@{box['ip']}"
    form = Form.of(*_FIELDS, ssh=login, port=str(known.get("port", 22)), host_key=host_key)
    return _page(box, run, form)


async def begin(visit: Visit, name: str) -> Answer:
    """Begin an enrolment over SSH. The password is taken as it was typed, and never shown again."""
    form = visit.form
    try:
        await visit.write(
            "pserver.enroll",
            name=name,
            ssh=form.text("ssh") or "-",
            port=form.text("port"),
            password="".join(form.texts_of("password")[:1]),
            host_key=form.text("host_key"),
            anew="true" if form.text("anew") == "yes" else "false",
        )
    except RefusedError as error:
        box = await visit.ask("pserver.show", name=name)
        run = await visit.ask("pserver.enrolment", name=name)
        return _page(box, run, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("boxes", "box", name, "ssh"))


def _page(box: dict[str, Any], run: dict[str, Any], form: Form) -> Page:
    up = (P_SERVERS, (box["name"], local("boxes", "box", box["name"])))
    values = {"box": box, "run": run, "form": form}
    status = form.refusal.status if form.refusal else 200
    return Page("box-ssh", "Enrol over SSH", "boxes", values, up, hears=("box",), status=status)


ROUTES = (
    Route("GET", "/boxes/box/{}/ssh", show),
    Route("POST", "/boxes/box/{}/ssh", begin),
)
