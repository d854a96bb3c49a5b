"""A real local cluster in which people use every door that takes a secret, well and badly."""

import http.client
import json
import re
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs

from controller.local.layout import Layout
from tests.certificates import certificate
from tests.faults.cluster_under_fault import Broken
from tests.local_cluster import HSCTL, Cluster
from tests.process_watch import ProcessWatch
from tests.searching import Secret, search

SITE, SERVICE_DOMAIN = "shop.test", "heliosphere.test"


@attrs.define
class Planted:
    """A cluster with its secrets, and what was said of them on the way."""

    broken: Broken
    watch: ProcessWatch
    typed: Path
    """Where people's own files are: outside of what is searched."""
    secrets: dict[str, Secret] = attrs.Factory(dict)
    given: dict[str, bytes] = attrs.Factory(dict)
    """What was typed, or shown once to whom it is for: by the name of its secret."""
    answers: dict[str, bytes] = attrs.Factory(dict)
    """What everything else printed."""

    @property
    def cluster(self) -> Cluster:
        return self.broken.cluster

    def add(self, secret: Secret, given: str = "") -> None:
        self.secrets[secret.name] = secret
        if given:
            self.given[secret.name] = given.encode()

    def leaks(self, texts: dict[str, bytes]) -> dict[str, set[str]]:
        """Give where secrets are found, by name; only those that are."""
        assert all(texts.values())
        return {
            name: places
            for name, places in search(list(self.secrets.values()), texts).items()
            if places
        }

    # --- people at their doors ---

    def hsctl(self, what: str, *words: str, code: int = 0, stdin: str = "") -> None:
        self.said(what, *HSCTL, *words, code=code, stdin=stdin)

    def admin(self, what: str, *words: str, stdin: str = "", keep: bool = True) -> str:
        """Do what only the administrator of the controller's host may do."""
        config = ("--config", str(Layout(self.cluster.folder).controller_config))
        program = (sys.executable, "-m", "controller.main", "admin")
        return self.said(what, *program, *words, *config, stdin=stdin, keep=keep)

    def said(
        self, what: str, *command: str, code: int = 0, stdin: str = "", keep: bool = True
    ) -> str:
        """Run a command; give what it printed, and ``keep`` it for the search."""
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self.cluster.environment,
            cwd="/",
            timeout=120,
        )
        assert done.returncode == code, (what, done)
        if keep:
            self.answers[what] = f"{done.stdout}\n{done.stderr}".encode()
        return done.stdout

    def pair(self, name: str, domain: str) -> tuple[str, ...]:
        """Write a certificate and a key that is planted; give hsctl's options for them."""
        made = certificate(domain)
        chain, key = self.typed / f"{len(self.given)}.pem", self.typed / f"{len(self.given)}.key"
        chain.write_text(made.chain)
        key.write_text(made.key)
        self.add(Secret.private_key(name, made.key), made.key)
        return "--certificate", str(chain), "--key", str(key)

    def sign_in(self, what: str, password: str) -> str:
        """Try a password at the panel; give the cookie."""
        profile = profile_of(self.cluster.home)
        at = urlsplit(profile["url"])
        context = ssl.create_default_context(cadata=profile["ca"])
        cookie = csrf = ""
        for method in ("GET", "POST"):
            connection = http.client.HTTPSConnection(str(at.hostname), at.port, context=context)
            fields = urlencode({"csrf": csrf, "name": "ann", "password": password})
            headers = {
                "Origin": f"https://{at.netloc}",
                "Cookie": cookie,
                "Content-Type": "application/x-www-form-urlencoded",
            }
            connection.request(method, "/sign-in", fields if csrf else None, headers)
            answer = connection.getresponse()
            page = answer.read()
            connection.close()
            self.answers[f"{what}: {method}"] = b"%d " % answer.status + page
            cookie = (answer.headers["Set-Cookie"] or cookie).partition(";")[0]
            found = re.search(rb'name="csrf" value="([0-9a-f]+)"', page)
            csrf = found[1].decode() if found else ""
        return cookie.partition("=")[2] if answer.status == 303 else ""


def profile_of(home: Path) -> dict[str, Any]:
    document = tomllib.loads((home / "hsctl.toml").read_text())
    return dict(document["profiles"][document["default"]])


def plant(planted: Planted) -> None:
    """Have people use every door that takes a secret."""
    planted.hsctl("account", "account", "add", "acme")
    planted.hsctl("domain", "domain", "add", SITE, "--account", "acme")
    chain = certificates(planted)
    refusals(planted, chain)
    operators(planted)
    boxes(planted)


def certificates(planted: Planted) -> Path:
    """Have keys taken, taken again under the same idempotency key, and tried dry.

    Gives the file of the site's certificate.
    """
    own = planted.pair("the site's key", SITE)
    for what in ("site", "site, asked again"):
        planted.hsctl(what, "site", "set", SITE, *own, "--idempotency-key", "planted")
    shared = planted.pair("the shared certificate's key", f"*.{SERVICE_DOMAIN}")
    planted.hsctl("shared", "ssl", "upload", SERVICE_DOMAIN, *shared)
    other = planted.pair("the key of a dry run", SITE)
    for what, shape in {"previewed": "table", "previewed as JSON": "json"}.items():
        words = ("--dry-run", "--diff", "--output", shape)
        planted.hsctl(what, "site", "set", SITE, *other, *words)
    return Path(own[1])


