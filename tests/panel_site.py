"""The panel on a real site: real TLS and HTTP, real PostgreSQL, the real commands, no boxes."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import attrs
from argon2 import PasswordHasher
from twisted.internet import reactor

from controller.fleet.events import Event, publish
from controller.storage.database import Transaction
from controller.storage.passwords import Passwords
from controller.storage.people import create_operator
from controller.storage.sign_in import SignIn
from controller.web.events import EventBus
from controller.web.panel.doorkeeper import COOKIE, Doorkeeper
from controller.web.panel.panel import Panel
from tests.integration.model import OPERATOR, Model
from tests.web_site import Reply, Site, running_site

NAME = "ada"
PASSWORD = "correct horse battery"
PAYLOAD = (
    '"\'><img src=x onerror="window.pwned=1;alert(1)"><script>window.pwned=1</script>'
    "<svg onload=alert(2)>{{7*7}}"
)
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
_LINK = re.compile(r'href="(/[^"]*)"')


@attrs.define
class Visitor:
    """A browser without scripts: keeps its cookie and sends forms as pages gave them."""

    site: Site
    cookie: str = ""
    csrf: str = ""

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.site.port}"

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        reply = await self.site.ask(
            "GET", path, token=None, headers={**self._cookie(), **(headers or {})}
        )
        self._keep(reply)
        return reply

    async def text(self, path: str, headers: Mapping[str, str] | None = None) -> str:
        reply = await self.get(path, headers)
        assert reply.status == 200, (path, reply.status, reply.body.decode())
        return reply.body.decode()

    async def send(
        self,
        path: str,
        fields: Mapping[str, str | list[str]] | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        form = {"csrf": self.csrf, **(fields or {})}
        sent: dict[str, str | None] = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": self.origin,
            **self._cookie(),
            **(headers or {}),
        }
        reply = await self.site.ask(
            "POST",
            path,
            urlencode(form, doseq=True).encode(),
            token=None,
            headers={name: value for name, value in sent.items() if value is not None},
        )
        self._keep(reply)
        return reply

    async def sign_in(self, password: str = PASSWORD, name: str = NAME) -> Reply:
        await self.get("/sign-in")
        reply = await self.send("/sign-in", {"name": name, "password": password})
        if reply.status == 303:
            await self.get("/boxes")
        return reply

    async def crawl(self, most: int = 400) -> dict[str, str]:
        """Give every page that links lead to from home, by path."""
        pages: dict[str, str] = {}
        waiting = ["/"]
        while waiting and len(pages) < most:
            path = waiting.pop(0)
            if path in pages or path.startswith("/static/"):
                continue
            reply = await self.get(path)
            assert reply.status == 200, (path, reply.status)
            pages[path] = reply.body.decode()
            links = _LINK.findall(pages[path])
            waiting += [unescape(found).partition("#")[0] for found in links]
        return pages

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}

    def _keep(self, reply: Reply) -> None:
        name, _, value = reply.headers.get("Set-Cookie", "").partition("=")
        if name == COOKIE:
            self.cookie = value.partition(";")[0]
        found = _CSRF.search(reply.body.decode(errors="replace"))
        if found:
            self.csrf = found[1]


@attrs.define
class PanelSite:
    """The running panel and the model behind it."""

    site: Site
    model: Model
    passwords: Passwords

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.site.port}"

    def visitor(self) -> Visitor:
        return Visitor(self.site)

    async def signed_in(self) -> Visitor:
        visitor = self.visitor()
        reply = await visitor.sign_in()
        assert reply.status == 303, reply.body.decode()
        return visitor

    async def operator(self, name: str, password: str = PASSWORD) -> None:
        hashed = await self.passwords.hash(password)

        async def add(tx: Transaction) -> None:
            await create_operator(tx, name, hashed)

        await self.model.database.transaction(OPERATOR, add, name="test")

    async def announce(self, event: Event) -> None:
        async def tell(tx: Transaction) -> None:
            await publish(tx, [event])

        await self.model.database.transaction(OPERATOR, tell, name="test")

    async def connect(self, box: str) -> None:
        """Have a box seem to connect and catch up."""
        await self.model.write(
            "UPDATE box SET connected = true, first_seen_at = now(), last_seen_at = now()"
            " WHERE name = %s",
            (box,),
        )
        await self.settle(box)
        await self.announce({"box": box})

    async def settle(self, box: str) -> None:
        """Have a box seem to have done all that it was told."""
        await self.model.write(
            """UPDATE lane SET stored_revision = s.revision, settled_revision = s.revision,
                      condition = 'ok'
               FROM logical_server s, box b
               WHERE s.id = lane.logical_server_id AND b.id = lane.box_id AND b.name = %s""",
            (box,),
        )
        await self.model.write(
            """INSERT INTO zone_observation (box_id, logical_server_id, zone, serial)
               SELECT l.box_id, l.logical_server_id, z.name, z.serial
               FROM lane l JOIN zone_server n ON n.logical_server_id = l.logical_server_id
               JOIN zone z ON z.id = n.zone_id JOIN box b ON b.id = l.box_id
               WHERE b.name = %s
               ON CONFLICT (box_id, logical_server_id, zone) DO UPDATE SET serial = excluded.serial
            """,
            (box,),
        )


@asynccontextmanager
async def panel_site(model: Model, directory: Path) -> AsyncIterator[PanelSite]:
    """Serve the panel over ``model``, with one operator."""
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    bus = EventBus(reactor)
    await bus.start(model.database)
    panel = Panel(
        registry=model.registry,
        runner=model.runner,
        doorkeeper=Doorkeeper(model.database, SignIn(model.database, passwords)),
        bus=bus,
        clock=reactor,
    )
    async with running_site(directory / "site", runner=model.runner, panel=panel) as site:
        running = PanelSite(site, model, passwords)
        await running.operator(NAME)
        yield running
