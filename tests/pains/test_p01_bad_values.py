"""P1: one bad value takes down nobody's site, and no daemon fails to start for it.

``HS_VALUES`` says how many values are tried (`script/soak` tries 10,000), ``HS_SOAK_SEED`` which.
"""

import http.client
import os
import secrets
from collections import Counter
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from tests.faults.cluster_under_fault import Answer, Api
from tests.pains.neighbours import WEB, Neighbours

VALUES = int(os.environ.get("HS_VALUES", "300"))
SEED = int(os.environ.get("HS_SOAK_SEED", "0")) or secrets.randbelow(2**31)
RESTARTS = 3
pytestmark = pytest.mark.timeout(0 if "HS_VALUES" in os.environ else 300)

_ODD = (
    *(
        "",
        " ",
        ".",
        "..",
        "-",
        "--help",
        "_",
        "@",
        "*",
        "#",
        "~",
        "%",
        "%s",
        "%2e%2e",
        "&",
        "|id",
        "`id`",
    ),
    *(
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\x1b[2J",
        "\x7f",
        "'",
        '"',
        "\\",
        "\\\n",
        "\\000",
        ";",
        ";\n",
        "(",
        ")",
    ),
    *(
        "{",
        "}",
        "};",
        "{{7*7}}",
        "{% raw %}",
        "$(id)",
        "${PATH}",
        "$INCLUDE /etc/passwd",
        "$ORIGIN .\n",
    ),
    *(
        "$GENERATE 1-9 a A 192.0.2.$",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\",
        "<VirtualHost *:80>\n",
    ),
    *(
        "</VirtualHost>\n",
        "\nInclude /etc/passwd\n",
        "RewriteRule .* /",
        "test..com",
        "xn--",
        "xn--a",
    ),
    *(
        "\u00e9",
        "\u202e",
        "\u3002",
        "\uff0f",
        "\ufeff",
        "\ud7ff",
        "\U0001f4a9",
        "a" * 64,
        "a." * 130,
    ),
    *(
        "0",
        "-1",
        "2147483648",
        "1e9",
        "999.999.999.999",
        "::",
        "::1%eth0",
        "[::1]",
        "0x7f.1",
        "127.1",
    ),
    *("http://", "https://a:b@c/", "javascript:alert(1)", "//x", "https://x/\r\nSet-Cookie: a=b"),
)
_GOOD = (
    *("shop", "shop.test", "www", "mail.shop.test.", "a-b", "bücher", "index.html", "start.html"),
    *(
        "192.0.2.9",
        "2001:db8::9",
        "10 mail",
        "10 mail.shop.test.",
        '"v=spf1 -all"',
        "0 issue ca.test",
    ),
    *("https://elsewhere.test/a?b=c", "1 1 443 www", "ns1.elsewhere.test."),
)
_RECORDS = (
    ("A", "192.0.2.9"),
    ("AAAA", "2001:db8::9"),
    ("CAA", '0 issue "ca.test"'),
    ("CNAME", "elsewhere.test."),
    ("MX", "10 mail"),
    ("NS", "ns1.elsewhere.test."),
    ("SRV", "1 1 443 www"),
    ("TXT", "v=spf1 -all"),
    ("TXT", "two words"),
)
_TYPES = ("SOA", "ANY", "AXFR", "PTR", "TYPE65534", "RRSIG", "a", "")


def value(random: Random) -> str:
    """Make a text that leans towards what some syntax in the product stumbles over."""
    parts = [random.choice(random.choice((_ODD, _GOOD))) for _ in range(random.randint(1, 3))]
    made = "".join(parts)
    if random.random() < 0.3 and made:
        at = random.randrange(len(made))
        made = made[:at] + chr(random.choice((random.randrange(1, 256), 0x2028))) + made[at:]
    return made


def record(random: Random) -> dict[str, Any]:
    """Make a record that is good but for one or two of its fields."""
    type_, data = random.choice(_RECORDS)
    made: dict[str, Any] = {
        "name": random.choice(("@", "www", f"n{random.randrange(20)}")),
        "type": type_,
        "values": [data],
        "ttl": 60,
    }
    odd: dict[str, Any] = {
        "name": value(random),
        "type": random.choice((*_TYPES, value(random))),
        "values": [
            random.choice((value(random), f"{data}{value(random)}", f"{value(random)} {data}"))
        ],
        "ttl": random.choice((None, 0, -1, 2**31 - 1, 2**31)),
    }
    for field in random.sample(
        ("name", "values", "values", "type", "ttl"), random.choice((1, 1, 2))
    ):
        made[field] = odd[field]
    return made


def site(random: Random) -> dict[str, Any]:
    """Make settings of a site, one of them odd."""
    return random.choice(
        (
            {"index": [value(random)]},
            {"index": ["index.html", f"a{value(random)}"]},
            {"redirect_to": value(random)},
            {"redirect_to": f"https://elsewhere.test/{value(random)}"},
            {"redirect_to": f"https://{value(random)}/"},
            {"indexes": random.choice((True, False)), "redirect_to": ""},
        )
    )


def request(random: Random, hosted: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Make what a customer may ask for, with a bad value in it."""
    name = random.choice(hosted)
    what = random.choice(
        ("account", "domain", "record", "record", "record", "file", "site", "site")
    )
    if what == "account":
        return "POST", "/accounts", {"name": value(random)}
    if what == "domain":
        form = random.choice(("{}", "{}.test", "a{}b.test", "shop.{}"))
        return "POST", "/domains", {"name": form.format(value(random)), "account": "acme"}
    if what == "record":
        return random.choice(("POST", "PUT")), f"/domains/{name}/records", record(random)
    if what == "file":
        line = random.choice(("a 60 IN TXT {}", "{} 60 IN A 192.0.2.1", "a {} IN A 192.0.2.1"))
        text = f"ok 60 IN A 192.0.2.1\n{line.format(value(random))}\n"
        return "PUT", f"/domains/{name}/zone-file", {"text": text}
    return "PATCH", f"/domains/{name}/site", site(random)


def asked(api: Api, method: str, path: str, body: dict[str, Any]) -> Answer:
    """Ask once; once more where the connection had been closed for being idle."""
    key = str(uuid4())
    try:
        return api.ask(method, path, body, key=key)
    except http.client.RemoteDisconnected:
        return api.ask(method, path, body, key=key)


def test_p1_whatever_a_customer_types_the_others_are_served(neighbours: Neighbours) -> None:
    broken = neighbours.broken
    broken.cluster.good("lserver", "set", WEB, "reload_rest=0")
    print(f"values {VALUES}, seed {SEED}")
    random = Random(SEED)
    hosted = []
    for number in range(3):
        hosted.append(f"bad{number}.test")
        broken.cluster.good("domain", "add", hosted[-1], "--account", "acme")
    told: Counter[str] = Counter()
    for number in range(1, VALUES + 1):
        method, path, body = request(random, hosted)
        answer = asked(broken.api, method, path, body)
        assert answer.status < 500, (SEED, number, method, path, body, answer)
        told["taken" if answer.status < 300 else "refused"] += 1
        if answer.status < 300:
            assert neighbours.settled(), (SEED, number, method, path, body)
            assert neighbours.unserved() == [], (SEED, number, method, path, body)
        if number % max(1, VALUES // RESTARTS) == 0:
            neighbours.cold_restart()
    print(f"{dict(told)}; taken here and refused on a box: {broken.faults()}")
    assert told["taken"], "no value was taken: nothing was tried on a box"
    assert told["refused"], "no value was refused"
    assert broken.settled()
