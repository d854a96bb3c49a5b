"""Rows on types of servers, and on those whose daemons are still to come (R247, R311, A8)."""

from pytest_twisted import ensureDeferred

from node_agent.wire.questions import Package, Packages
from tests.integration.applying import applied
from tests.integration.model import Model
from tests.integration.test_rollouts import WEB, changed, farm, step

pytest_plugins = ("tests.integration.model",)


@ensureDeferred
async def test_r247_the_settings_of_all_unix_web_boxes_are_one_change_and_the_version_is_shown(
    model: Model,
) -> None:
    await farm(model)
    await model.ask(
        "pserver.add",
        name="win1",
        ip="198.51.100.60",
        mask="24",
        groups=("windows",),
        os_family="windows",
    )
    await model.server("win1", "windows", "iis")
    begun = await model.ask("rollout.begin", type="apache", settings={"timeout": 45})
    while await step(model) == "moved":
        await applied(model)
    assert (await model.ask("rollout.show", id=begun["rollout"]))["state"] == "done"
    assert await changed(model) == WEB
    # One Apache is served, 2.4: which build a box has is what its packages say.
    apache = Package("apache2", "2.4.62-1~deb12u2")
    model.fleet.answers = [Packages(packages=(apache,), more=False)]
    told = await model.ask("pserver.packages", name="web1", search="apache2")
    assert told["items"] == [{"name": "apache2", "version": "2.4.62-1~deb12u2"}]
    options = (await model.ask("lserver.show", name="web1.example.net"))["options"]
    assert not [option for option in options if "version" in option["name"]]


@ensureDeferred
async def test_r311_a_mail_server_goes_when_its_addresses_are_gone(model: Model) -> None:
    await model.cluster()
    await model.box("mail1", 9, ("mail",))
    await model.server("mail1", "mail", "qmail")
    types = {"192.0.2.91": "outgoing", "192.0.2.92": "bouncing", "192.0.2.90": "service"}
    for first, type_ in types.items():
        await model.ask("ip.add", lserver="mail1.example.net", first=first, mask="24", type=type_)
    for ip in types:
        error = await model.refused("lserver.delete", name="mail1.example.net")
        assert error.id == "lserver.in-use"
        await model.ask("ip.delete", ip=ip)
    await model.ask("lserver.delete", name="mail1.example.net")


@ensureDeferred
async def test_a8_the_default_shared_ip_is_advice_while_no_reseller_needs_it(model: Model) -> None:
    await model.cluster()
    await model.ask(
        "ip.add", lserver="ns1.example.net", first="192.0.2.80", mask="24", type="dns-reseller"
    )
    await model.ask("ip.edit", ip="192.0.2.3", tag=9)
    (finding,) = (await model.ask("health.list", rule="ip.shared.default-missing"))["items"]
    assert (finding["name"], finding["severity"]) == ("web1.example.net", "warn")
    assert {"R336", "A8"} <= set(finding["sources"])
    # Whoever adds resellers has their DNS aliases refused without it.
    assert not [command for command in model.registry if command.name.startswith("reseller")]
