"""Guards of the agent: its files, its programs, its configuration."""

from tests.mutants.mutant import Mutant

AGENT = "node_agent/agent.py"
GRANTS = "node_agent/grants.py"
DAEMONS = "node_agent/box/daemons.py"
FILES = "node_agent/effects/files.py"
PROGRAMS = "node_agent/effects/programs.py"
RNDC = "node_agent/effects/rndc.py"
_BOXES = "tests/contract/test_boxes.py"
_PROGRAMS = "tests/unit/node_agent/effects/test_programs.py"
_S3 = "tests/security/test_s03_path_traversal.py"
_S10 = "tests/security/test_s10_shell_injection.py"
_S11 = "tests/security/test_s11_argument_injection.py"
_S12 = "tests/security/test_s12_search_path.py"
_S14 = "tests/security/test_s14_secrets.py"
_S16 = "tests/security/test_s16_links_that_change.py"
_GRANTS = "tests/unit/node_agent/test_grants.py"
_ADDRESSES = "tests/integration/test_addresses_real.py"
_BOOTED = "test_what_a_boot_took_down_is_brought_back_before_any_lane_asks_and_nothing_else"

MUTANTS = (
    Mutant(
        "agent.grants-asked",
        "S20",
        "node_agent/planning.py",
        "    if words := refusal(new_server, plan):",
        '    if words := "":',
        (
            f"{_GRANTS}::test_what_is_not_granted_is_refused_alone_and_said",
            f"{_GRANTS}::test_an_object_that_is_not_granted_leaves_the_others_alone",
        ),
        dies_of=("KeyError",),
    ),
    Mutant(
        "agent.granted-programs",
        "S20",
        GRANTS,
        "effect.program not in self.programs:",
        "False:",
        (
            f"{_GRANTS}::test_without_a_file_of_grants_no_program_may_be_run",
            f"{_GRANTS}::test_what_is_not_granted_is_refused_alone_and_said",
        ),
        dies_of=("KeyError",),
    ),
    Mutant(
        "agent.granted-addresses",
        "S20",
        GRANTS,
        "return self.addresses is None or any(address in network for network in self.addresses)",
        "return True",
        (f"{_GRANTS}::test_an_address_is_granted_by_its_network_alone",),
    ),
    Mutant(
        "agent.boot-granted-addresses",
        "S20",
        "node_agent/effects/addresses.py",
        "if holding.boot and allowed(text)]",
        "if holding.boot]",
        (f"{_ADDRESSES}::{_BOOTED}",),
    ),
    Mutant(
        "agent.boot-own-addresses",
        "P2",
        "node_agent/effects/addresses.py",
        "if holding.boot and allowed(text)]",
        "if allowed(text)]",
        (f"{_ADDRESSES}::{_BOOTED}",),
    ),
    Mutant(
        "agent.granted-directories",
        "S20",
        GRANTS,
        '        return ".." not in directory.parts and any(',
        "        return any(",
        (f"{_GRANTS}::test_a_configuration_names_granted_directories_alone",),
    ),
    Mutant(
        "agent.path-below-the-lane",
        "S3",
        FILES,
        '    if any(part in ("", ".", "..") or "\\0" in part for part in parts):',
        "    if False:",
        (f"{_S3}::test_no_path_leads_out_of_the_lane",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "agent.directory-of-a-lane",
        "S3",
        "node_agent/box/posix.py",
        "        if not is_lane_id(lane):",
        "        if False:",
        (f"{_S3}::test_a_strange_id_of_a_lane_names_no_directory[../other]",),
    ),
    Mutant(
        "agent.lane-is-kept",
        "S3",
        AGENT,
        "        named = [each for each in message.lanes if is_lane_id(each.lane)]",
        "        named = list(message.lanes)",
        (f"{_S3}::test_a_lane_with_a_strange_id_is_not_taken_and_not_kept",),
        waits=True,
    ),
    Mutant(
        "agent.no-follow-folders",
        "S16",
        FILES,
        "_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC",
        "_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC",
        (
            f"{_BOXES}::test_s16_no_folder_is_entered_through_a_link",
            f"{_S16}::test_nothing_outside_of_the_lane_changes_or_is_read",
        ),
    ),
    Mutant(
        "agent.no-follow-logs",
        "S16",
        FILES,
        "_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC",
        "_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC",
        # Not the race of links that change: it meets a log's link by chance.
        (f"{_BOXES}::test_s16_a_log_that_is_a_link_a_fifo_or_a_folder_is_not_read",),
    ),
    Mutant(
        "agent.regular-files-only",
        "S16",
        FILES,
        "                if not stat.S_ISREG(status.st_mode):",
        "                if False:",
        (f"{_BOXES}::test_s16_a_log_that_is_a_link_a_fifo_or_a_folder_is_not_read",),
    ),
    Mutant(
        "agent.links-stay-inside",
        "S16",
        FILES,
        "                _refuse_outside(effect)\n",
        "",
        (f"{_BOXES}::test_s16_a_link_out_of_the_lane_is_refused",),
    ),
    Mutant(
        "agent.program-table",
        "S10",
        PROGRAMS,
        "    path = table.get(program)\n",
        '    path = table.get(program) or PurePosixPath("/bin") / (program or "true")\n',
        (f"{_PROGRAMS}::test_program_outside_the_table_is_not_run",),
    ),
    Mutant(
        "agent.arguments-are-a-list",
        "S10",
        PROGRAMS,
        "str(path), [str(path), *arguments], dict",
        '"/bin/sh", ["sh", "-c", " ".join([str(path), *arguments])], dict',
        (
            f"{_PROGRAMS}::test_status_and_words_come_back",
            f"{_S10}::test_no_shell_is_named_in_the_source",
        ),
    ),
    Mutant(
        "agent.environment",
        "S12",
        PROGRAMS,
        'dict(ENVIRONMENT), "/"',
        'dict(os.environ), "/"',
        (f"{_PROGRAMS}::test_environment_directory_and_input_are_fixed",),
    ),
    Mutant(
        "agent.directory-of-programs",
        "S12",
        PROGRAMS,
        'dict(ENVIRONMENT), "/"',
        "dict(ENVIRONMENT), None",
        (f"{_PROGRAMS}::test_environment_directory_and_input_are_fixed",),
    ),
    Mutant(
        "agent.no-program-is-looked-up",
        "S12",
        "node_agent/sysinfo.py",
        "    return _text(next(named, os.uname().machine))",
        "    return _text(next(named, platform.processor()))",
        (f"{_S12}::test_nothing_looks_a_program_up",),
    ),
    Mutant(
        "agent.isolated",
        "S12",
        "packaging/debian/rules",
        "|& -I|",
        "|&|",
        (f"{_S12}::test_hs_ca_runs_nothing_that_lies_about",),
    ),
    Mutant(
        "agent.configuration-of-others",
        "S12",
        "node_agent/owned_file.py",
        "    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):",
        "    if False:",
        (f"{_S12}::test_a_configuration_that_others_may_write_is_refused",),
    ),
    Mutant(
        "agent.absolute-programs",
        "S12",
        GRANTS,
        '        if not place.startswith("/") or',
        "        if",
        (f"{_S12}::test_programs_are_named_by_absolute_paths_only",),
    ),
    Mutant(
        "agent.unit-of-a-lane",
        "S11",
        DAEMONS,
        "    if not is_lane_id(context.lane):",
        "    if False:",
        (f"{_S11}::test_a_lane_is_one_argument_behind_the_options",),
    ),
    Mutant(
        "agent.dashes-before-a-unit",
        "S11",
        DAEMONS,
        '        arguments = (*verb, "--", unit)',
        "        arguments = (*verb, unit)",
        (f"{_S11}::test_a_lane_is_one_argument_behind_the_options",),
    ),
    Mutant(
        "agent.granted-units",
        "S11",
        "node_agent/managed.py",
        "UNIT.fullmatch(unit)",
        "unit",
        (f"{_S11}::test_a_granted_service_is_one_argument_behind_the_options",),
    ),
    Mutant(
        "agent.zone-is-a-word",
        "S11",
        RNDC,
        "    if not _ZONE.fullmatch(zone):",
        "    if False:",
        (f"{_S11}::test_a_zone_is_one_word_of_a_command_and_no_option",),
    ),
    Mutant(
        "agent.zone-is-no-option",
        "S11",
        RNDC,
        '_ZONE = re.compile(r"[a-z0-9_.][a-z0-9_.-]{0,252}", re.ASCII)',
        '_ZONE = re.compile(r"[a-z0-9_.-]{1,253}", re.ASCII)',
        (f"{_S11}::test_a_zone_is_one_word_of_a_command_and_no_option[delzone]",),
    ),
    Mutant(
        "agent.braces-of-a-zone",
        "S11",
        RNDC,
        """    if depth != 0 or config.count('"') % 2 or "\\\\" in config or"""
        " not config.isprintable():",
        "    if False:",
        (f"{_S11}::test_a_configuration_stays_between_its_braces",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "agent.journal-is-its-owners",
        "S14",
        "node_agent/journal_file.py",
        "                each.chmod(0o600)\n",
        "",
        (f"{_S14}::test_a_journal_that_others_can_read_is_closed_to_them[]",),
    ),
    Mutant(
        "agent.specification-too-deep",
        "S9",
        "templates/objects.py",
        "    except (msgspec.MsgspecError, ValueError, RecursionError) as error:",
        "    except msgspec.MsgspecError as error:",
        (
            "tests/security/test_s09_deserialisation.py::"
            "test_whatever_comes_is_a_value_or_refused[specifications]",
        ),
        dies_of=("RecursionError", "ValueError"),
    ),
    Mutant(
        "agent.renewed-by-a-wrong-clock",
        "P6",
        "node_agent/identity.py",
        "        if not following.usable(at):\n",
        "        if False:\n",
        (
            "tests/faults/test_stepped_clocks.py"
            "::test_a_certificate_renewed_by_a_wrong_clock_is_not_taken",
        ),
    ),
    Mutant(
        "agent.enrolled-by-a-wrong-clock",
        "P6",
        "node_agent/enrolment.py",
        "        if not leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc:",
        "        if False:",
        (
            "tests/faults/test_stepped_clocks.py"
            "::test_a_certificate_issued_by_a_wrong_clock_does_not_enrol",
        ),
    ),
)
