"""Guards of the door of the agents: who comes in, how many at a time, and as whom."""

from tests.mutants.mutant import Mutant

BOUNDS = "controller/fleet/bounds.py"
SESSION_TABLE = "controller/fleet/session_table.py"
FLEET = "controller/fleet/fleet.py"
LISTENER = "controller/fleet/listener.py"
HELLO = "controller/fleet/hello.py"
RECEPTION = "controller/fleet/reception.py"
_S1 = "tests/security/test_s01_unauthenticated_wire.py"
_S7 = "tests/security/test_s07_replay.py"
_S8 = "tests/security/test_s08_hostile_agent.py"
_RETURN = "tests/integration/test_fleet_return.py"
_SESSIONS = "tests/integration/test_fleet_sessions.py"
_DENIALS = "tests/integration/test_fleet_denials.py"
_DOORS = "tests/faults/test_full_doors.py"

MUTANTS = (
    Mutant(
        "fleet.strangers",
        "P7",
        LISTENER,
        "        accepting = len(self.strangers) < STRANGERS\n",
        "        accepting = True\n",
        (f"{_RETURN}::test_no_more_strangers_are_inside_than_the_limit_and_all_come_in_at_last",),
    ),
    Mutant(
        "fleet.strangers-at-one-go",
        "P7",
        LISTENER,
        "            self._port.numberAccepts = room  # type: ignore[attr-defined]\n",
        "            self._port.numberAccepts = 100\n",
        (f"{_RETURN}::test_no_more_strangers_are_inside_than_the_limit_and_all_come_in_at_last",),
    ),
    Mutant(
        "fleet.hellos-at-once",
        "P7",
        RECEPTION,
        "        boxes = list(self._waiting)[:HELLOS_AT_ONCE]\n",
        "        boxes = list(self._waiting)\n",
        (f"{_RETURN}::test_many_hellos_are_begun_in_few_transactions_one_at_a_time",),
    ),
    Mutant(
        "fleet.one-lot-at-a-time",
        "P7",
        RECEPTION,
        "        if not self._serving:\n",
        "        if True:\n",
        (f"{_RETURN}::test_many_hellos_are_begun_in_few_transactions_one_at_a_time",),
        waits=True,
    ),
    Mutant(
        "fleet.poisonous-hello",
        "P7",
        RECEPTION,
        "            for guest in lot:\n                await self._begin([guest])\n",
        "            for guest in lot:\n                guest.begun.errback(error)\n",
        (f"{_RETURN}::test_one_hello_that_cannot_be_written_costs_no_other_its_session",),
        waits=True,
    ),
    Mutant(
        "fleet.gone-while-waiting",
        "P7",
        RECEPTION,
        "        if box in self._inside or (earlier is not None and earlier.alive()):\n",
        "        if box in self._inside or earlier is not None:\n",
        (f"{_RETURN}::test_a_hello_whose_connection_has_ended_keeps_no_place",),
        waits=True,
    ),
    Mutant(
        "fleet.farewell",
        "P7",
        LISTENER,
        "            FAREWELL_SECONDS, self.lose, reason\n",
        "            FAREWELL_SECONDS, str, reason\n",
        (f"{_S8}::test_who_is_refused_and_does_not_hang_up_keeps_no_place",),
        waits=True,
    ),
    Mutant(
        "fleet.locked-box",
        "P7",
        RECEPTION,
        "_OF_ONE = (*POISON, psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled)\n",
        "_OF_ONE = POISON\n",
        (f"{_RETURN}::test_one_box_whose_row_is_locked_costs_no_other_its_session",),
    ),
    Mutant(
        "fleet.mistake-at-the-door",
        "P7",
        RECEPTION,
        "            except Exception as error:  # a refusal, or a mistake of ours: it must end no"
        " loop\n",
        "            except SessionRefusedError as error:\n",
        (f"{_RETURN}::test_a_mistake_with_one_box_shuts_nobody_out",),
        waits=True,
    ),
    Mutant(
        "fleet.damaged-deny-list",
        "P7",
        FLEET,
        "        self._presence.beat()  # first: a deny-list that cannot be read must silence"
        " nobody\n"
        "        for serial in self._deny_list.refresh():\n"
        "            self.revoke([serial])\n",
        "        for serial in self._deny_list.refresh():\n"
        "            self.revoke([serial])\n"
        "        self._presence.beat()\n",
        (f"{_SESSIONS}::test_a_deny_list_that_cannot_be_read_silences_no_box",),
        waits=True,
    ),
    Mutant(
        "fleet.hello-first",
        "S1",
        LISTENER,
        '            raise WireError("something else than a Hello came first")',
        "            pass",
        (f"{_S1}::test_nothing_is_taken_before_the_hello[Alive]",),
    ),
    Mutant(
        "fleet.revoked-in-the-database",
        "S1",
        HELLO,
        "        if greeting.serial in revoked:",
        "        if False:",
        (f"{_S1}::test_a_certificate_revoked_in_the_database_alone_has_no_session",),
    ),
    Mutant(
        "fleet.copied-machine",
        "S4",
        SESSION_TABLE,
        "            if hello.boot_id in former:",
        "            if False:",
        (
            "tests/integration/test_fleet_sessions.py"
            "::test_a_machine_copied_whole_does_not_chase_the_other_one",
        ),
    ),
    Mutant(
        "fleet.half-a-frame-counts",
        "P7",
        LISTENER,
        "            self.session.heard = self._listener.services.reactor.seconds()",
        "            pass",
        ("tests/faults/test_links.py::test_a_slow_link_keeps_its_session_whatever_it_carries",),
    ),
    Mutant(
        "fleet.protocol-version",
        "S7",
        LISTENER,
        "        if hello.protocol_max < PROTOCOL_MIN or hello.protocol_min > PROTOCOL_MAX:",
        "        if False:",
        (f"{_S7}::test_an_older_protocol_is_refused",),
        waits=True,
    ),
    Mutant(
        "fleet.stranger-frame",
        "S8",
        LISTENER,
        "    max_frame = HELLO_BYTES\n",
        "",
        (f"{_S8}::test_a_frame_announced_as_too_long_is_not_waited_for[False]",),
        waits=True,
    ),
    Mutant(
        "fleet.hello-names",
        "S8",
        BOUNDS,
        "        if len(text) > LONGEST_NAME or not text.isprintable():\n"
        '            raise WireError("a name in the Hello is too long or not printable")',
        "        pass",
        (f"{_S8}::test_a_hello_with_hostile_names_has_no_session",),
        waits=True,
    ),
    Mutant(
        "fleet.another-machine",
        "S4",
        SESSION_TABLE,
        "        if living.machine_id != hello.machine_id:",
        "        if False:",
        (
            "tests/integration/test_fleet_sessions.py::"
            "test_another_machine_with_the_same_identity_is_refused",
        ),
    ),
    Mutant(
        "fleet.silent-strangers",
        "S1",
        LISTENER,
        '            cast(AgentProtocol, stranger).lose("it says nothing, and others wait")\n',
        "            pass\n",
        (f"{_DOORS}::test_who_says_nothing_in_great_numbers_keeps_no_box_out",),
        waits=True,
    ),
    Mutant(
        "fleet.suspect-address",
        "S1",
        "controller/fleet/strangers.py",
        "        return place not in self._suspect or self._settled(place, now) < self.share\n",
        "        return True\n",
        (
            f"{_DOORS}::test_who_says_nothing_in_great_numbers_keeps_no_box_out",
            "tests/unit/controller/fleet/test_strangers.py"
            "::test_an_address_that_kept_places_gets_no_more_than_its_share_for_a_while",
        ),
    ),
    Mutant(
        "fleet.suspect-address-of-many",
        "P7",
        "controller/fleet/strangers.py",
        "each == place and now - since >= SETTLED_SECONDS for",
        "each == place for",
        (
            "tests/unit/controller/fleet/test_strangers.py"
            "::test_boxes_of_a_suspect_address_that_prove_themselves_at_once_all_come_in",
        ),
    ),
    Mutant(
        "fleet.enrolments-of-one-address",
        "S1",
        "controller/fleet/enrolment.py",
        "        return len(self.inside) <= ENROLMENTS_AT_ONCE and of_one <= ENROLMENTS_OF_ONE\n",
        "        return len(self.inside) <= ENROLMENTS_AT_ONCE and of_one > 0\n",
        (f"{_DOORS}::test_one_address_does_not_fill_the_door_of_enrolment",),
    ),
    Mutant(
        "fleet.revocation-at-once",
        "S6",
        FLEET,
        "        self._deny_list.deny(denied)\n",
        "",
        (f"{_DENIALS}::test_a_revocation_counts_at_once_though_the_list_is_locked",),
    ),
    Mutant(
        "fleet.revocation-kept",
        "S6",
        FLEET,
        "            self.revoke([serial])\n        self._keep_denied()\n",
        "            self.revoke([serial])\n",
        (f"{_DENIALS}::test_a_list_that_cannot_be_written_is_told_and_written_later",),
    ),
    Mutant(
        "fleet.life-is-no-boot",
        "P7",
        HELLO,
        "        (boxes, boxes, [greeting.hello.boot for greeting in greetings]),\n",
        "        (boxes, boxes, [greeting.hello.boot_id for greeting in greetings]),\n",
        (f"{_SESSIONS}::test_an_agent_that_began_anew_takes_its_box_back_and_keeps_what_it_told",),
    ),
)
