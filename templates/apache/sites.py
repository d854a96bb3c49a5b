"""Sites: links for all of them, one file for each account's sites with settings of their own.

A site is always a directory of its own and one link for each name; the mass virtual host serves it
by these alone. Settings or a certificate add a virtual host for the same names. The links stay, so
a site that goes from the one kind to the other is answered at every instant.
"""

from collections.abc import Iterable, Mapping

import attrs

from templates.apache.certificates import KeyPair, file_digest, load_pair
from templates.apache.configuration import BASELINE, check_text, root
from templates.apache.names import (
    SHARED_LENGTH,
    document,
    host_name,
    redirect_url,
    site_directory,
)
from templates.apache.objects import SiteSpec, stands_apart
from templates.effects import (
    CheckProgram,
    FileEffect,
    MakeDirectory,
    ProbeHttp,
    RemovePath,
    Symlink,
    UnitPlan,
    WriteFile,
)
from templates.objects import ObjectId
from templates.overrides import FOLDER
from templates.render import render
from templates.service_type import LaneContext, PlanRefusedError, Unit

_ANSWERS = (200, 301, 302, 403)
"""What a site may answer to ``/``: its content is the customer's. An unknown name gets 404."""


@attrs.frozen
class Site:
    """One site, and how its parts are named. What stands here is checked by `_check`."""

    domain: str
    spec: SiteSpec

    @property
    def own(self) -> bool:
        """Tell whether the site has a virtual host of its own."""
        return stands_apart(self.spec)

    @property
    def names(self) -> tuple[str, ...]:
        """Give the domain, ``www.`` before it where possible, and the aliases, each once."""
        www = f"www.{self.domain}"
        wanted = self.spec.www and not self.domain.startswith("www.") and len(www) <= 253
        names = (self.domain, *((www,) if wanted else ()), *self.spec.aliases)
        return tuple(dict.fromkeys(names))

    @property
    def content(self) -> str:
        """Give the directory of the site's content. Nothing here ever removes it."""
        return f"sites/{self.spec.site}/htdocs"

    @property
    def link_target(self) -> str:
        """Give where the links of the site's names point."""
        return f"../{self.content}"

    @property
    def shared_by(self) -> str:
        """Give the domain whose shared certificate is for this site, if there is one; or nothing.

        It is the one directly above: a wildcard stands for one label (RFC 6125, 6.4.3).
        """
        above = self.domain.partition(".")[2]
        return above if "." in above and len(above) <= SHARED_LENGTH else ""

    @property
    def certificate_file(self) -> str:
        """Name the file of the certificate: a new certificate is a new file. Empty without one.

        A domain whose name leaves no room in that of a file (255 bytes) goes by its site's.
        """
        certificate = self.spec.certificate
        if certificate is None:
            return ""
        end = f".{file_digest(certificate)}.pem"
        name = self.domain if len(self.domain) + len(end) <= 255 else self.spec.site
        return f"tls/{name}{end}"


