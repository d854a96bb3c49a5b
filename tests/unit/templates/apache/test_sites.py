"""What a site comes to, as plans compared by equality."""

from pathlib import PurePosixPath

import pytest

from templates.apache.objects import (
    ApacheSettings,
    ServerSpec,
    SiteSettings,
    SiteSpec,
    site_unit,
)
from templates.apache.service import plan
from templates.effects import (
    CheckProgram,
    MakeDirectory,
    ProbeHttp,
    RemovePath,
    Symlink,
    UnitPlan,
    WriteFile,
)
from templates.objects import ObjectId
from templates.service_type import Endpoint, LaneContext, PlanRefusedError, Unit
from tests.certificates import certificate

CONTEXT = LaneContext(
    lane="lane",
    server=ServerSpec(
        name="web1",
        endpoints=(Endpoint(address="192.0.2.1", port=80),),
        settings=ApacheSettings(tls_port=443),
        fallback=certificate("neutral.invalid"),
    ),
    root=PurePosixPath("/srv/lane"),
    daemon_user="www-data",
    modules=PurePosixPath("/usr/lib/apache2/modules"),
)
PLAIN = SiteSpec(account=7, site="s1")
OWN = SiteSpec(account=7, site="s1", settings=SiteSettings(indexes=True))
HEALTH = ProbeHttp("health.heliosphere.invalid", statuses=(204,))


def change(before: dict[str, SiteSpec], after: dict[str, SiteSpec]) -> UnitPlan:
    def objects(sites: dict[str, SiteSpec]) -> dict[ObjectId, SiteSpec]:
        return {ObjectId("site", domain): spec for domain, spec in sites.items()}

    return plan(CONTEXT, Unit("unit", objects(before)), Unit("unit", objects(after)))


def paths(made: UnitPlan) -> list[tuple[str, str]]:
    return [(type(effect).__name__, effect.path) for effect in made.files]


def test_plain_site_is_a_directory_and_a_link_for_each_name() -> None:
    made = change({}, {"shop.test": SiteSpec(account=7, site="s1", aliases=("other.test",))})
    assert made.files[0] == MakeDirectory("sites/s1/htdocs")
    page = made.files[1]
    assert isinstance(page, WriteFile)
    assert (page.path, page.only_if_absent) == ("sites/s1/htdocs/index.html", True)
    assert made.files[2:] == tuple(
        Symlink(f"vhosts/{name}", "../sites/s1/htdocs")
        for name in ("shop.test", "www.shop.test", "other.test")
    )
    assert (made.checks, made.scratch, made.reload, made.restart) == ((), (), False, False)
    assert made.probes == (ProbeHttp("shop.test", statuses=(200, 301, 302, 403)),)


def test_site_without_www_leaves_that_name_to_another_site() -> None:
    made = change({}, {"shop.test": SiteSpec(account=7, site="s1", www=False)})
    assert ("Symlink", "vhosts/www.shop.test") not in paths(made)
    assert ("Symlink", "vhosts/www.www.shop.test") not in paths(
        change({}, {"www.shop.test": PLAIN})
    )


def test_unchanged_sites_come_to_nothing() -> None:
    sites = {
        "shop.test": PLAIN,
        "own.test": SiteSpec(account=7, site="s2", settings=SiteSettings()),
    }
    assert change(sites, sites) == UnitPlan(unit="unit")


def test_site_with_settings_is_checked_alone_before_one_reload() -> None:
    made = change({}, {"own.test": OWN})
    assert paths(made)[-1] == ("WriteFile", "accounts/7.conf")
    assert made.checks == (CheckProgram("apache2", ("-t", "-f", "/srv/lane/check/7.conf")),)
    assert [effect.path for effect in made.scratch] == ["check/7.conf", "check/7.sites"]
    assert made.reload
    assert made.probes[0] == HEALTH


@pytest.mark.parametrize(("before", "after"), [(PLAIN, OWN), (OWN, PLAIN)])
def test_going_from_one_kind_to_the_other_removes_no_link(
    before: SiteSpec, after: SiteSpec
) -> None:
    assert site_unit("shop.test", before) != site_unit("shop.test", after)
    made = change({"shop.test": before}, {"shop.test": after})
    removed = [effect for effect in (*made.files, *made.retire) if isinstance(effect, RemovePath)]
    gone = [RemovePath("accounts/7.conf")] if after is PLAIN else []
    assert removed == gone
    assert made.reload


