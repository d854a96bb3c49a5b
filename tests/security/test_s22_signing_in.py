"""S22: no way around the password, and no telling who exists.

Cases: Froxlor CVE-2023-1307; Hestia #5203; Salt CVE-2022-22967 (a locked account signs in).
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.storage.database import Transaction
from controller.storage.people import disable_operator
from controller.storage.sign_in import PER_PAIR
from tests.integration.model import OPERATOR, Model
from tests.panel_site import NAME, PASSWORD, PanelSite, panel_site

_VARYING = re.compile(rb'value="[^"]*"')


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_an_unknown_name_and_a_wrong_password_are_answered_alike(panel: PanelSite) -> None:
    await panel.operator("locked")
    await shut_out(panel, "locked")
    answers = set()
    for name in (NAME, "nobody", "locked", "Not A Name", ""):
        reply = await panel.visitor().sign_in("wrong wrong wrong", name)
        answers.add((reply.status, _VARYING.sub(b"", reply.body).replace(b" autofocus", b"")))
    assert len(answers) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": NAME, "password": ""},
        {"name": NAME},
        {"name": NAME, "password[]": PASSWORD},
        {"name": NAME, "password": [PASSWORD, PASSWORD]},
        {"name": NAME, "password": PASSWORD[:-1]},
        {"name": NAME, "password": PASSWORD.upper()},
        {"name": NAME, "password": "0"},
        {"name": NAME, "password": "true"},
        {"name": f"{NAME}' OR '1'='1", "password": PASSWORD},
    ],
)
@ensureDeferred
async def test_nothing_but_the_password_lets_in(
    panel: PanelSite, fields: dict[str, str | list[str]]
) -> None:
    visitor = panel.visitor()
    await visitor.get("/sign-in")
    reply = await visitor.send("/sign-in", fields)
    assert reply.status == 403
    assert (await visitor.get("/")).status == 303


@ensureDeferred
async def test_a_disabled_operator_is_out_at_once_and_stays_out(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    await shut_out(panel, NAME)
    assert (await visitor.get("/boxes")).status == 303
    assert (await panel.visitor().sign_in()).status == 403


@ensureDeferred
async def test_guessing_is_slowed_down_and_told_honestly(panel: PanelSite) -> None:
    visitor = panel.visitor()
    for _ in range(PER_PAIR):
        assert (await visitor.sign_in("wrong wrong wrong")).status == 403
    for headers in ({}, {"X-Forwarded-For": "203.0.113.9"}, {"X-Real-IP": "203.0.113.10"}):
        await visitor.get("/sign-in")
        reply = await visitor.send("/sign-in", {"name": NAME, "password": PASSWORD}, headers)
        assert reply.status == 429
        assert int(reply.headers["Retry-After"]) > 0
        assert re.search(rb"Try again in \d+ minutes?\.", reply.body)


@ensureDeferred
async def test_a_session_ends_when_its_time_is_up(panel: PanelSite) -> None:
    for column in ("expires_at = now() - interval '1 s'", "seen_at = now() - interval '2 h'"):
        visitor = await panel.signed_in()
        assert (await visitor.get("/boxes")).status == 200
        await panel.model.write(f"UPDATE web_session SET {column}")
        assert (await visitor.get("/boxes")).status == 303


@ensureDeferred
async def test_an_open_page_does_not_keep_a_session_alive(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    await panel.model.write("UPDATE web_session SET seen_at = now() - interval '50 min'")
    await visitor.get("/boxes", {"Panel-Live": "1"})
    ((minutes,),) = await panel.model.rows(
        "SELECT max(extract(epoch FROM now() - seen_at) / 60)::int FROM web_session"
        " WHERE operator_id IS NOT NULL"
    )
    assert minutes >= 50
    await visitor.get("/boxes")
    ((minutes,),) = await panel.model.rows(
        "SELECT max(extract(epoch FROM now() - seen_at) / 60)::int FROM web_session"
        " WHERE operator_id IS NOT NULL"
    )
    assert minutes < 50


async def shut_out(panel: PanelSite, name: str) -> None:
    async def disable(tx: Transaction) -> None:
        await disable_operator(tx, name)

    await panel.model.database.transaction(OPERATOR, disable, name="test")
