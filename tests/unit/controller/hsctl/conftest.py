"""hsctl as its own process, talking to a running site with the product's real registry."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from controller.client.profiles import Profile, save
from controller.cluster.ports import FleetPort
from controller.commands import Registry
from controller.registry import EnrolmentInfo, build_registry
from controller.storage.secrets import Secrets
from tests.web_site import TOKEN, Asked, RememberingRunner, Site, Told, running_site


def product_registry() -> Registry:
    """The registry as the product has it; its functions must not be called."""
    return build_registry(
        EnrolmentInfo("panel.test", 8445, "00" * 32),
        time.time,
        fleet=cast("FleetPort", None),
        secrets=cast("Secrets", None),
    )


def change(state: str, *lanes: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": 7, "state": state, "lanes": list(lanes)}


def lane(state: str, message: str = "") -> dict[str, Any]:
    return {
        "box": "ns1",
        "logical_server": "ns1.test",
        "kind": "zone",
        "key": "shop.test",
        "revision": 3,
        "state": state,
        "message": message,
    }


@attrs.frozen
class Ended:
    code: int
    out: str
    err: str


@attrs.define
class Cli:
    """Runs hsctl against the site."""

    site: Site
    config: Path
    runner: RememberingRunner
    environment: dict[str, str] = attrs.field(factory=dict)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "controller.hsctl.main", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HSCTL_CONFIG": str(self.config), **self.environment},
            cwd=Path(__file__).parents[4],
        )

    async def run(self, *arguments: str, stdin: str = "") -> Ended:
        def work() -> Ended:
            process = self.start(*arguments)
            out, err = process.communicate(stdin, timeout=60)
            return Ended(process.returncode, out, err)

        return await deferToThread(work)

    def answers(self, result: Any, state: Mapping[str, Any] | None = None) -> None:
        """Have writes answer ``result``, and their change be in ``state``."""

        def answer(asked: Asked) -> Told:
            if asked.name == "change.show":
                return Told(dict(state or change("done")))
            return Told(
                result, None if asked.dry_run else 7, {"rows": []} if asked.dry_run else None
            )

        self.runner.answer = answer

    @property
    def written(self) -> list[Asked]:
        return [asked for asked in self.runner.asked if asked.name != "change.show"]


@pytest_twisted.async_yield_fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    runner = RememberingRunner()
    async with running_site(tmp_path, registry=product_registry(), runner=runner) as site:
        config = tmp_path / "hsctl.toml"
        ca = site.authority.certificate_pem.decode()
        save(Profile("test", f"https://127.0.0.1:{site.port}", ca, TOKEN), path=config)
        yield Cli(site, config, runner)


@pytest.fixture
def registry() -> Registry:
    return product_registry()
