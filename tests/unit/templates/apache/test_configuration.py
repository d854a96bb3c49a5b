"""What the logical server itself comes to."""

from pathlib import PurePosixPath
from typing import Any

import attrs
import msgspec
import pytest

from templates.apache.certificates import load_pair
from templates.apache.objects import ApacheSettings, ServerSpec, SharedCertificate
from templates.apache.service import APACHE, plan
from templates.effects import ProbeHttp, UnitPlan, WriteFile
from templates.objects import encode_spec
from templates.service_type import SERVER_ID, Endpoint, LaneContext, PlanRefusedError, Unit
from tests.certificates import certificate

SPEC = ServerSpec(
    name="web1",
    endpoints=(
        Endpoint(address="192.0.2.1", port=80),
        Endpoint(address="2001:db8::1", port=80),
        Endpoint(address="192.0.2.2", port=8080),
    ),
    settings=ApacheSettings(),
)
CONTEXT = LaneContext(
    lane="lane",
    server=SPEC,
    root=PurePosixPath("/srv/lane"),
    daemon_user=None,
    modules=PurePosixPath("/m"),
)


def made(spec: ServerSpec = SPEC, before: ServerSpec | None = None, **context: Any) -> UnitPlan:
    old = {SERVER_ID: before} if before else {}
    return plan(
        attrs.evolve(CONTEXT, server=spec, **context),
        Unit("server", old),
        Unit("server", {SERVER_ID: spec}),
    )


def text(unit: UnitPlan) -> str:
    (main,) = (
        effect
        for effect in unit.files
        if isinstance(effect, WriteFile) and effect.path == "apache2.conf"
    )
    return main.content.decode()


def with_settings(**fields: Any) -> ServerSpec:
    return ServerSpec(
        name="web1",
        endpoints=SPEC.endpoints,
        settings=ApacheSettings(**fields),
        fallback=certificate("neutral.invalid"),
    )


def test_every_endpoint_is_listened_on_and_named_once() -> None:
    conf = text(made())
    assert "Listen 192.0.2.1:80 http\n" in conf
    assert "Listen [2001:db8::1]:80 http\n" in conf
    assert "Listen 192.0.2.2:8080 http\n" in conf
    assert 'Define HS_HTTP "*:80 *:8080"\n' in conf


def test_mass_virtual_host_is_the_first_then_accounts_and_an_operators_own_comes_last() -> None:
    conf = text(made(with_settings(tls_port=443)))
    places = [
        conf.index(part)
        for part in (
            "VirtualDocumentRoot",
            "RedirectMatch 204",
            'IncludeOptional "run/taken-up.conf"',
            'IncludeOptional "accounts/*.conf"',
            'IncludeOptional "overrides/server/*.conf"',
        )
    ]
    assert places == sorted(places)
    assert conf.rstrip().endswith('IncludeOptional "overrides/server/*.conf"')


def test_user_stands_only_where_the_agent_gives_one() -> None:
    assert "\nUser" not in text(made())
    conf = text(made(daemon_user="www-data"))
    assert 'User "www-data"\nGroup "www-data"\n' in conf


def test_tls_is_loaded_only_where_it_has_a_port_and_a_neutral_certificate() -> None:
    assert "ssl" not in text(made()).lower()
    unit = made(with_settings(tls_port=443))
    conf = text(unit)
    assert "Listen 192.0.2.2:443 https\n" in conf
    assert 'SSLCertificateFile "tls/fallback.' in conf
    assert isinstance(unit.probes[-1], ProbeHttp)
    assert unit.probes[-1].port == 443
    bare = msgspec.structs.replace(with_settings(tls_port=443), fallback=None)
    with pytest.raises(PlanRefusedError, match="no neutral certificate"):
        made(bare)
    with pytest.raises(PlanRefusedError, match="port of plain HTTP too"):
        made(with_settings(tls_port=80))


def test_renewed_neutral_certificate_retires_the_old_file() -> None:
    old, new = with_settings(tls_port=443), with_settings(tls_port=443)
    unit = made(new, before=old)
    assert len(unit.retire) == 1
    assert unit.retire[0].path not in text(unit)
    assert len(made(with_settings(), before=old).retire) == 1
    assert made(old, before=old).retire == ()


@pytest.mark.parametrize(
    ("workers", "threads", "total"), [(10, 10, 10), (49, 49, 49),
     (60, 30, 60), (151, 25, 150), (20000, 25, 20000)]
)  # fmt: skip
def test_workers_are_never_more_than_was_said(workers: int, threads: int, total: int) -> None:
    conf = text(made(with_settings(max_request_workers=workers)))
    assert f"ThreadsPerChild {threads}\n" in conf
    assert f"MaxRequestWorkers {total}\n" in conf


def test_server_admin_shows_on_error_pages() -> None:
    assert "ServerSignature Off\n" in text(made())
    conf = text(made(with_settings(server_admin="web@admin.test")))
    assert 'ServerAdmin "web@admin.test"\nServerSignature EMail\n' in conf
    with pytest.raises(PlanRefusedError, match="server_admin"):
        made(with_settings(server_admin='x"@y.test'))


