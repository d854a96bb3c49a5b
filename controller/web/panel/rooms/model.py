"""The model as a file: taking it out, and looking at what an import would do before it is done."""

from collections.abc import Mapping
from typing import Any

from controller.cluster.model import file as model_file
from controller.web.panel.answers import Answer, Download, Page
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, Refusal, RefusedError, Visit

_UP = (L_SERVERS,)
_FIELDS = ("model",)


async def show(visit: Visit) -> Page:
    """Show the form that takes a file."""
    return _page(Form.of(*_FIELDS))


async def export(visit: Visit) -> Download:
    """Give the model as a file."""
    return Download("cluster.toml", model_file.written(await visit.ask("model.export")))


async def import_(visit: Visit) -> Answer:
    """Preview an import; with ``import`` pressed, do it."""
    form = visit.form
    look = not form.text("import")
    try:
        given = form.texts_of("model")
        model = model_file.parsed(given[0].replace("\r\n", "\n") if given else "")
    except ValueError as error:
        refusal = Refusal(str(error), "model", "a model as this page gives it", 422)
        return _page(form.refused(refusal, *_FIELDS))
    prune = "true" if form.text("prune") else "false"
    try:
        run = visit.look if look else visit.write
        done = await run("model.import", model=model, prune=prune)
    except RefusedError as error:
        refused = error.refusal
        at_fault = Refusal(refused.message, "model", refused.allowed, refused.status)
        return _page(form.refused(at_fault, *_FIELDS))
    return _page(
        form,
        {
            **done.result,
            "done": not look,
            "change": done.change_id,
            "words": done.plan.words if look else (),
        },
    )


def _page(form: Form, told: Mapping[str, Any] | None = None) -> Page:
    return Page(
        "model",
        "The model as a file",
        "servers",
        {"form": form, "told": told},
        crumbs=_UP,
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/model", show),
    Route("GET", "/model/export", export),
    Route("POST", "/model/import", import_),
)
