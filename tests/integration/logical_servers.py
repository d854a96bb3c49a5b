"""Logical servers for tests: one of each type on a box of its own, and their settings."""

from typing import Any

from tests.integration.model import Model

TYPES = {
    "apache": ("web", "linux"),
    "bind": ("dns", "linux"),
    "qmail": ("mail", "linux"),
    "iis": ("windows", "windows"),
    "mysql": ("mysql", "linux"),
    "postgresql": ("postgresql", "linux"),
    "mssql": ("mssql", "windows"),
    "realmedia": ("realmedia", "windows"),
    "vps": ("vps", "linux"),
    "control-panel": ("control-panel", "linux"),
    "mrtg": ("mrtg", "linux"),
}


async def one_of_each(model: Model) -> None:
    for number, (type_, (group, system)) in enumerate(TYPES.items(), start=1):
        await model.ask(
            "pserver.add",
            name=f"box-{type_}",
            ip=f"198.51.100.{number}",
            mask="24",
            groups=(group,),
            os_family=system,
        )
        await model.server(type_, group, type_, f"box-{type_}")


async def set_one(model: Model, server: str, **settings: Any) -> Any:
    return await model.ask("lserver.set", name=f"{server}.example.net", settings=settings)
