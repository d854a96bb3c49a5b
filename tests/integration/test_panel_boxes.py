"""The panel's pages of a box, without scripts: settings, intent, retirement, enrolment over SSH."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.bootstrap.job import SshJob
from controller.cluster.boxes.intents import CONDITIONS, INTENTS
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandRunner
from tests.integration.model import NOW, OPERATOR, Model
from tests.panel_site import PanelSite, panel_site

KEY = "SHA256:" + "k" * 43


@attrs.define
class NotedSsh:
    """Notes what it is asked to begin."""

    jobs: list[SshJob] = attrs.field(factory=list)

    def begin(self, job: SshJob) -> None:
        self.jobs.append(job)


@attrs.define
class Panel:
    site: PanelSite
    model: Model
    ssh: NotedSsh


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[Panel]:
    ssh = NotedSsh()
    registry = build_registry(
        EnrolmentInfo("198.51.100.99", 8445, "ab" * 32),
        lambda: float(NOW),
        fleet=model.fleet,
        secrets=model.secrets,
        ssh=ssh,
    )
    ssh_model = attrs.evolve(
        model, registry=registry, runner=CommandRunner(model.database, registry)
    )
    async with panel_site(ssh_model, tmp_path) as running:
        yield Panel(running, ssh_model, ssh)


async def box(panel: Panel, name: str = "web9") -> None:
    await panel.model.box(name, 9, ("web",))


@ensureDeferred
async def test_r238_r243_a_box_is_edited_by_a_form(panel: Panel) -> None:
    await box(panel)
    visitor = await panel.site.signed_in()
    page = await visitor.text("/boxes/box/web9/settings")
    assert 'value="198.51.100.9"' in page
    assert 'value="web" checked' in page
    fields: dict[str, str | list[str]] = {
        "ip": "203.0.113.7",
        "mask": "25",
        "os_family": "freebsd",
        "groups": ["web", "mysql"],
        "description": "Hall 3",
    }
    reply = await visitor.send("/boxes/box/web9/settings", fields)
    assert reply.status == 303, reply.body.decode()
    page = await visitor.text("/boxes/box/web9")
    assert "203.0.113.7/25" in page
    assert "web, mysql" in page
    assert "Hall 3" in page


@ensureDeferred
async def test_r244_a_group_in_use_is_refused_at_its_field(panel: Panel) -> None:
    await box(panel)
    await panel.model.server("web9", "web", "apache")
    visitor = await panel.site.signed_in()
    await visitor.text("/boxes/box/web9/settings")
    fields = {"ip": "198.51.100.9", "mask": "24", "os_family": "linux", "groups": "dns"}
    reply = await visitor.send("/boxes/box/web9/settings", fields)
    assert reply.status == 409
    assert "does not have the server group web" in reply.body.decode()
    assert await panel.model.rows("SELECT groups FROM box") == [(["web"],)]


@ensureDeferred
async def test_every_intent_stands_in_the_form_with_its_meaning_and_is_set(panel: Panel) -> None:
    await box(panel)
    visitor = await panel.site.signed_in()
    page = await visitor.text("/boxes/box/web9/settings")
    for intent in INTENTS:
        assert f'value="{intent.word}"' in page
        assert intent.meaning.replace("'", "&#39;") in page
    reply = await visitor.send("/boxes/box/web9/intent", {"intent": "maintenance"})
    assert reply.status == 303
    page = await visitor.text("/boxes/box/web9")
    assert "in maintenance: changes wait, and its alarms are mute" in page
    # Mute: home does not call for a look at it.
    assert "all is well" in await visitor.text("/")


@ensureDeferred
async def test_r248_a_condition_stands_with_its_meaning(panel: Panel) -> None:
    await box(panel)
    visitor = await panel.site.signed_in()
    for path in ("/boxes", "/boxes/box/web9"):
        assert f'title="{CONDITIONS["never connected"]}"' in await visitor.text(path)


@ensureDeferred
async def test_a_box_that_is_gone_is_retired_and_what_was_on_it_listed(panel: Panel) -> None:
    await panel.model.cluster()
    await panel.model.box("spare", 9, ("web",))
    await panel.model.write("UPDATE box SET first_seen_at = now()")
    visitor = await panel.site.signed_in()
    await visitor.text("/boxes/box/web1/retire")
    reply = await visitor.send("/boxes/box/web1/retire")
    assert reply.status == 422
    assert "gone for good" in reply.body.decode()
    reply = await visitor.send("/boxes/box/web1/retire", {"box_is_gone": "yes"})
    page = reply.body.decode()
    assert reply.status == 200, page
    assert "web1.example.net" in page
    assert "/boxes/box/spare" in page
    assert "This box was retired" in await visitor.text("/boxes/box/web1")


@ensureDeferred
async def test_a14_a_box_is_enrolled_over_ssh_by_a_form_that_shows_no_password_again(
    panel: Panel,
) -> None:
    await box(panel)
    visitor = await panel.site.signed_in()
    place = "/boxes/box/web9/ssh"
    assert 'value="root@198.51.100.9"' in await visitor.text(place)
    secret = "  pass & word  "
    fields = {"ssh": "root@198.51.100.9", "port": "x", "password": secret, "host_key": KEY}
    reply = await visitor.send(place, fields)
    assert reply.status == 422
    assert "pass &" not in reply.body.decode()
    reply = await visitor.send(place, {**fields, "port": "2222", "anew": "yes"})
    assert (reply.status, reply.headers["Location"]) == (303, place)
    (job,) = panel.ssh.jobs
    assert (job.password, job.port, job.host_key, job.anew) == (secret, 2222, KEY, True)
    page = await visitor.text(place)
    assert "under way" in page
    assert "pass &" not in page
    again = await visitor.send(place, {**fields, "port": "2222"})
    assert again.status == 409
    assert "under way" in again.body.decode()


@ensureDeferred
async def test_s23_a_preview_keeps_no_password_and_leads_back_alone(panel: Panel) -> None:
    await box(panel)
    visitor = await panel.site.signed_in()
    secret = "pass-word-7"
    fields = {"ssh": "root@192.0.2.1", "port": "22", "password": secret, "host_key": KEY}
    reply = await visitor.send("/boxes/box/web9/ssh", {**fields, "preview": "1"})
    page = reply.body.decode()
    assert reply.status == 200, page
    assert secret not in page
    assert "type it again" in page
    assert "Do it" not in page
    assert panel.ssh.jobs == []
    assert await panel.model.rows("SELECT 1 FROM ssh_enrolment") == []


@ensureDeferred
async def test_a_host_key_is_shown_and_confirmed_as_the_box_showed_it(panel: Panel) -> None:
    await box(panel)
    visitor = await panel.site.signed_in()
    place = "/boxes/box/web9/ssh"
    await visitor.text(place)
    fields = {"ssh": "root@192.0.2.1", "port": "22", "password": "x"}
    assert (await visitor.send(place, fields)).status == 303
    await panel.model.write(
        """UPDATE ssh_enrolment SET state = 'failed', reason = 'host-key-unknown',
                  message = 'the host key is not known', host_key = %s""",
        (KEY,),
    )
    page = await visitor.text(place)
    assert KEY in page
    assert f'value="{KEY}"' not in page
    page = await visitor.text(f"{place}?confirmed=1&host_key=SHA256:other")
    assert f'value="{KEY}"' in page
    assert 'value="root@192.0.2.1"' in page


@ensureDeferred
async def test_a_box_that_is_not_linux_gets_a_line_and_no_form_for_ssh(panel: Panel) -> None:
    await panel.model.ask(
        "pserver.add", name="w", ip="192.0.2.1", mask="24", groups=("windows",), os_family="windows"
    )
    visitor = await panel.site.signed_in()
    assert 'type="password"' not in await visitor.text("/boxes/box/w/ssh")
    reply = await visitor.send("/boxes/box/w/enrolment")
    assert "PowerShell" in reply.body.decode()


@ensureDeferred
async def test_m4_no_digest_of_the_password_is_kept_for_replays(panel: Panel) -> None:
    await box(panel)
    for password in ("first", "second"):
        # Were the password in the digest, the second would be another request.
        await panel.model.run_as(
            OPERATOR,
            "pserver.enroll",
            idempotency_key="key",
            name="web9",
            ssh="root@192.0.2.1",
            password=password,
        )
    assert [job.password for job in panel.ssh.jobs] == ["first"]
    ((request,),) = await panel.model.rows(
        "SELECT request FROM change WHERE command = 'pserver.enroll'"
    )
    assert request["password"] == "(secret)"