def test_m5_hosting_options_reach_the_configuration_and_defaults_leave_no_trace() -> None:
    plain = text(made())
    assert not any(word in plain for word in ("HS_HOME", "HS_WEBSHELL", "miva"))
    shown = text(made(with_settings(miva="mvc", home_root="/srv/home", webshell="webshell5")))
    assert 'Define HS_HOME "/srv/home"\n' in shown
    assert 'Define HS_WEBSHELL "webshell5"\n' in shown
    assert "AddType application/x-miva-merchant .mvc\n" in shown


def test_a_setting_at_its_default_is_not_sent_to_the_box() -> None:
    """An agent that does not know a setting yet can go on reading its server."""
    assert msgspec.msgpack.decode(encode_spec(ApacheSettings(timeout=30))) == {"timeout": 30}


def test_percent_in_the_lanes_directory_is_no_place_holder() -> None:
    conf = text(made(root=PurePosixPath("/srv/100%0/lane")))
    assert 'VirtualDocumentRoot "/srv/100%%0/lane/vhosts/%0"' in conf


@pytest.mark.parametrize("root", ["/srv/*", "/srv/a[b]", "/srv/?"])
def test_pattern_in_the_lanes_directory_is_refused(root: str) -> None:
    with pytest.raises(PlanRefusedError, match="directory"):
        made(root=PurePosixPath(root))


def test_box_without_modules_and_server_without_address_are_refused() -> None:
    with pytest.raises(PlanRefusedError, match="modules"):
        made(modules=None)
    with pytest.raises(PlanRefusedError, match="no address"):
        made(msgspec.structs.replace(SPEC, endpoints=()))
    with pytest.raises(PlanRefusedError, match="port 0"):
        made(msgspec.structs.replace(SPEC, endpoints=(Endpoint(address="192.0.2.1", port=0),)))


def test_removal_of_the_server_touches_nothing() -> None:
    assert plan(CONTEXT, Unit("server", {SERVER_ID: SPEC}), Unit("server", {})) == UnitPlan(
        unit="server"
    )


def test_daemon_starts_from_the_lanes_own_file() -> None:
    assert APACHE.daemon.start(CONTEXT) == ("-k", "start", "-f", "/srv/lane/apache2.conf")
    assert APACHE.daemon.check(CONTEXT).arguments == ("-t", "-f", "/srv/lane/apache2.conf")
    assert APACHE.daemon.baseline(CONTEXT) == (
        ProbeHttp("health.heliosphere.invalid", statuses=(204,)),
    )


PAIR = certificate("*.shared.test")


def sharing(*domains: str, tls_port: int = 443) -> ServerSpec:
    return msgspec.structs.replace(
        with_settings(tls_port=tls_port),
        shared=tuple(SharedCertificate(domain=name, certificate=PAIR) for name in domains),
    )


def test_r278_a_shared_certificate_is_one_more_mass_virtual_host_after_the_sites() -> None:
    unit = made(sharing("shared.test"))
    conf = text(unit)
    assert 'Define HS_SHARED_shared.test "tls/shared_shared.test.' in conf
    assert 'ServerAlias "*.shared.test"' in conf
    accounts = conf.index('IncludeOptional "accounts/*.conf"')
    assert conf.index("Define HS_SHARED_") < accounts < conf.index('ServerAlias "*.shared.test"')
    assert conf.index('ServerAlias "*.shared.test"') < conf.index('"overrides/server/*.conf"')
    (probe,) = (
        each
        for each in unit.probes
        if isinstance(each, ProbeHttp) and each.host == "shared.test.heliosphere.invalid"
    )
    assert probe.certificate == load_pair(PAIR).fingerprint
    (scratch,) = unit.scratch
    assert b"tls/" not in scratch.content
    assert b'ServerAlias "*.shared.test"' in scratch.content


def test_a_server_without_tls_shares_nothing() -> None:
    assert "shared" not in text(made(sharing("shared.test", tls_port=0)))


def test_the_nearest_of_two_shared_domains_comes_first() -> None:
    conf = text(made(sharing("shared.test", "eu.shared.test")))
    assert conf.index('"*.eu.shared.test"') < conf.index('"*.shared.test"')


@pytest.mark.parametrize(
    ("domains", "words"),
    [
        (("shared.test", "shared.test"), "two certificates"),
        (("Shared.test",), "not a host name"),
        pytest.param(("*.shared.test",), "not a host name", id="wildcard"),
        (('shared.test" x',), "not a host name"),
        (("shared.test\nServerAlias x",), "not a host name"),
        (("heliosphere.invalid",), "the server's own"),
        (("test",), "not a host name"),
        ((".".join(["a" * 60] * 3),), "longer than 128"),
    ],
)
def test_a_domain_that_cannot_be_shared_is_refused(domains: tuple[str, ...], words: str) -> None:
    with pytest.raises(PlanRefusedError, match=words):
        made(sharing(*domains))


def test_a_server_that_shares_nothing_is_sent_as_before() -> None:
    assert b"shared" not in encode_spec(with_settings(tls_port=443))
    assert b"shared" in encode_spec(sharing("shared.test"))


def test_certificates_that_are_read_no_more_go() -> None:
    before = sharing("shared.test", "eu.shared.test")
    after = msgspec.structs.replace(before, shared=before.shared[:1])
    (gone,) = made(after, before).retire
    assert gone.path.startswith("tls/shared_eu.shared.test.")
    assert {each.path[:11] for each in made(SPEC, before).retire} == {"tls/fallbac", "tls/shared_"}
