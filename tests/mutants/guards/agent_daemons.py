"""Guards of the agent against its daemons and its disk: reloads that fail, hang, or harm others."""

from tests.mutants.mutant import Mutant

DAEMONS = "node_agent/box/daemons.py"
RNDC = "node_agent/effects/rndc.py"
_LANES = "tests/unit/node_agent/test_lanes.py"
_RELOADS = "tests/unit/node_agent/test_reload_limit.py"
_BESIDE = "tests/unit/node_agent/test_bystanders.py"
_LYING = "tests/faults/test_lying_daemons.py"

MUTANTS = (
    Mutant(
        "agent.reloads-rest",
        "P10",
        "node_agent/reload_limit.py",
        "        if self.seconds == 0:\n            return steps",
        "        return steps",
        (
            f"{_RELOADS}::test_p10_500_edits_in_a_minute_are_a_few_reloads",
            f"{_RELOADS}::test_a_lane_that_rests_says_so_and_comes_back_by_itself",
        ),
    ),
    Mutant(
        "agent.reloads-noted",
        "P10",
        "node_agent/heavy_steps.py",
        "            work.reloads.spend()\n            await work.box.reload()",
        "            await work.box.reload()",
        (f"{_RELOADS}::test_p10_500_edits_in_a_minute_are_a_few_reloads",),
    ),
    Mutant(
        "agent.rest-ends",
        "P10",
        "node_agent/lanes.py",
        "self._clock.callLater(self._engine.reloads.seconds, self.wake)",
        "self._clock.callLater(86400, self.wake)",
        (f"{_RELOADS}::test_a_lane_that_rests_says_so_and_comes_back_by_itself",),
    ),
    Mutant(
        "agent.server-does-not-rest",
        "P10",
        "node_agent/reload_limit.py",
        "step.reloads and not own",
        "step.plan.checks",
        (f"{_RELOADS}::test_what_needs_no_reload_and_the_server_itself_do_not_wait",),
    ),
    Mutant(
        "agent.stored-though-the-disk-is-full",
        "P5",
        "node_agent/engine.py",
        "            finally:\n                tell()\n",
        "            finally:\n                pass\n            tell()\n",
        (
            "tests/unit/node_agent/test_lanes.py"
            "::test_a_batch_whose_files_meet_a_full_disk_is_told_as_stored",
        ),
    ),
    Mutant(
        "agent.zone-taken-and-not-served",
        "P4",
        "node_agent/effects/zone_probe.py",
        "            raise RefusedForNowError(_difference(probe, serial))\n",
        "            raise EffectFailedError(_difference(probe, serial))\n",
        (f"{_LYING}::test_named_that_says_yes_and_serves_nothing_quarantines_nothing",),
    ),
    Mutant(
        "agent.zone-file-unread",
        "P4",
        RNDC,
        '        if _UNREAD in await self._channel.command(f"reload {zone}"):\n',
        '        if "never" in await self._channel.command(f"reload {zone}"):\n',
        (
            f"{_LYING}::test_a_zone_written_after_the_clock_was_set_back_is_served",
            "tests/unit/node_agent/effects/test_rndc.py"
            "::test_a_zone_whose_file_named_did_not_read_is_read_anew",
        ),
    ),
    Mutant(
        "agent.neighbours-of-a-reload",
        "P4",
        "node_agent/heavy_steps.py",
        "            harm = await work.bystanders.harmed()\n",
        '            harm = ""\n',
        (
            f"{_BESIDE}::test_what_harms_another_is_taken_back_and_quarantined_alone",
            "tests/faults/test_harmed_neighbours.py"
            "::test_a_site_that_only_a_reload_takes_away_blames_nobody_and_holds_up_nobody",
        ),
    ),
    Mutant(
        "agent.neighbours-ill-before",
        "P4",
        "node_agent/bystanders.py",
        "        well = [unit for unit in self._units if await self._is_well(unit)]\n",
        "        well = self._units\n",
        (f"{_BESIDE}::test_what_was_not_well_before_is_not_asked_after",),
    ),
    Mutant(
        "agent.neighbours-that-stay-away",
        "P4",
        "node_agent/heavy_steps.py",
        "        if await self._work.bystanders.harmed():\n",
        "        if not harm:\n",
        (f"{_BESIDE}::test_where_the_other_stays_away_nobody_is_blamed",),
    ),
    Mutant(
        "agent.configuration-taken-up",
        "P5",
        "node_agent/round.py",
        "            self._taken_up = mark.probe\n",
        "            self._taken_up = None\n",
        (
            f"{_LYING}::test_apache_that_does_not_take_up_a_site_quarantines_nothing",
            f"{_LYING}::test_apache_that_answers_with_anothers_page_is_not_called_live",
        ),
    ),
    Mutant(
        "agent.nobody-is-guilty",
        "P4",
        "node_agent/round.py",
        "        if words in self._passing:\n",
        "        if False:\n",
        (f"{_LYING}::test_many_sites_that_apache_does_not_take_up_all_come_later",),
    ),
    Mutant(
        "agent.unfinished-reload",
        "P4",
        "node_agent/heavy_steps.py",
        "        except NotFinishedError:\n"
        "            raise  # it hangs, or takes its time: whatever it was told\n",
        "",
        (
            "tests/unit/node_agent/test_lanes.py"
            "::test_a_reload_that_did_not_end_in_time_blames_nobody",
        ),
    ),
    Mutant(
        "agent.slow-reload",
        "P4",
        DAEMONS,
        "        if now - begin > RELOAD_DEADLINE:\n",
        "        if now - begin > RELOAD_LOOK:\n",
        (
            "tests/unit/node_agent/box/test_daemons.py"
            "::test_reload_that_takes_a_minute_is_waited_for",
        ),
        dies_of=("NotFinishedError",),
    ),
    Mutant(
        "agent.hanging-reload",
        "P4",
        DAEMONS,
        "        if now - looked > RELOAD_LOOK:\n",
        "        if False:\n",
        (
            "tests/unit/node_agent/box/test_daemons.py"
            "::test_reload_of_a_daemon_that_serves_nobody_is_given_up_early",
            "tests/unit/node_agent/box/test_daemons.py"
            "::test_reload_that_takes_a_minute_is_waited_for",
        ),
        waits=True,
    ),
    Mutant(
        "agent.restart-checked",
        "P4",
        "node_agent/lanes.py",
        "        if await self.daemon.running():\n            await self._engine.check()\n",
        "",
        (
            "tests/unit/node_agent/test_services.py"
            "::test_a_daemon_that_would_not_start_again_is_not_stopped",
        ),
    ),
    Mutant(
        "agent.blocked-looked-at",
        "P4",
        "node_agent/daemon_watch.py",
        "        trusted = self.serves or not self.suspect\n",
        "        trusted = not self.suspect\n",
        (f"{_LANES}::test_the_daemon_of_a_blocked_lane_is_looked_at_as_ever",),
    ),
    Mutant(
        "agent.blocked-silent",
        "P4",
        "node_agent/lanes.py",
        "                await self._engine.baseline()  # one that serves nobody is down\n",
        "",
        (f"{_LANES}::test_a_daemon_with_another_key_is_down_once_it_answers_nobody",),
    ),
)
