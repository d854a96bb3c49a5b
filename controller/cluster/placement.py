"""Drawing the servers of a new domain at random, to even out load (R26, R38). Pure."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

import attrs

from controller.refusal import CommandError

SECONDARIES = 2
"""The most secondaries of a zone (A6)."""


@attrs.frozen
class Candidate:
    """A logical server that a new zone or site may be placed on."""

    id: str
    name: str
    box: str


CandidateT = TypeVar("CandidateT", bound=Candidate)


def draw_name_servers(
    candidates: Sequence[CandidateT], draw: Random
) -> tuple[CandidateT, tuple[CandidateT, ...]]:
    """Draw one master and up to two secondaries (R26, A6), on boxes of their own where there are.

    Raises `CommandError` ``dns.none-open`` where there is no candidate.
    """
    if not candidates:
        raise CommandError(
            "dns.none-open",
            "no name server takes new zones",
            allowed="a dns logical server with a service IP on an open, enrolled box and signup "
            "on: hsctl lserver add, hsctl ip add, hsctl lserver signup on",
            status=409,
        )
    order = draw.sample(list(candidates), len(candidates))
    master, rest = order[0], order[1:]
    elsewhere = [server for server in rest if server.box != master.box]
    beside = [server for server in rest if server.box == master.box]
    return master, tuple((elsewhere + beside)[:SECONDARIES])


def draw_web_server(candidates: Sequence[CandidateT], draw: Random) -> CandidateT:
    """Draw the web server of a new site; raises `CommandError` ``web.none-open``."""
    if not candidates:
        raise CommandError(
            "web.none-open",
            "no web server takes new sites",
            allowed="a web logical server with a shared IP on an open, enrolled box and signup on "
            "(hsctl lserver signup on), or name one with --on",
            status=409,
        )
    return draw.choice(list(candidates))