def test_site_that_moves_to_another_account_changes_both_files() -> None:
    moved = SiteSpec(account=8, site="s1", settings=SiteSettings(indexes=True))
    made = change({"own.test": OWN}, {"own.test": moved})
    assert [path for _, path in paths(made)][-2:] == ["accounts/7.conf", "accounts/8.conf"]
    assert len(made.checks) == 1


def test_removal_takes_links_of_this_site_only_and_no_content() -> None:
    made = change({"shop.test": PLAIN}, {})
    assert made == UnitPlan(
        unit="unit",
        files=tuple(
            RemovePath(f"vhosts/{name}", target="../sites/s1/htdocs")
            for name in ("shop.test", "www.shop.test")
        ),
    )


def test_removal_of_what_later_rules_refuse_still_works() -> None:
    strange = SiteSpec(account=7, site="s1", settings=SiteSettings(index=("a/b",)))
    assert change({"under_score.test": strange}, {}).reload


@pytest.mark.parametrize("length", [218, 219, 253])
def test_a_certificate_of_the_longest_names_has_a_file(length: int) -> None:
    domain = ".".join(["n" * 49] * 4 + ["n" * (length - 200)])
    made = change({}, {domain: SiteSpec(account=7, site="s1", certificate=certificate("own.test"))})
    (path,) = (path for kind, path in paths(made) if path.startswith("tls/"))
    assert len(path.removeprefix("tls/")) <= 255
    assert path.startswith(f"tls/{domain}." if length == 218 else "tls/s1.")
    written = {file.path: file for file in made.files if isinstance(file, WriteFile)}
    assert path.encode() in written["accounts/7.conf"].content


def test_new_certificate_is_a_new_file_and_the_old_one_goes_last() -> None:
    old = SiteSpec(account=7, site="s1", certificate=certificate("own.test"))
    new = SiteSpec(account=7, site="s1", certificate=certificate("own.test"))
    made = change({"own.test": old}, {"own.test": new})
    written = [effect for effect in made.files if isinstance(effect, WriteFile)]
    pem, account = written[-2:]
    assert (pem.mode, pem.owner) == (0o600, "agent")
    assert f'SSLCertificateFile "{pem.path}"'.encode() in account.content
    (retired,) = made.retire
    assert retired.path.startswith("tls/own.test.")
    assert retired.path != pem.path
    shown = made.probes[-1]
    assert isinstance(shown, ProbeHttp)
    assert (shown.tls, shown.port, len(shown.certificate)) == (True, 443, 64)


def test_two_sites_of_one_plan_cannot_share_a_name() -> None:
    with pytest.raises(PlanRefusedError, match=r"'www.shop.test' belongs to 'shop.test'"):
        change({}, {"shop.test": OWN, "www.shop.test": OWN})


@pytest.mark.parametrize(
    "domain",
    ["test..com", "-a.test", "a-.test", "a" * 64 + ".test", "a." * 130 + "test", "A.test",
     "1.2.3.4",
     "localhost", "b\u00fccher.test", "health.heliosphere.invalid", "a.test.", "*.a.test"],
)  # fmt: skip
def test_what_is_no_host_name_is_refused(domain: str) -> None:
    with pytest.raises(PlanRefusedError, match="site "):
        change({}, {domain: PLAIN})


def test_site_directory_cannot_leave_its_place() -> None:
    for site in ("..", "../s2", "a/b", "", ".hidden", "a" * 65):
        with pytest.raises(PlanRefusedError):
            change({}, {"shop.test": SiteSpec(account=7, site=site)})
    with pytest.raises(PlanRefusedError):
        change({}, {"shop.test": SiteSpec(account=-1, site="s1")})


def test_index_documents_are_file_names() -> None:
    for name in ("a/b", "/cgi-bin/x", "..", ".htpasswd", "disabled", "Disabled", "", "a b"):
        settings = SiteSettings(index=("index.html", name))
        with pytest.raises(PlanRefusedError, match="index document"):
            change({}, {"a.test": SiteSpec(account=7, site="s1", settings=settings)})


def test_redirect_takes_urls_only() -> None:
    for url in ("https://a.test", "http://a.test:8080/x/y?a=b&c=%20#top", "http://[2001:db8::1]/"):
        settings = SiteSettings(redirect_to=url)
        assert change({}, {"a.test": SiteSpec(account=7, site="s1", settings=settings)}).reload
    for url in ("a.test", "ftp://a.test", "http://u:p@a.test/", "http://a.test/%zz", "http://a/$1"):
        settings = SiteSettings(redirect_to=url)
        with pytest.raises(PlanRefusedError, match="redirect"):
            change({}, {"a.test": SiteSpec(account=7, site="s1", settings=settings)})
