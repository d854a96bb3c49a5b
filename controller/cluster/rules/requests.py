"""Rules of single requests: what a command refuses by what is asked, and no model can break. Data.

They stand beside the rules of the model (`book`) in the table of all rules. Commands raise the
`CommandError` with the rule's id itself; a test sees that each id is one that is raised.
"""

import attrs


@attrs.frozen
class RequestRule:
    """A rule of a request: its id, where it comes from, and why it is one."""

    id: str
    sources: tuple[str, ...]
    reason: str


REQUEST_RULES: tuple[RequestRule, ...] = (
    RequestRule("pserver.groups.invalid", ("R243", "A16"), "A box has one server group or more."),
    RequestRule("pserver.os.invalid", ("R229",), "A box runs Linux, FreeBSD or Windows."),
    RequestRule(
        "pserver.in-use", ("R255", "R257"), "A box is deleted only when it is free of servers."
    ),
    RequestRule("lserver.group.invalid", ("R265", "A16"), "A server belongs to a group."),
    RequestRule(
        "lserver.type.invalid", ("R36", "R266"), "Servers of one nature and purpose form a group."
    ),
    RequestRule(
        "pserver.unknown",
        ("R262", "R267"),
        "The box of a server is in the configuration before it.",
    ),
    RequestRule(
        "lserver.in-use",
        ("R286", "R287", "R288"),
        "A server goes when nothing runs on it and its addresses are gone.",
    ),
    RequestRule(
        "lserver.settings.invalid",
        ("R289", "R297", "A12"),
        "A setting takes what its service type says, within its range.",
    ),
    RequestRule(
        "lserver.settings.unknown-server",
        ("R294", "R306", "R307", "R312", "R314", "A5"),
        "A setting names a logical server that is there, and of the group that it needs.",
    ),
    RequestRule(
        "lserver.settings.not-balanced",
        ("R317", "R318", "R319", "R320", "R321", "A4"),
        "Only a server that runs on several boxes shares a file server among them.",
    ),
    RequestRule(
        "lserver.control-port.taken",
        ("R267",),
        "Each daemon of a box is controlled at its own port.",
    ),
    RequestRule(
        "lserver.move.serving", ("R261",), "What clients ask is served until another box serves it."
    ),
    RequestRule(
        "lserver.rename.zones", ("R264",), "NS records and delegations say a name server's name."
    ),
    RequestRule(
        "ip.moving",
        ("R357",),
        "The two addresses of a server that is being renumbered stay until that has ended.",
    ),
    RequestRule(
        "ip.move.family", ("R357",), "Who asks over one family could not ask over the other."
    ),
    RequestRule(
        "ip.move.switched", ("R357",), "After the switch others were told of the new address."
    ),
    RequestRule("dns.roles.no-master", ("R362", "A6"), "Roles count only where one is master."),
    RequestRule("dns.roles.twice", ("R362", "R364"), "A server has one role for new zones."),
    RequestRule(
        "dns.roles.audience", ("R367", "R371"), "A zone is on servers that its customer may use."
    ),
    RequestRule("ip.mask.invalid", ("R326", "M6"), "A mask is a netmask or a prefix length."),
    RequestRule(
        "ip.range.invalid", ("R325",), "A range is of one family and ends after it begins."
    ),
    RequestRule("ip.range.one-by-one", ("R333",), "Only dedicated addresses are added as a range."),
    RequestRule("ip.type.reserved", ("R344",), "System management addresses are for later use."),
    RequestRule("ip.tag.not-shared", ("R351",), "A tag tells shared addresses of a server apart."),
    RequestRule("ip.tag.taken", ("R353",), "One tag stands for one shared address of a server."),
    RequestRule(
        "ip.dedicated.port",
        ("R330",),
        "A dedicated address has the port that the server's sites are answered on.",
    ),
    RequestRule(
        "site.address.none-free",
        ("R329", "R330"),
        "A site takes a dedicated address that its server has and no other site uses.",
    ),
    RequestRule(
        "site.address.prohibited", ("R293",), "A server may be told to give out none of its own."
    ),
    RequestRule("ip.in-use", ("R357",), "An address is changed while nothing uses it."),
    RequestRule(
        "dns.none-for-audience",
        ("R371", "A7"),
        "A zone needs a name server that its customer may use.",
    ),
    RequestRule(
        "dns.none-open",
        ("R26", "R38"),
        "A zone needs a name server that is open for signup, and has an address on an open box.",
    ),
    RequestRule(
        "web.none-open",
        ("R38",),
        "A site needs a web server that is open for signup, and has an address on an open box.",
    ),
    RequestRule(
        "placement.pinned-closed",
        ("R38",),
        "What is pinned to one server goes nowhere else.",
    ),
)