def plan_sites(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan one plain site, or an account's sites, or the move of sites between such units.

    Only what changed is checked: what is applied already must stay removable by every later rule.
    """
    old = _sites(before.objects)
    new = _sites(after.objects)
    changed = {site: _check(site) for domain, site in new.items() if site != old.get(domain)}
    _refuse_shared_names(new.values())
    accounts = _touched_accounts(context, old.values(), new.values())
    written = {account: sites for account, sites in accounts.items() if sites}
    files: list[FileEffect] = []
    for site, pair in changed.items():
        files += _content(site)
        if pair is not None:
            files.append(WriteFile(site.certificate_file, pair.pem, mode=0o600))
    files += [_account_file(context, account, sites) for account, sites in accounts.items()]
    files += _lost_names(old, new)
    return UnitPlan(
        unit=after.name,
        files=tuple(files),
        scratch=tuple(effect for item in written.items() for effect in _scratch(context, *item)),
        checks=tuple(
            CheckProgram("apache2", ("-t", "-f", str(context.root / f"check/{account}.conf")))
            for account in written
        ),
        reload=bool(accounts),
        probes=_probes(context, changed, reload=bool(accounts)),
        retire=_unused_certificates(old.values(), new.values()),
    )


def _sites(objects: Mapping[ObjectId, SiteSpec]) -> dict[str, Site]:
    return {object_id.key: Site(object_id.key, spec) for object_id, spec in objects.items()}


def _check(site: Site) -> KeyPair | None:
    spec = site.spec
    try:
        host_name(site.domain)
        for name in site.names:
            host_name(name)
        site_directory(spec.site)
        if spec.account < 0:
            raise PlanRefusedError(f"account {spec.account} is not a number from 0")
        if spec.settings is not None:
            for name in spec.settings.index:
                document(name)
            if spec.settings.redirect_to:
                redirect_url(spec.settings.redirect_to)
        return load_pair(spec.certificate) if spec.certificate else None
    except PlanRefusedError as error:
        raise PlanRefusedError(f"site {site.domain!a}: {error}") from None


def _refuse_shared_names(sites: Iterable[Site]) -> None:
    owners: dict[str, str] = {}
    for site in sites:
        for name in site.names:
            owner = owners.setdefault(name, site.domain)
            if owner != site.domain:
                raise PlanRefusedError(f"site {site.domain!a}: {name!a} belongs to {owner!a}")


def _content(site: Site) -> list[FileEffect]:
    page = render("apache/index.html.j2", name=site.domain)
    return [
        MakeDirectory(site.content),
        WriteFile(f"{site.content}/index.html", page.encode(), only_if_absent=True),
        *(Symlink(f"vhosts/{name}", site.link_target) for name in site.names),
    ]


def _lost_names(old: Mapping[str, Site], new: Mapping[str, Site]) -> list[FileEffect]:
    kept = {name for site in new.values() for name in site.names}
    return [
        RemovePath(f"vhosts/{name}", target=site.link_target)
        for site in old.values()
        for name in site.names
        if name not in kept
    ]


def _touched_accounts(
    context: LaneContext, old: Iterable[Site], new: Iterable[Site]
) -> dict[int, list[Site]]:
    before = _own_by_account(old)
    after = _own_by_account(new)
    return {
        account: after.get(account, [])
        for account in sorted(before.keys() | after.keys())
        if _account_text(context, before.get(account, []))
        != _account_text(context, after.get(account, []))
    }


def _own_by_account(sites: Iterable[Site]) -> dict[int, list[Site]]:
    grouped: dict[int, list[Site]] = {}
    for site in sorted(sites, key=lambda site: site.domain):
        if site.own:
            grouped.setdefault(site.spec.account, []).append(site)
    return grouped


def _account_file(context: LaneContext, account: int, sites: list[Site]) -> FileEffect:
    path = f"accounts/{account}.conf"
    if not sites:
        return RemovePath(path)
    return WriteFile(path, _account_text(context, sites).encode())


def _scratch(context: LaneContext, account: int, sites: list[Site]) -> tuple[WriteFile, ...]:
    # A certificate has its file name only after the checks, which never open it.
    candidate = f"check/{account}.sites"
    return (
        WriteFile(f"check/{account}.conf", check_text(context, candidate).encode()),
        WriteFile(candidate, _account_text(context, sites, certificates=False).encode()),
    )


def _account_text(context: LaneContext, sites: list[Site], *, certificates: bool = True) -> str:
    return render(
        "apache/account.conf.j2",
        overrides=f"{FOLDER}/accounts/{sites[0].spec.account if sites else 0}/*.conf",
        sites=_hosts(context, sites, certificates=certificates),
    )


def _hosts(
    context: LaneContext, sites: list[Site], *, certificates: bool = True
) -> list[dict[str, object]]:
    return [
        {
            "name": site.domain,
            "aliases": site.names[1:],
            "document_root": f"{root(context)}/{site.content}",
            "certificate_file": site.certificate_file if certificates else "",
            "shared_by": "" if site.spec.certificate else site.shared_by,
            "index": site.spec.settings.index if site.spec.settings else (),
            "indexes": bool(site.spec.settings and site.spec.settings.indexes),
            "redirect_to": site.spec.settings.redirect_to if site.spec.settings else "",
        }
        for site in sites
    ]


def _probes(
    context: LaneContext, changed: Mapping[Site, KeyPair | None], *, reload: bool
) -> tuple[ProbeHttp, ...]:
    probes = [BASELINE] if reload else []
    port = context.server.settings.tls_port
    for site, pair in changed.items():
        redirects = bool(site.spec.settings and site.spec.settings.redirect_to)
        statuses = (302,) if redirects else _ANSWERS
        probes.append(ProbeHttp(site.domain, statuses=statuses))
        if pair is not None and port:
            leaf = pair.fingerprint
            probes.append(
                ProbeHttp(site.domain, statuses=statuses, tls=True, port=port, certificate=leaf)
            )
    return tuple(probes)


def _unused_certificates(old: Iterable[Site], new: Iterable[Site]) -> tuple[RemovePath, ...]:
    used = {site.certificate_file for site in new}
    return tuple(
        RemovePath(site.certificate_file)
        for site in old
        if site.certificate_file and site.certificate_file not in used
    )
