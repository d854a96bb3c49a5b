"""Texts that no form is meant for: each is refused at its field, and nothing else happens."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.form_walk import SeenForm, SeenPage
from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PanelSite, Visitor, panel_site

WRITTEN = ("text", "textarea", "password")
"""Kinds of controls that people write texts in."""


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def forms(visitor: Visitor) -> dict[str, SeenForm]:
    """Give the forms of all pages by where they are sent."""
    return {
        form.action: form
        for text in (await visitor.crawl()).values()
        for form in SeenPage(text).forms
        if any(control.name == "csrf" for control in form.controls)
    }


def marked(page: str) -> set[str]:
    """Give the names of the fields that a page marks as wrong."""
    fields = re.findall(r"<(?:input|textarea)\b[^>]*>", page)
    names = [re.search(r'\bname="([^"]*)"', field) for field in fields if "is-invalid" in field]
    return {name[1] for name in names if name}


@ensureDeferred
async def test_a_nul_in_a_text_is_refused_and_marked_at_its_field(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    tried = set()
    before = await panel.model.footprint()
    for action, form in (await forms(visitor)).items():
        sent = form.filled({})
        assert sent is not None
        for control in form.controls:
            if control.kind not in WRITTEN:
                continue
            chosen = {"policy": "weighted"} if control.name == "weights" else {}
            fields = {**sent, **chosen, control.name: f"{control.value}\0"}
            reply = await visitor.send(action, fields)
            assert reply.status == 422, (action, control.name)
            assert marked(unescape(reply.body.decode())) >= {control.name}, (action, control.name)
            tried.add((action, control.name))
    assert await panel.model.footprint() == before
    assert len(tried) > 50


@ensureDeferred
async def test_a_nul_in_a_name_signs_nobody_in(panel: PanelSite) -> None:
    visitor = panel.visitor()
    await visitor.get("/sign-in")
    for fields in ({"name": f"{NAME}\0"}, {"password": f"{PASSWORD}\0"}):
        reply = await visitor.send("/sign-in", {"name": NAME, "password": PASSWORD, **fields})
        assert (reply.status, "Wrong name or password" in reply.body.decode()) == (403, True)


@ensureDeferred
async def test_a_nul_in_what_nobody_writes_breaks_nothing(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    for action, form in (await forms(visitor)).items():
        sent = form.filled({})
        assert sent is not None
        for control in form.controls:
            if control.kind not in WRITTEN and control.name != "csrf":
                fields = {**sent, control.name: f"{control.value}\0", "preview": "1"}
                assert (await visitor.send(action, fields)).status < 500, (action, control.name)
    assert (await visitor.get("/boxes?filter=%00")).status == 400
