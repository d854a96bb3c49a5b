"""Installed packages, as the box's own package manager lists them (R251)."""

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

import attrs
from twisted.internet.interfaces import IReactorTime

from node_agent.effects.failures import EffectFailedError
from node_agent.effects.programs import ProgramTable, run_program
from node_agent.wire.questions import (
    LONGEST_TEXT,
    MOST_PACKAGES,
    AskPackages,
    Package,
    Packages,
)

LIST_BYTES = 8 * 1024 * 1024
"""Bytes of a package manager's list that are read: some 150,000 packages."""


@attrs.frozen
class Manager:
    """A program that lists packages: a state, a name and a version a line, between tabs."""

    program: str
    path: PurePosixPath
    arguments: tuple[str, ...]


MANAGERS = (
    Manager(
        "dpkg-query",
        PurePosixPath("/usr/bin/dpkg-query"),
        ("--show", "--showformat=${db:Status-Abbrev}\\t${binary:Package}\\t${Version}\\n"),
    ),
    Manager(
        "rpm",
        PurePosixPath("/usr/bin/rpm"),
        ("-qa", "--queryformat", "ii\\t%{NAME}\\t%{VERSION}-%{RELEASE}\\n"),
    ),
    # Not /usr/sbin/pkg, which installs itself when it is first run.
    Manager("pkg", PurePosixPath("/usr/local/sbin/pkg"), ("query", "ii\\t%n\\t%v")),
)


async def installed(
    reactor: IReactorTime, table: ProgramTable, *, seconds: float
) -> tuple[Package, ...]:
    """List what is installed; raises `EffectFailedError` or `BoxUnavailableError`."""
    for manager in MANAGERS:
        path = table.get(manager.program)
        if path is None or not os.access(path, os.X_OK):
            continue  # another system's package manager
        finished = await run_program(
            reactor, table, manager.program, manager.arguments, timeout=seconds, most=LIST_BYTES
        )
        if finished.status != 0:
            raise EffectFailedError(
                f"{manager.program} ended with status {finished.status}: {finished.output[:200]}"
            )
        return listed(finished.output)
    raise EffectFailedError("the packages of this operating system cannot be listed")


def listed(text: str) -> tuple[Package, ...]:
    """Read a manager's list, by name; lines of what is not installed are left out."""
    found = set()
    for line in text.splitlines():
        state, _, rest = line.partition("\t")
        name, _, version = rest.partition("\t")
        if state[1:2] == "i" and name and version:
            found.add((_plain(name), _plain(version)))
    return tuple(Package(name, version) for name, version in sorted(found))


def page(packages: Sequence[Package], ask: AskPackages) -> Packages:
    """Give the packages that are asked for: a page of those whose name contains the text."""
    wanted = ask.search.casefold()
    name, _, version = ask.after.partition("\t")
    after = [
        each
        for each in packages
        if (each.name, each.version) > (name, version) and wanted in each.name.casefold()
    ]
    size = min(max(ask.limit, 1), MOST_PACKAGES)
    return Packages(packages=tuple(after[:size]), more=len(after) > size)


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text[:LONGEST_TEXT])
