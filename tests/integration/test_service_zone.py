"""The service zone is kept by what differs: the same as if it were written whole."""

from random import Random
from typing import Any

import pytest
import pytest_twisted

from tests.integration.counting import counted
from tests.integration.model import Model


async def _as_if_whole(model: Model) -> None:
    """See that the zone's object says what its rows say, and its rows what servers have."""
    records = await model.rows(
        """SELECT r.name, r.ttl, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = 'example.net' ORDER BY r.name, r.type, r.data"""
    )
    named = await model.rows(
        """SELECT split_part(s.name, '.', 1), 3600, 'A', host(i.address) FROM logical_server s
           JOIN ip_address i ON i.logical_server_id = s.id AND i.type IN ('shared', 'service')"""
    )
    servers = await model.rows(
        """SELECT s.name, n.role, z.serial FROM zone_server n JOIN zone z ON z.id = n.zone_id
           JOIN logical_server s ON s.id = n.logical_server_id WHERE z.name = 'example.net'"""
    )
    own = [("@", 3600, "NS", f"{name}.") for name, _, _ in servers]
    panel = [("cp", 3600, "A", "198.51.100.99")]
    assert set(records) == {*named, *own, *([] if any(n[0] == "cp" for n in named) else panel)}
    ((master, serial),) = [(name, serial) for name, role, serial in servers if role == "master"]
    zone = (await model.objects(master))["zone", "example.net"]
    assert [(r["owner"], r["ttl"], r["type"], r["data"]) for r in zone["records"]] == records
    assert zone["serial"] == serial


async def _address(model: Model, name: str) -> str:
    ((address,),) = await model.rows(
        """SELECT host(address) FROM ip_address i JOIN logical_server s
           ON s.id = i.logical_server_id WHERE s.name = %s""",
        (f"{name}.example.net",),
    )
    return str(address)


async def _mail(model: Model, name: str, number: int) -> None:
    await model.server(name, "mail", "qmail", "more")
    await _service(model, name, number)


async def _service(model: Model, name: str, number: int) -> Any:
    server, first = f"{name}.example.net", f"192.0.2.{number}"
    return await model.ask("ip.add", lserver=server, first=first, mask="24", type="service")


async def _gone(model: Model, name: str) -> None:
    await model.approved("ip.delete", ip=await _address(model, name))
    await model.ask("lserver.delete", name=f"{name}.example.net")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("seed", range(4))
async def test_after_any_steps_it_is_as_if_written_whole(model: Model, seed: int) -> None:
    await model.cluster()
    await model.box("more", 9, ("web", "mail", "dns"))
    draw = Random(seed)
    made: list[str] = []
    for turn in range(16):
        step = draw.choice(("server", "server", "address", "port", "name server", "gone"))
        if turn == 9:
            await _gone(model, "ns1")  # the master: the zone moves, and is written whole
        elif step == "address":
            await model.ask(
                "ip.add",
                lserver="web1.example.net",
                first=f"192.0.2.{100 + turn}",
                mask="24",
                type="shared",
                tag=10 + turn,
            )
        elif step == "server" or not made:
            made.append("cp" if turn == 4 else f"m{turn}")
            await _mail(model, made[-1], 100 + turn)
        elif step == "port":
            ip = await _address(model, draw.choice(made))
            await model.ask("ip.edit", ip=ip, new_port=2000 + turn)
        elif step == "name server":
            made.append(f"dns{turn}")
            await model.box(made[-1], 100 + turn, ("dns",))
            await model.server(made[-1], "dns", "bind")
            await _service(model, made[-1], 100 + turn)
        else:
            await _gone(model, made.pop(draw.randrange(len(made))))
        await _as_if_whole(model)


@pytest_twisted.ensureDeferred
async def test_a_server_named_cp_takes_the_place_of_the_panels_name(model: Model) -> None:
    await model.cluster()
    await model.box("more", 9, ("mail",))
    await _mail(model, "cp", 77)
    await _as_if_whole(model)
    await _gone(model, "cp")
    await _as_if_whole(model)


@pytest_twisted.ensureDeferred
async def test_of_thousands_of_names_only_the_changed_one_is_read(model: Model) -> None:
    await model.cluster()
    await model.box("more", 9, ("mail",))
    await _mail(model, "m1", 101)
    await model.server("m2", "mail", "qmail", "more")
    with counted() as few:
        await _service(model, "m2", 102)
    await _gone(model, "m2")
    await _many(model, 400)
    await _mail(model, "m2", 102)  # the zone is written whole once
    await _as_if_whole(model)
    await _gone(model, "m2")
    await model.server("m2", "mail", "qmail", "more")
    with counted() as many:
        await _service(model, "m2", 102)
    assert many.values <= few.values
    assert many.round_trips <= few.round_trips
    await _as_if_whole(model)


async def _many(model: Model, count: int) -> None:
    """Give the cluster servers elsewhere, and the zone a record that is not its own."""
    await model.write(
        """WITH made AS (
               INSERT INTO logical_server (name, group_name, service_type)
               SELECT 'x' || n || '.example.net', 'mail', 'qmail' FROM generate_series(1, %s) n
               RETURNING id, name
           ) INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           SELECT id, '10.0.0.0'::inet + row_number() OVER (), 24, 25, 'service' FROM made""",
        (count,),
    )
    await _stray(model)


async def _stray(model: Model) -> None:
    await model.write(
        """INSERT INTO record (zone_id, name, type, ttl, data, generated)
           SELECT id, 'stray', 'A', 3600, '192.0.2.99', true FROM zone"""
    )


@pytest_twisted.ensureDeferred
async def test_a_zone_whose_object_is_not_what_its_rows_are_is_written_whole(model: Model) -> None:
    await model.cluster()
    await model.box("more", 9, ("mail",))
    await _stray(model)
    await _mail(model, "m1", 101)
    await _as_if_whole(model)


@pytest_twisted.ensureDeferred
async def test_the_records_of_a_server_are_read_without_those_of_others(model: Model) -> None:
    await model.cluster()
    with counted() as asked:
        await model.ask("lserver.records", name="web1.example.net")
    await model.write(
        """INSERT INTO record (zone_id, name, type, ttl, data, generated)
           SELECT id, 'x' || n, 'A', 3600, '192.0.2.99', true
           FROM zone, generate_series(1, 400) n"""
    )
    with counted() as many:
        found = await model.ask("lserver.records", name="web1.example.net")
    assert (many.values, many.round_trips) == (asked.values, asked.round_trips)
    assert [record["data"] for record in found["records"]] == ["192.0.2.3"]
