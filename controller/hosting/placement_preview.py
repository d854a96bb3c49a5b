"""The commands ``placement.explain`` and ``placement.simulate``: where new domains would go.

They write nothing, and ask the very code that places a domain when it is added.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from random import Random
from typing import Any, Generic

import attrs

from controller.cluster.placement.candidates import name_server_candidates, web_server_candidates
from controller.cluster.placement.commands import policy_shown
from controller.cluster.placement.dns_roles import PROVIDER, place_zone
from controller.cluster.placement.placement import Candidate, CandidateT, Policy, draw_web_server
from controller.cluster.placement.rows import Group, read_group
from controller.cluster.placement.standings import Standing, standings
from controller.cluster.servers.groups import known_group
from controller.commands import Command, Work
from controller.hosting.accounts import find_account
from controller.pages import after_text, limit, page
from controller.refusal import CommandError

MOST = 1000
DRAWN = 200_000
"""The most that is simulated at once, and the most that all draws look at: they are made in the
controller's own process. At least `ALWAYS` accounts are simulated in any cluster."""
ALWAYS = 100
_SEEDS = 2**31


@attrs.frozen
class ExplainPlacement:
    """A page of a group's servers whose name contains ``filter``; ``account``: for whom."""

    group: str
    account: str = ""
    filter: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class SimulatePlacement:
    """How many accounts come, with a domain each; the same ``seed`` (0: any) draws the same."""

    count: int
    seed: int = 0


async def explain(work: Work, request: ExplainPlacement) -> dict[str, Any]:
    """Say of every server of a group whether the next new one may go to it, and why not.

    ``takes`` is ``yes``, ``spare`` (only if no other is there) or ``no``; ``places`` says what the
    server would be of a site or zone.
    """
    name = known_group(request.group)
    size, after = limit(request.limit), after_text(request.cursor)
    account = ""
    if request.account:
        _, account = await find_account(work.tx, request.account, field="account")
    group = await read_group(work.tx, name)
    # Every account is the provider's own customer, until there are resellers.
    found = standings(group, PROVIDER)
    wanted = (
        _shown(standing, group.policy)
        for standing in found.servers
        if standing.server.name > after and request.filter.lower() in standing.server.name
    )
    return {
        "group": name,
        "account": account,
        **policy_shown(group.policy),
        "by_role": found.by_role,
        "refused": found.refused,
        **page(list(islice(wanted, size + 1)), size, lambda item: str(item["name"])),
    }


def _shown(standing: Standing, policy: Policy) -> dict[str, Any]:
    server = standing.server
    return {
        "name": server.name,
        "pservers": [lane.box for lane in server.lanes],
        "takes": standing.takes,
        "places": list(standing.places),
        "reasons": list(standing.reasons),
        "holds": server.holds,
        "weight": policy.weight(server.name),
        "role": server.role,
    }


@attrs.define
class _Stock(Generic[CandidateT]):
    """The candidates of a simulation, which hold more with each that comes to them."""

    candidates: list[CandidateT]
    _places: dict[str, int] = attrs.field(init=False)

    @_places.default
    def _indexed(self) -> dict[str, int]:
        return {server.id: place for place, server in enumerate(self.candidates)}

    def gave(self, server: CandidateT) -> None:
        """Count one more on a server."""
        place = self._places[server.id]
        now = self.candidates[place]
        self.candidates[place] = attrs.evolve(now, holds=now.holds + 1)


def simulate_sites(group: Group, count: int, draw: Random) -> Counter[str]:
    """Give how many of ``count`` new sites would come to each web server, by name. Pure.

    Raises `CommandError` where none could be placed.
    """
    stock = _Stock(web_server_candidates(group))
    sites: Counter[str] = Counter()
    for _ in range(count):
        web = draw_web_server(stock.candidates, draw, group.policy)
        stock.gave(web)
        sites[web.name] += 1
    return sites


def simulate_zones(
    group: Group, audience: str, count: int, draw: Random
) -> tuple[Counter[str], Counter[str]]:
    """Give how many of ``count`` new zones each name server would have as master and as slave.

    Pure. Raises `CommandError` where none could be placed.
    """
    stock = _Stock(name_server_candidates(group))
    masters: Counter[str] = Counter()
    slaves: Counter[str] = Counter()
    for _ in range(count):
        master, secondaries, _ = place_zone(stock.candidates, audience, draw, group.policy)
        for server in (master, *secondaries):
            stock.gave(server)
        masters[master.name] += 1
        slaves.update(server.name for server in secondaries)
    return masters, slaves


@attrs.frozen
class Preview:
    """The commands; ``draw`` gives a seed where none is asked for."""

    draw: Random

    async def simulate(self, work: Work, request: SimulatePlacement) -> dict[str, Any]:
        """Show where new accounts would go, each with a domain; nothing is written.

        Where a group takes nothing, ``refused`` says what each of them would be told.
        """
        if not 0 <= request.seed < _SEEDS:
            raise CommandError(
                "placement.seed.invalid",
                "not a seed",
                field="seed",
                value=str(request.seed),
                allowed=f"0 (any) to {_SEEDS - 1}",
            )
        seed = request.seed or self.draw.randrange(1, _SEEDS)
        draw = Random(seed)  # noqa: S311 (it has to be the same again)
        name_servers, web = await read_group(work.tx, "dns"), await read_group(work.tx, "web")
        able = max(len(name_servers.servers), len(web.servers), 1)
        most = min(MOST, max(ALWAYS, DRAWN // able))
        if not 1 <= request.count <= most:
            raise CommandError(
                "placement.count.invalid",
                "not a number of accounts that can be simulated",
                field="count",
                value=str(request.count),
                allowed=f"1 to {most}",
            )
        return {
            "count": request.count,
            "seed": seed,
            "groups": [
                _spread(
                    name_servers,
                    name_server_candidates(name_servers),
                    ("master", "secondary"),
                    lambda: simulate_zones(name_servers, PROVIDER, request.count, draw),
                ),
                _spread(
                    web,
                    web_server_candidates(web),
                    ("site",),
                    lambda: (simulate_sites(web, request.count, draw),),
                ),
            ],
        }

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "placement.explain",
                "GET",
                "/groups/{group}/placement",
                ExplainPlacement,
                "provider.read",
                "Explain why a server of a group is chosen for new sites and zones, or is not",
                explain,
                "`takes` is `yes`, `spare` (only if no other is there: its boxes are not well) or "
                "`no`, with the reasons.",
            ),
            Command(
                "placement.simulate",
                "GET",
                "/placement/simulation",
                SimulatePlacement,
                "provider.read",
                "Show where new accounts would go, without writing",
                self.simulate,
                f"Up to {MOST} accounts with a domain each, fewer where there are hundreds of "
                "servers, drawn as domain.add draws. The same `seed` gives the same answer while "
                "the cluster is the same.",
            ),
        )


def _spread(
    group: Group,
    candidates: Sequence[Candidate],
    places: Sequence[str],
    simulate: Callable[[], Sequence[Counter[str]]],
) -> dict[str, Any]:
    """Give how many come to each server that takes new ones, or why there are none."""
    try:
        counted, refused = simulate(), ""
    except CommandError as error:
        counted, refused = [Counter() for _ in places], error.message
    return {
        "group": group.name,
        **policy_shown(group.policy),
        "refused": refused,
        "servers": [
            {
                "name": server.name,
                "well": server.well,
                "holds": server.holds,
                "new": sum(one[server.name] for one in counted),
                **{place: one[server.name] for place, one in zip(places, counted, strict=True)},
            }
            for server in candidates
        ],
    }