def refusals(planted: Planted, chain: Path) -> None:
    """Have keys refused: one that is not the certificate's, and one in garbled requests."""
    *_, file = planted.pair("the key of a refused change", SITE)
    words = ("--certificate", str(chain), "--key", file)
    planted.hsctl("refused", "site", "set", SITE, *words, code=1)
    *_, another = planted.pair("the key of a garbled change", SITE)
    certificate, key, other = (Path(each).read_text() for each in (chain, file, another))
    bodies: tuple[dict[str, Any] | bytes, ...] = (
        {"certificate": certificate, "key": key},
        {"certificate": other, "key": [other]},
        {"certificate": certificate, "kee": other},
        other.encode(),
    )
    for number, body in enumerate(bodies):
        answer = planted.broken.api.ask(
            "PATCH", f"/domains/{SITE}/site", body, key=f"planted-{number}"
        )
        assert 400 <= answer.status < 500, answer
        planted.answers[f"refused by the API: {number}"] = json.dumps(answer.body).encode()


def operators(planted: Planted) -> None:
    """Make an operator, who signs in wrongly and well, and gets a token."""
    password, wrong = token_urlsafe(24), token_urlsafe(24)
    planted.add(Secret.text("an operator's password", password), password)
    planted.add(Secret.text("a wrong password", wrong), wrong)
    words = ("reset-password", "ann", "--create", "--password-stdin")
    planted.admin("password", *words, stdin=f"{password}\n")
    assert not planted.sign_in("signing in wrongly", wrong)
    cookie = planted.sign_in("signing in", password)
    assert cookie
    planted.add(Secret.text("a session's cookie", cookie), cookie)
    token = planted.admin("token", "token", "ann", keep=False).strip()
    planted.add(Secret.text("an operator's token", token), token)


def boxes(planted: Planted) -> None:
    """Let a new box in, and try its SSH by a password, where nobody listens."""
    address = ("--ip", "127.0.99.9", "--mask", "32", "--groups", "web")
    invited = json.loads(planted.cluster.good("pserver", "add", "late", *address, "-o", "json"))
    token = invited["result"]["token"]
    planted.add(Secret.text("an enrolment token", token.split(".")[2]), token)
    state, config = planted.cluster.home / "late", planted.typed / "agent.toml"
    state.mkdir()
    plan = Layout(planted.cluster.folder).read_plan()
    assert plan is not None
    config.write_text(f'state = "{state}"\ncontroller = ["{plan.agents}"]\n')
    config.chmod(0o644)
    program = (sys.executable, "-m", "node_agent.main", "enrol", "--config", str(config))
    planted.said("enrolled", *program, "--controller", str(plan.enrolment), "-", stdin=f"{token}\n")
    planted.add(Secret.private_key("the new box's key", (state / "key.pem").read_text()))

    password = token_urlsafe(24)
    planted.add(Secret.text("a password for SSH", password), password)
    door = ("--ssh", "root@127.0.0.1", "--port", "1", "--host-key", f"SHA256:{'a' * 43}")
    words = ("pserver", "enroll", "late", *door, "--password-stdin")
    planted.hsctl("SSH", *words, code=4, stdin=f"{password}\n")


def drawn(planted: Planted) -> None:
    """Note what the cluster drew itself."""
    folder = planted.cluster.folder
    keys = json.loads((folder / "controller" / "secrets.key").read_text())
    (sealing,) = keys["keys"].values()
    planted.add(Secret.shared("the key that seals", sealing))
    planted.add(Secret.shared("the key of digests", keys["digest"]))
    for name, path in {
        "the CA's key": "controller/pki/ca-key.pem",
        "the controller's key": "controller/pki/controller-key.pem",
        **{f"{box}'s key": f"boxes/{box}/state/key.pem" for box in ("ns1", "ns2", "web1")},
    }.items():
        planted.add(Secret.private_key(name, (folder / path).read_text()))
    (fallback,) = (planted.broken.lane_root("web1") / "tls").glob("fallback.*.pem")
    text = fallback.read_text()
    key = text[text.index("-----BEGIN PRIVATE KEY-----") :].partition("-----END")
    planted.add(
        Secret.private_key("the web server's own key", f"{key[0]}-----END PRIVATE KEY-----\n")
    )
    for box in ("ns1", "ns2"):
        conf = (planted.broken.lane_root(box) / "named.conf").read_text()
        control, transfer = re.findall(r'secret "([^"]+)"', conf)
        planted.add(Secret.shared(f"{box}'s control key", control))
        planted.add(Secret.shared("the transfer key", transfer))
    planted.add(Secret.text("the first password", (folder / "first-password").read_text().strip()))
    planted.add(Secret.text("hsctl's token", profile_of(planted.cluster.home)["token"]))
