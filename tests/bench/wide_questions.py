"""What is asked of a wide model: every list page, the panel's pages, and every write."""

import json
from typing import Any

import attrs

from controller.pages import page
from tests.bench.wide_model import EVERY, Size, box_name, server_name, zone_name

_PAGE = 101
"""Rows that a list of 100 reads: one more tells whether another page follows."""


@attrs.frozen
class Question:
    """A request, and the statement over the same rows that it is set beside.

    ``{n}`` in any of them is the number of the turn. The method ``PAGE`` is a page of the panel.
    """

    words: str
    method: str
    path: str
    rows: str
    body: dict[str, Any] | None = None

    def at(self, turn: int) -> "Question":
        """Give it as it is asked in a turn."""
        text = None if self.body is None else json.dumps(self.body).replace("{n}", str(turn))
        return attrs.evolve(
            self,
            path=self.path.replace("{n}", str(turn)),
            rows=self.rows.replace("{n}", str(turn)),
            body=None if text is None else json.loads(text),
        )


def _after(key: str | int) -> str:
    """Give the cursor behind a key, as a page before would have."""
    return str(page([{"key": key}, {}], 1, lambda item: key)["next"])


def lists(size: Size) -> list[Question]:
    """Give the first page of every list, one in its middle, and those that are narrowed down."""
    box, server, zone = box_name(size.boxes // 2), server_name(size.servers // 2), size.zones // 2
    dns, name = server_name(EVERY), zone_name(zone)

    def ask(words: str, path: str, relation: str, where: str, order: str = "name") -> Question:
        sql = f"SELECT * FROM {relation} WHERE {where} ORDER BY {order} LIMIT {_PAGE}"
        return Question(words, "GET", path, sql)

    of_server = (
        f"logical_server_id = (SELECT id FROM logical_server WHERE name = '{server_name(2)}')"
    )
    of_zone = f"zone_id = (SELECT id FROM zone WHERE name = '{name}')"
    return [
        ask("pserver list", "/pservers", "box", "true"),
        ask("pserver list, middle", f"/pservers?cursor={_after(box)}", "box", f"name > '{box}'"),
        ask("pserver list, filtered", "/pservers?filter=77", "box", "name LIKE '%77%'"),
        ask("lserver list", "/lservers", "logical_server", "true"),
        ask(
            "lserver list, middle",
            f"/lservers?cursor={_after(server)}",
            "logical_server",
            f"name > '{server}'",
        ),
        ask("lserver list, filtered", "/lservers?filter=99", "logical_server", "name LIKE '%99%'"),
        ask("lserver list, a group", "/lservers?group=dns", "logical_server", "group_name = 'dns'"),
        ask("ip list", "/ips", "ip_address", "true", "id"),
        ask(
            "ip list, middle",
            f"/ips?cursor={_after(size.addresses // 2)}",
            "ip_address",
            f"id > {size.addresses // 2}",
            "id",
        ),
        ask("ip list, a server", f"/ips?lserver={server_name(2)}", "ip_address", of_server, "id"),
        ask("ip list, a type", "/ips?type=service", "ip_address", "type = 'service'", "id"),
        ask("ip list, a rare type", "/ips?type=outgoing", "ip_address", "type = 'outgoing'", "id"),
        ask(
            "ip list, free",
            "/ips?free=true",
            "ip_address",
            "type = 'dedicated' AND site_id IS NULL",
            "id",
        ),
        ask("account list", "/accounts", "account", "true"),
        ask(
            "account list, middle",
            f"/accounts?cursor={_after('a0005')}",
            "account",
            "name > 'a0005'",
        ),
        ask("domain list", "/domains", "domain", "true"),
        ask("domain list, middle", f"/domains?cursor={_after(name)}", "domain", f"name > '{name}'"),
        ask(
            "domain list, filtered",
            f"/domains?filter={name[:5]}",
            "domain",
            f"name >= '{name[:5]}' AND name < '{name[:5]}~'",
        ),
        ask(
            "domain list, an account",
            "/domains?account=a0009",
            "domain",
            "owner_id = (SELECT id FROM account WHERE name = 'a0009')",
        ),
        ask(
            "domain list, a large account",
            "/domains?account=big",
            "domain",
            "owner_id = (SELECT id FROM account WHERE name = 'big')",
        ),
        ask("record list", f"/domains/{name}/records", "record", of_zone, "name, type, data"),
        ask("change list", "/changes?limit=100", "change", "true", "id DESC"),
        ask(
            "change list, middle",
            f"/changes?limit=100&cursor={_after(zone)}",
            "change",
            f"id < {zone}",
            "id DESC",
        ),
        ask(
            "change list, an actor",
            "/changes?limit=100&actor=operator:bob",
            "change",
            "actor = 'operator:bob'",
            "id DESC",
        ),
        ask(
            "change list, an unknown actor",
            "/changes?actor=operator:nobody",
            "change",
            "actor = 'operator:nobody'",
            "id DESC",
        ),
        ask(
            "change list, a command",
            "/changes?command=lserver.recover",
            "change",
            "command = 'lserver.recover'",
            "id DESC",
        ),
        ask(
            "change list, an object",
            f"/changes?object={name}",
            "change",
            f"id IN (SELECT change_id FROM change_row WHERE row_key = '{name}')",
            "id DESC",
        ),
        ask(
            "change list, a day",
            "/changes?until=2020-01-01",
            "change",
            "at < '2020-01-01'",
            "id DESC",
        ),
        ask("fault list", "/faults", "object_outcome", "true", "since"),
        ask("health", "/health", "box", "true"),
        ask("group list", "/groups", "logical_server", "group_name = 'dns'"),
        ask("dns show", "/dns", "logical_server", "group_name = 'dns'"),
        ask("placement show", "/placement", "logical_server", "group_name = 'web'"),
        ask(
            "placement explain",
            "/groups/web/placement",
            "logical_server",
            "group_name = 'web'",
        ),
        ask(
            "placement simulate, 100",
            "/placement/simulation?count=100",
            "logical_server",
            "group_name IN ('dns', 'web')",
        ),
        ask("operator list", "/operators", "operator", "true"),
        ask("token list", "/tokens", "api_token", "true", "id"),
        ask("audit verify, 100", "/audit/verification?limit=100", "change", "seq > 0", "seq"),
        ask("status", "/status", "box", "true"),
        ask("pserver show", f"/pservers/{box}", "box", f"name = '{box}'"),
        ask("lserver show", f"/lservers/{dns}", "logical_server", f"name = '{dns}'"),
        ask("lserver records", f"/lservers/{dns}/records", "logical_server", f"name = '{dns}'"),
        ask("ip show", "/ips/100.64.0.50", "ip_address", "address = '100.64.0.50'", "id"),
        ask("account show", "/accounts/big", "account", "name = 'big'"),
        ask("domain show", f"/domains/{name}", "domain", f"name = '{name}'"),
        ask("site show", f"/domains/{name}/site", "domain", f"name = '{name}'"),
        ask("change show", f"/changes/{zone}", "change", f"id = {zone}", "id"),
    ]


def pages(size: Size) -> list[Question]:
    """Give the panel's pages of the same lists."""
    box, dns, name = box_name(size.boxes // 2), server_name(EVERY), zone_name(size.zones // 2)

    def show(path: str, relation: str, where: str = "true", order: str = "name") -> Question:
        sql = f"SELECT * FROM {relation} WHERE {where} ORDER BY {order} LIMIT {_PAGE}"
        return Question(path, "PAGE", path, sql)

    return [
        show("/", "box"),
        show("/boxes", "box"),
        show(f"/boxes/box/{box}", "box", f"name = '{box}'"),
        show("/servers", "logical_server"),
        show(f"/servers/server/{dns}", "logical_server", f"name = '{dns}'"),
        show("/servers/add", "box"),
        show("/accounts", "account"),
        show("/domains", "domain"),
        show("/domains/add", "account"),
        show(f"/domains/domain/{name}", "domain", f"name = '{name}'"),
        show("/changes", "change", order="id DESC"),
        show("/faults", "object_outcome", order="since"),
        show("/health", "box"),
    ]


def writes(size: Size) -> list[Question]:
    """Give every write, in an order in which each finds what it needs and all is gone at last.

    Each is set beside one row of its own table, written and committed.
    """
    server, box = server_name(2), box_name(7)
    dns, other, zone = server_name(EVERY), server_name(2 * EVERY), zone_name(size.zones // 2)
    new, mail = "new{n}.example.net", "mail{n}.example.net"

    def ask(
        words: str, method: str, path: str, relation: str, body: dict[str, Any] | None = None
    ) -> Question:
        sql = (
            f"UPDATE {relation} SET version = version + 1"
            f" WHERE name = (SELECT min(name) FROM {relation})"
        )
        if relation == "ip_address":
            sql = "UPDATE ip_address SET prefix = 16 WHERE id = 1"
        return Question(words, method, path, sql, body)

    records = f"/domains/{zone}/records"
    return [
        ask(
            "pserver add",
            "POST",
            "/pservers",
            "box",
            {"name": "new{n}", "ip": "192.0.2.1", "mask": "24", "groups": ["web", "dns", "mail"]},
        ),
        ask("pserver edit", "PATCH", "/pservers/new{n}", "box", {"description": "turn {n}"}),
        ask("pserver intent", "PUT", "/pservers/new{n}/intent", "box", {"intent": "no-signup"}),
        ask(
            "pserver monitoring", "PUT", "/pservers/new{n}/monitoring", "box", {"monitoring": False}
        ),
        ask("pserver enroll", "POST", "/pservers/new{n}/enrolment", "box", {}),
        ask(
            "lserver add, web",
            "POST",
            "/lservers",
            "logical_server",
            {"name": new, "group": "web", "type": "apache", "pserver": "new{n}"},
        ),
        ask("lserver move", "PUT", f"/lservers/{new}/pserver", "logical_server", {"to": box}),
        ask("lserver edit", "PATCH", f"/lservers/{new}", "logical_server", {"description": "{n}"}),
        ask(
            "lserver set",
            "PATCH",
            f"/lservers/{new}/settings",
            "logical_server",
            {"settings": {"timeout": 90}},
        ),
        ask(
            "ip add, shared",
            "POST",
            "/ips",
            "ip_address",
            {"lserver": new, "first": "198.51.100.1", "mask": "24", "type": "shared"},
        ),
        ask("lserver signup", "PUT", f"/lservers/{new}/signup", "logical_server", {"signup": True}),
        ask(
            "ip add, dedicated",
            "POST",
            "/ips",
            "ip_address",
            {"lserver": new, "first": "198.51.100.2", "mask": "24", "type": "dedicated"},
        ),
        ask(
            "ip add, 64 at once",
            "POST",
            "/ips",
            "ip_address",
            {
                "lserver": new,
                "first": "198.51.100.64",
                "last": "198.51.100.127",
                "mask": "24",
                "type": "dedicated",
            },
        ),
        ask("ip edit", "PATCH", "/ips/198.51.100.2", "ip_address", {"mask": "25"}),
        ask("account add", "POST", "/accounts", "account", {"name": "new{n}"}),
        ask(
            "domain add",
            "POST",
            "/domains",
            "domain",
            {"name": "new{n}.example.com", "account": "new{n}"},
        ),
        ask("site set", "PATCH", "/domains/new{n}.example.com/site", "domain", {"indexes": True}),
        ask("domain delete", "DELETE", "/domains/new{n}.example.com", "domain"),
        ask("account delete", "DELETE", "/accounts/new{n}", "account"),
        ask(
            "record add",
            "POST",
            records,
            "zone",
            {"name": "a{n}", "type": "A", "values": ["192.0.2.7"]},
        ),
        ask(
            "record set",
            "PUT",
            records,
            "zone",
            {"name": "a{n}", "type": "A", "values": ["192.0.2.8"]},
        ),
        ask("record delete", "DELETE", f"{records}?name=a{{n}}", "zone"),
        ask(
            "lserver add, mail",
            "POST",
            "/lservers",
            "logical_server",
            {"name": mail, "group": "mail", "type": "qmail", "pserver": "new{n}"},
        ),
        ask(
            "ip add, service",
            "POST",
            "/ips",
            "ip_address",
            {"lserver": mail, "first": "198.51.100.9", "mask": "24", "type": "service"},
        ),
        ask("dns roles", "PUT", "/dns/roles", "logical_server", {"master": dns, "slave1": other}),
        ask("dns roles, none", "PUT", "/dns/roles", "logical_server", {}),
        *(
            ask(
                f"placement set, {policy}",
                "PUT",
                "/groups/web/placement",
                "logical_server",
                {"policy": policy},
            )
            for policy in ("least-used", "random")
        ),
        ask(
            "lserver signup, back",
            "PUT",
            f"/lservers/{server}/signup",
            "logical_server",
            {"signup": True},
        ),
        ask("ip delete, service", "DELETE", "/ips/198.51.100.9", "ip_address"),
        ask("lserver delete, mail", "DELETE", f"/lservers/{mail}", "logical_server"),
        ask(
            "ip delete, 64 at once",
            "DELETE",
            "/ips/198.51.100.64?last=198.51.100.127&confirm=64",
            "ip_address",
        ),
        ask("ip delete, dedicated", "DELETE", "/ips/198.51.100.2", "ip_address"),
        ask("ip delete, shared", "DELETE", "/ips/198.51.100.1", "ip_address"),
        ask("lserver delete, web", "DELETE", f"/lservers/{new}", "logical_server"),
        ask("pserver delete", "DELETE", "/pservers/new{n}", "box"),
    ]
