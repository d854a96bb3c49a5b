"""Whose a line of a file on a box is: the object, the change, who and when (``pserver.why``).

A question, asked by a form that changes nothing. What is not ours is an answer to it as well, said
at its field: the page is there, whatever the file.
"""

from pathlib import PurePosixPath

from controller.refusal import CommandError
from controller.web.panel.answers import Page, local
from controller.web.panel.menu import P_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, Refusal, Visit
from controller.web.problems import ProblemError

LANES = PurePosixPath("/var/lib/heliosphere/agent/lservers")
"""Where an installed agent has the folders of its logical servers, named by their ids."""
_FIELDS = ("file", "line")
_NOT_OURS = "why.not-ours"


def written_by(box: str, server_id: str, path: str) -> str:
    """Give the page that tells which change wrote a file, by its path as drift names it."""
    return local("boxes", "box", box, "files", file=str(LANES / server_id / path))


async def ask(visit: Visit, name: str) -> Page:
    """Show the form, and the answer where a file was asked for."""
    box = await visit.ask("pserver.show", name=name)
    form = Form.of(*_FIELDS, **{field: visit.query.get(field, "") for field in _FIELDS})
    answer = None
    if form.text("file"):
        try:
            answer = await visit.ask(
                "pserver.why",
                name=box["name"],
                file=form.text("file"),
                line=form.text("line") or "0",
            )
        except (CommandError, ProblemError) as error:
            form = form.refused(_at_its_field(error), *_FIELDS)
    values = {
        "name": box["name"],
        "tab": "files",
        "servers": box["logical_servers"],
        "lanes": str(LANES),
        "form": form,
        "why": answer,
    }
    status = form.refusal.status if form.refusal else 200
    return Page("box-files", box["name"], "boxes", values, crumbs=(P_SERVERS,), status=status)


def _at_its_field(error: CommandError | ProblemError) -> Refusal:
    """Give the refusal of what was typed; raises any other."""
    if isinstance(error, ProblemError):
        told = error.problem
        words = "this is not the number of a line" if told.field == "line" else told.detail
        allowed = "1 and more, or nothing" if told.field == "line" else told.allowed
        refusal = Refusal(words, told.field, allowed, told.status)
    else:
        status = 200 if error.id == _NOT_OURS else error.status
        refusal = Refusal(error.message, error.field, error.allowed, status)
    if refusal.field not in _FIELDS:
        raise error
    return refusal


ROUTES = (Route("GET", "/boxes/box/{}/files", ask),)
