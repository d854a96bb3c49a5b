"""Addresses of the box: up on an interface while a lane holds them, down after the last one.

A ledger on the box says which addresses the agent brought up, and for which lanes. It is written
before an address comes up, and nothing that is not in it is ever taken down. An address that
another machine answers for is never brought up.
"""

import os
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    RefusedForNowError,
)
from node_agent.effects.host_network import (
    HostAddress,
    Link,
    add_arguments,
    again_arguments,
    found_on,
    link_for,
    read_default,
    read_links,
)
from node_agent.effects.neighbours import announce, other_owner
from node_agent.effects.programs import ProgramTable, run_program

T = TypeVar("T")

DAD_DEADLINE = 5.0
"""Seconds that the kernel may take to find an IPv6 address used by nobody else."""
_DAD_PAUSE = 0.05
_MOST_WORDS = 64 * 1024 * 1024
"""Bytes that ``ip`` may say: some 200 for each address of the box."""


class Holding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that lanes hold. ``boot`` is the boot that it was brought up in by the agent,
    empty where it was there before: then it is not ours to take down.
    """

    prefix: int
    link: str
    boot: str
    lanes: tuple[str, ...]


Ledger = Mapping[str, Holding]


def held(ledger: Ledger, address: str, lane: str, holding: Holding) -> Ledger:
    """Give the ledger in which ``lane`` holds the address too."""
    lanes = tuple(sorted({*holding.lanes, lane}))
    return {**ledger, address: msgspec.structs.replace(holding, lanes=lanes)}


def released(ledger: Ledger, address: str, lane: str) -> tuple[Ledger, Holding | None]:
    """Give the ledger in which ``lane`` does not hold the address, and the holding that ended."""
    holding = ledger.get(address)
    if holding is None:
        return ledger, None
    lanes = tuple(each for each in holding.lanes if each != lane)
    rest = {each: kept for each, kept in ledger.items() if each != address}
    if not lanes:
        return rest, holding
    return {**rest, address: msgspec.structs.replace(holding, lanes=lanes)}, None


@attrs.define
class HostAddresses:
    """The addresses of one box. ``table`` must name ``ip``; ``boot`` is the id of this boot."""

    reactor: IReactorTime
    table: ProgramTable
    path: Path
    """The file of the ledger."""
    boot: Callable[[], str]
    _lock: DeferredLock = attrs.field(factory=DeferredLock, init=False)

    async def check(self, text: str) -> None:
        """See that no other machine has the address; raises `EffectFailedError` naming it."""
        address = ip_address(text)
        links = await self._links()
        if found_on(links, address) is None and not address.is_loopback:
            await self._refuse_foreign(await self._link_for(links, address, 0), address)

    async def up(self, lane: str, text: str, prefix: int) -> None:
        """Have the box answer on the address for ``lane``.

        Raises `EffectFailedError` where another machine has it, or the box has no place for it.
        """
        address = ip_address(text)
        if address.is_loopback:
            return  # a box answers on all of 127.0.0.0/8 as it is
        links = await self._links()
        if found_on(links, address) is None:
            await self._refuse_foreign(await self._link_for(links, address, prefix), address)
        await self._alone(self._up, lane, address, prefix)

    async def down(self, lane: str, text: str) -> None:
        """End the hold of ``lane``; the last one takes the address down. Done twice it is fine."""
        await self._alone(self._down, lane, ip_address(text))

    async def bring_back(self, allowed: Callable[[str], bool]) -> tuple[str, ...]:
        """Bring up what the agent had up before this boot, and ``allowed`` lets it; give the words
        of each that does not come. What others had brought up is theirs to bring back.
        """
        ledger = await self._read()
        ours = [text for text, holding in ledger.items() if holding.boot and allowed(text)]

        async def again(text: str) -> str:
            try:
                for lane in ledger[text].lanes:
                    await self.up(lane, text, ledger[text].prefix)
            except (BoxUnavailableError, EffectFailedError) as error:
                return f"{text}: {error}"
            return ""

        words = await gatherResults([Deferred.fromCoroutine(again(text)) for text in ours])
        return tuple(filter(None, words))

    # --- one after the other ---

    async def _up(self, lane: str, address: HostAddress, prefix: int) -> None:
        ledger, boot = await self._read(), self.boot()
        links = await self._links()
        found = found_on(links, address)
        known = ledger.get(str(address))
        if found is not None:
            link, assigned = found
            ours = assigned.labelled or (known is not None and known.boot == boot)
            kept = Holding(assigned.prefixlen, link.ifname, boot if ours else "", ())
        else:
            link = await self._link_for(links, address, prefix)
            kept = Holding(prefix, link.ifname, boot, ())
        if known is not None:
            kept = msgspec.structs.replace(kept, lanes=known.lanes)
        after = held(ledger, str(address), lane, kept)
        if after != ledger:
            await self._write(after)
        try:
            if found is None:
                await self._ip(*add_arguments(link.ifname, address, prefix))
            if found is None or found[1].tentative or found[1].dadfailed:
                await self._settle(link, address, ours=kept.boot != "")
        except EffectFailedError:
            await self._write(ledger)
            raise

    async def _settle(self, link: Link, address: HostAddress, *, ours: bool) -> None:
        """Tell the neighbours, or wait for the kernel to have asked them."""
        interface = link.interface
        if isinstance(address, IPv4Address):
            if interface is not None:
                await deferToThread(announce, interface, address)
            return
        end = self.reactor.seconds() + DAD_DEADLINE
        while True:
            found = found_on(await self._links(), address)
            if found is not None and not found[1].tentative and not found[1].dadfailed:
                return
            if found is None or found[1].dadfailed or self.reactor.seconds() > end:
                break
            await deferLater(self.reactor, _DAD_PAUSE)
        if found is not None and ours:
            await self._ip("address", "del", f"{address}/{found[1].prefixlen}", "dev", link.ifname)
        raise RefusedForNowError(
            f"another machine has the address {address}: it was not brought up"
        )

    async def _down(self, lane: str, address: HostAddress) -> None:
        ledger = await self._read()
        rest, ended = released(ledger, str(address), lane)
        if ended is not None and ended.boot:
            links = await self._links()
            found = found_on(links, address)
            if found is not None and (found[1].labelled or ended.boot == self.boot()):
                where = f"{address}/{found[1].prefixlen}"
                await self._ip("address", "del", where, "dev", found[0].ifname)
                await self._mend(rest, found[0], address)
        if rest != ledger:
            await self._write(rest)

    async def _mend(self, ledger: Ledger, before: Link, gone: HostAddress) -> None:
        """Bring back what went with another address, whoever brought it up: Linux may drop a
        network's later addresses with its first one (promote_secondaries).
        """
        links = await self._links()
        for each in before.addr_info:
            own = ip_address(each.local) if each.local else gone
            if own != gone and found_on(links, own) is None:
                await self._ip(*again_arguments(before.ifname, each))
        links = await self._links()
        for text, holding in ledger.items():
            if holding.boot == self.boot() and found_on(links, ip_address(text)) is None:
                await self._ip(*add_arguments(holding.link, ip_address(text), holding.prefix))

    # --- asking the box ---

    async def _link_for(self, links: tuple[Link, ...], address: HostAddress, prefix: int) -> Link:
        family = "-4" if address.version == 4 else "-6"
        default = read_default(await self._ip(family, "-json", "route", "show", "default"))
        link = link_for(links, address, prefix or address.max_prefixlen, default)
        if link is None:
            raise RefusedForNowError(
                f"no interface of the box leads to the network of {address}: bring it up by hand"
            )
        return link

    async def _refuse_foreign(self, link: Link, address: HostAddress) -> None:
        interface = link.interface
        if interface is None:
            return
        owner = await deferToThread(other_owner, interface, address)
        if owner is not None:
            raise RefusedForNowError(
                f"another machine ({owner}) has the address {address} on {link.ifname}: it was not "
                "brought up"
            )

    async def _links(self) -> tuple[Link, ...]:
        try:
            return read_links(await self._ip("-json", "address", "show"))
        except msgspec.MsgspecError as error:
            raise BoxUnavailableError(f"ip says what nobody understands: {error}") from error

    async def _ip(self, *arguments: str) -> str:
        done = await run_program(self.reactor, self.table, "ip", arguments, most=_MOST_WORDS)
        if done.status != 0:
            words = done.output or f"ip ended with status {done.status}"
            raise EffectFailedError(f"ip {' '.join(arguments)}: {words}")
        return done.output

    # --- the ledger ---

    async def _alone(self, doing: Callable[..., object], *arguments: object) -> None:
        async def do() -> None:
            await doing(*arguments)  # type: ignore[misc]

        await self._lock.run(lambda: Deferred.fromCoroutine(do()))

    async def _read(self) -> Ledger:
        return await deferToThread(_read_ledger, self.path)

    async def _write(self, ledger: Ledger) -> None:
        await deferToThread(_write_ledger, self.path, ledger)


def _read_ledger(path: Path) -> Ledger:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Holding])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise BoxUnavailableError(f"{path} cannot be read: {error}") from error


def _write_ledger(path: Path, ledger: Ledger) -> None:
    candidate = path.with_suffix(".candidate")
    try:
        with candidate.open("wb") as file:
            file.write(msgspec.json.encode(ledger, order="sorted"))
            file.flush()
            os.fsync(file.fileno())
        candidate.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BoxUnavailableError(f"{path} cannot be written: {error.strerror}") from error
