"""Guards of sessions: against what agents say once they are inside, and of how they dial."""

from tests.mutants.mutant import Mutant

BOUNDS = "controller/fleet/bounds.py"
SESSIONS = "controller/fleet/sessions.py"
FLEET = "controller/fleet/fleet.py"
COMPARISON = "controller/fleet/comparison.py"
DISPATCH = "controller/fleet/dispatch.py"
CONNECTION = "node_agent/connection.py"
_S1 = "tests/security/test_s01_unauthenticated_wire.py"
_S4 = "tests/security/test_s04_impersonation.py"
_S7 = "tests/security/test_s07_replay.py"
_S8 = "tests/security/test_s08_hostile_agent.py"
_RETURN = "tests/integration/test_fleet_return.py"
_SESSIONS = "tests/integration/test_fleet_sessions.py"
_WORDS = "tests/integration/test_fleet_words.py"
_SESSION = "tests/unit/node_agent/test_session.py"

MUTANTS = (
    Mutant(
        "fleet.comparisons-at-once",
        "P7",
        COMPARISON,
        "        while self._waiting and len(self._pages) + len(self._settling) <"
        " COMPARISONS_AT_ONCE:\n",
        "        while self._waiting:\n",
        (f"{_RETURN}::test_inventories_are_compared_a_bounded_number_at_a_time",),
    ),
    Mutant(
        "fleet.endless-inventory",
        "P7",
        COMPARISON,
        "            self._deadlines[link] = self._reactor.callLater(INVENTORY_SECONDS, self._late,"
        " link)\n",
        "",
        (f"{_RETURN}::test_an_inventory_that_never_ends_keeps_no_place",),
        waits=True,
    ),
    Mutant(
        "fleet.slow-inventory",
        "P7",
        COMPARISON,
        "        self._deadlines[link].delay(came / SLOWEST_OBJECTS)\n",
        "",
        (f"{_RETURN}::test_a_long_inventory_has_the_time_that_its_objects_take",),
    ),
    Mutant(
        "fleet.made-up-inventory",
        "S8",
        COMPARISON,
        "min(len(pages), link.server_revision) - min(before, link.server_revision)\n",
        "len(pages) - before\n",
        (f"{_S8}::test_made_up_objects_win_an_inventory_no_time",),
    ),
    Mutant(
        "fleet.program-limit",
        "S8",
        "controller/storage/errors.py",
        "    psycopg2.errors.ProgramLimitExceeded,\n",
        "",
        (f"{_S8}::test_a_path_too_long_for_an_index_keeps_nobody_from_being_heard",),
        waits=True,
    ),
    Mutant(
        "fleet.endless-names",
        "S8",
        COMPARISON,
        "            if len(kind) + len(key) > LONGEST_NAME:\n",
        "            if False:\n",
        (f"{_S8}::test_an_inventory_of_endless_names_ends_the_session",),
    ),
    Mutant(
        "fleet.brief-session",
        "P7",
        CONNECTION,
        "        brief = not session.welcomed or self._clock.seconds() - begun < BRIEF_SECONDS\n",
        "        brief = not session.welcomed\n",
        (f"{_SESSION}::test_a_session_that_always_ends_at_once_is_begun_ever_more_seldom",),
    ),
    Mutant(
        "fleet.failing-job",
        "P7",
        FLEET,
        "        loop = LoopingCall(once)\n",
        "        loop = LoopingCall(function)\n",
        (f"{_SESSIONS}::test_a_job_that_fails_runs_again",),
        waits=True,
    ),
    Mutant(
        "fleet.failing-session",
        "S8",
        "controller/fleet/acknowledgement.py",
        "        except Exception:  # a session goes on reading here: its mistake must not end the"
        " writer\n",
        "        except OSError:\n",
        (f"{_S8}::test_a_session_that_fails_where_its_word_is_written_silences_no_other",),
        waits=True,
    ),
    Mutant(
        "fleet.path-in-bytes",
        "S8",
        SESSIONS,
        "            if len(each.path.encode()) <= LONGEST_FILE and each.path.isprintable()\n",
        "            if len(each.path) <= LONGEST_FILE and each.path.isprintable()\n",
        (f"{_S8}::test_a_path_is_bounded_by_its_bytes",),
    ),
    Mutant(
        "fleet.change-beside-a-hello",
        "P7",
        DISPATCH,
        "            self.wake(came[key], bulk=True)\n",
        "            pass\n",
        (f"{_RETURN}::test_a_change_between_hello_and_session_is_found_at_once",),
        waits=True,
    ),
    Mutant(
        "fleet.spread-by-size",
        "P7",
        CONNECTION,
        "max(longest, self._spread)",
        "longest",
        (f"{_SESSION}::test_a_large_fleet_comes_back_over_a_longer_time_than_a_small_one",),
    ),
    Mutant(
        "fleet.interval-of-all",
        "P7",
        "controller/fleet/fleet.py",
        "        return interval(max(self._known_boxes, len(self.sessions)))",
        "        return interval(len(self.sessions))",
        (f"{_RETURN}::test_the_first_of_many_to_come_back_hears_the_interval_of_them_all",),
    ),
    Mutant(
        "fleet.asked-to-wait-alike",
        "P7",
        CONNECTION,
        "                asked_to_wait *= self._jitter(1.0, 1.5)  # many may be asked the same\n",
        "",
        (
            f"{_SESSION}::test_who_is_asked_to_wait_does_not_come_back_at_the_same_moment"
            "_as_the_others",
        ),
    ),
    Mutant(
        "fleet.renewal-for-the-sessions-name",
        "S4",
        SESSIONS,
        "self._services.issuer.issue(message.csr, self.peer.name)",
        "self._services.issuer.issue(message.csr, type(self.peer.name)(self.peer.name.cluster,"
        ' "box", "0" * 8 + "-0000-0000-0000-" + "0" * 12))',
        (f"{_S1}::test_a_renewal_is_for_the_name_of_the_session_alone",),
    ),
    Mutant(
        "fleet.repair-to-its-end",
        "P5",
        "controller/fleet/lanes.py",
        '"an earlier repair was cut off" if row.repairing else ""',
        '""',
        (
            "tests/integration/test_fleet_repair.py"
            "::test_a_repair_that_is_cut_off_is_made_on_the_next_session",
        ),
        waits=True,
    ),
    Mutant(
        "fleet.own-lanes-only",
        "S4",
        SESSIONS,
        '            raise WireError("a lane that is not this box\'s")\n        return link',
        "            link = next(iter(self.links.values()), None)\n        return link",
        (f"{_S4}::test_a_box_that_speaks_of_anothers_lane_is_closed[LaneState]",),
        dies_of=("AttributeError",),
        waits=True,
    ),
    Mutant(
        "fleet.one-hello",
        "S7",
        SESSIONS,
        '                raise WireError("a second Hello")',
        "                pass",
        (f"{_S7}::test_a_second_hello_ends_the_session",),
    ),
    Mutant(
        "fleet.settled-at-most-stored",
        "S7",
        SESSIONS,
        "        if not 0 <= message.settled_revision <= limit:",
        "        if False:",
        (f"{_S7}::test_settling_what_was_never_stored_ends_the_session",),
        waits=True,
    ),
    Mutant(
        "fleet.observation-unasked",
        "S7",
        SESSIONS,
        "            return  # of a watch that has ended: said twice, or late",
        "            pass",
        (f"{_S7}::test_an_observation_that_nobody_asked_for_is_not_kept",),
    ),
    Mutant(
        "fleet.stored-words",
        "S8",
        BOUNDS,
        '        c if c.isprintable() or c in "\\n\\t" else',
        '        c if c != "\\0" else',
        (f"{_S8}::test_hostile_words_are_kept_as_bounded_plain_text",),
    ),
    Mutant(
        "fleet.flood",
        "S8",
        SESSIONS,
        "            self._read(False)\n",
        "",
        (f"{_S8}::test_a_flood_of_messages_is_read_no_faster_than_written",),
    ),
    Mutant(
        "fleet.life-of-the-agent",
        "S4",
        "node_agent/running.py",
        'f"{boot_id()}/{life()}"',
        'f"{boot_id()}/"',
        (
            "tests/faults/test_agent_process.py"
            "::test_two_copies_of_a_box_on_one_kernel_are_told_apart",
        ),
        waits=True,
    ),
    Mutant(
        "fleet.words-that-persist",
        "P4",
        "controller/fleet/acknowledgement.py",
        "                if not _of_the_database(error):\n",
        "                if False:\n",
        (f"{_WORDS}::test_a_box_whose_words_cannot_be_written_holds_up_no_other",),
        waits=True,
    ),
    Mutant(
        "fleet.words-of-one-session",
        "P4",
        "controller/fleet/acknowledgement.py",
        "                        self._drop_session(batch[0], error)\n",
        "                        self._drop(batch[0], error)\n",
        (f"{_WORDS}::test_a_box_whose_words_cannot_be_written_holds_up_no_other",),
    ),
    Mutant(
        "fleet.words-kept-while-away",
        "P5",
        "controller/fleet/acknowledgement.py",
        "    return isinstance(error, StorageError) or (code",
        "    return (code",
        (f"{_WORDS}::test_a_database_that_is_away_costs_no_word_however_long",),
    ),
)
