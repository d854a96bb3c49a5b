"""The menu: each room under the path by which the product's guide names it, with what it is.

Who learned the product from its guide looks for *E.Manager -> Servers -> P.Servers*; who did not
reads what an entry means on the page that it leads to, and on the entry itself.
"""

import attrs

from controller.web.panel.answers import Room, local


@attrs.frozen
class Entry:
    """One line of the menu: the guide's ``words``, the ``title`` of the page and what it is.

    ``add`` (words, path) is the page that makes another one.
    """

    room: Room
    words: str
    title: str
    meaning: str
    icon: str
    path: str
    add: tuple[str, str] = ("", "")


@attrs.frozen
class Section:
    """Entries under one heading; ``path`` are the words that lead to them."""

    path: tuple[str, ...]
    meaning: str
    entries: tuple[Entry, ...]


MENU = (
    Section((), "", (Entry("home", "Home", "Home", "", "smart-home", local()),)),
    Section(
        ("E.Manager", "Servers"),
        "What the cluster is made of",
        (
            Entry(
                "boxes",
                "P.Servers",
                "Physical servers",
                "The boxes of the cluster: computers with an agent each.",
                "server",
                local("boxes"),
            ),
            Entry(
                "servers",
                "L.Servers",
                "Logical servers",
                "The programs on the boxes that serve customers: DNS, web, mail, databases.",
                "stack-2",
                local("servers"),
            ),
            Entry(
                "box-add",
                "Add P.Server",
                "Add a physical server",
                "A box: one computer of the cluster. It connects by a line that you run on it.",
                "plus",
                local("boxes", "add"),
            ),
            Entry(
                "server-add",
                "Add L.Server",
                "Add a logical server",
                "One program on a box that serves customers.",
                "plus",
                local("servers", "add"),
            ),
        ),
    ),
    Section(
        ("E.Manager",),
        "What all servers share",
        (
            Entry(
                "ssl",
                "Shared SSL Manager",
                "Shared SSL",
                "Certificates for all names directly below a domain, on every web server.",
                "key",
                local("ssl"),
                ("Share a certificate", local("ssl", "add")),
            ),
            Entry(
                "service",
                "Service domain",
                "Service domain",
                "The provider's own domain: the names of all servers, and what else it is for.",
                "world",
                local("service"),
            ),
        ),
    ),
    Section(
        ("Hosting",),
        "What customers have",
        (
            Entry(
                "accounts",
                "Accounts",
                "Accounts",
                "",
                "users",
                local("accounts"),
                ("Add an account", local("accounts", "add")),
            ),
            Entry(
                "domains",
                "Domains",
                "Domains",
                "",
                "world",
                local("domains"),
                ("Add a domain", local("domains", "add")),
            ),
        ),
    ),
    Section(
        ("Operation",),
        "What happened, and what is wrong",
        (
            Entry("changes", "Changes", "Changes", "", "history", local("changes")),
            Entry(
                "held",
                "Held changes",
                "Held changes",
                "Changes that wait until somebody accepts what they would do.",
                "alert-circle",
                local("held"),
            ),
            Entry("faults", "Faults", "Faults", "", "alert-triangle", local("faults")),
            Entry("health", "Health", "Health", "", "circle-check", local("health")),
            Entry(
                "operators",
                "Operators",
                "Operators",
                "Who may ask for what: the people who run the cluster, and their API tokens.",
                "shield-lock",
                local("operators"),
            ),
        ),
    ),
)

P_SERVERS = ("P.Servers", local("boxes"))
"""The way up from a box."""
L_SERVERS = ("L.Servers", local("servers"))
"""The way up from a logical server."""


@attrs.frozen
class Place:
    """Where a page stands: the section's words, and the entry that it belongs to."""

    path: tuple[str, ...] = ()
    entry: Entry | None = None


_PLACES = {entry.room: Place(section.path, entry) for section in MENU for entry in section.entries}


def place_of(room: Room) -> Place:
    """Give where a room stands in the menu; nowhere for a page that is in none."""
    return _PLACES.get(room, Place())
