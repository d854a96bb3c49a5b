"""Names to choose from in a form: all of them where they are few, else one is typed.

A page never reads more than a few dozen of them, however many there are. What is typed is proposed
to whoever has JavaScript; for everybody there is the list to look the name up in.
"""

from collections.abc import Collection
from typing import Any

import attrs

from controller.web.panel.answers import Page, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Visit

MOST = 50
"""As many names a form offers at once."""


@attrs.frozen
class Choices:
    """What a field offers: pairs of a name and the words for it."""

    names: tuple[tuple[str, str], ...]
    more: bool = False
    """Whether there are others: the name is typed then."""
    proposed: str = ""
    """The path that gives names for what is typed so far."""
    listed: str = ""
    """The path of the list that the name stands in."""

    def along(self, *names: str) -> "Choices":
        """Give these with others before them; one that is there already is not given twice."""
        known = {name for name, _ in self.names}
        first = tuple((name, name) for name in names if name not in known)
        return attrs.evolve(self, names=(*first, *self.names))


async def boxes_to_choose(
    visit: Visit, *, group: str = "", besides: Collection[str] = ()
) -> Choices:
    """Give the boxes, those of a server group where one is named, without ``besides``."""
    found = await _boxes(visit, "", group, MOST + len(besides))
    names = [(box["name"], _box_words(box)) for box in found["items"] if box["name"] not in besides]
    proposed = local("names", "boxes", group=group)
    return Choices(tuple(names), found["next"] is not None, proposed, local("boxes"))


async def servers_to_choose(visit: Visit, group: str) -> Choices:
    """Give the logical servers of a group."""
    found = await _servers(visit, "", group)
    names = tuple((server["name"], server["name"]) for server in found["items"])
    proposed = local("names", "servers", group=group)
    return Choices(names, found["next"] is not None, proposed, local("servers", group=group))


async def accounts_to_choose(visit: Visit) -> Choices:
    """Give the accounts."""
    found = await _accounts(visit, "", "")
    names = tuple((account["name"], account["name"]) for account in found["items"])
    proposed = local("names", "accounts")
    return Choices(names, found["next"] is not None, proposed, local("accounts"))


async def _boxes(visit: Visit, text: str, group: str, most: int = MOST) -> Any:
    return await visit.ask("pserver.list", filter=text, group=group, limit=str(most))


async def _servers(visit: Visit, text: str, group: str) -> Any:
    return await visit.ask("lserver.list", filter=text, group=group, limit=str(MOST))


async def _accounts(visit: Visit, text: str, group: str) -> Any:
    return await visit.ask("account.list", filter=text, limit=str(MOST))


def _box_words(box: dict[str, Any]) -> str:
    condition = "" if box["condition"] == "connected" else f"; {box['condition']}"
    return f"{box['name']} ({', '.join(box['groups'])}{condition})"


async def propose_boxes(visit: Visit) -> Page:
    """Propose boxes for what is typed so far."""
    return _proposed(await _boxes(visit, _typed(visit), visit.query.get("group", "")))


async def propose_servers(visit: Visit) -> Page:
    """Propose logical servers for what is typed so far."""
    return _proposed(await _servers(visit, _typed(visit), visit.query.get("group", "")))


async def propose_accounts(visit: Visit) -> Page:
    """Propose accounts for what is typed so far."""
    return _proposed(await _accounts(visit, _typed(visit), ""))


def _typed(visit: Visit) -> str:
    """Give what the field holds that asks: it is sent under the name that it has in its form."""
    typed = [text for name, text in visit.query.items() if name != "group"]
    return typed[0].strip().lower() if typed else ""


def _proposed(found: Any) -> Page:
    names = [item["name"] for item in found["items"]]
    return Page("names", "Names", "", {"names": names}, fetched=True)


ROUTES = (
    Route("GET", "/names/boxes", propose_boxes),
    Route("GET", "/names/servers", propose_servers),
    Route("GET", "/names/accounts", propose_accounts),
)
