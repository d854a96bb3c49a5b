"""Guards of the controller's host and of its clients: files, keys, what it sends to a shell."""

from tests.mutants.mutant import Mutant

CONFIG = "controller/config.py"
_HOUSE = "tests/integration/test_housekeeping.py"
_SSL = "tests/integration/test_shared_ssl.py"
_S9 = "tests/security/test_s09_deserialisation.py"
_S10 = "tests/security/test_s10_shell_injection.py"
_S12 = "tests/security/test_s12_search_path.py"
_S14 = "tests/security/test_s14_secrets.py"
_PLANTED = "tests/security/test_s14_planted_secrets.py"

MUTANTS = (
    Mutant(
        "controller.failing-renewal",
        "P7",
        "controller/housekeeping.py",
        "    except Exception:  # a full disk, most likely\n",
        "    except StopIteration:\n",
        (f"{_HOUSE}::test_a_certificate_that_cannot_be_renewed_costs_no_other_work_its_turn",),
        dies_of=("OSError",),
    ),
    Mutant(
        "controller.counts-steadily",
        "P7",
        "controller/main.py",
        "    reactor.seconds = time.monotonic",
        "    pass",
        ("tests/faults/test_controller_kills.py::test_a_clock_that_is_stepped_stops_nothing",),
    ),
    Mutant(
        "controller.dry-run-rolled-back",
        "P4",
        "controller/runner.py",
        "raise Rollback(CommandResult(kept, None, plan))",
        "return CommandResult(kept, None, plan)",
        ("tests/faults/test_dry_runs.py::test_a_dry_run_moves_no_row_and_its_plan_comes_true",),
    ),
    Mutant(
        "controller.configuration-of-others",
        "S12",
        CONFIG,
        "    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):",
        "    if False:",
        (f"{_S12}::test_a_configuration_that_others_may_write_is_refused",),
    ),
    Mutant(
        "controller.password-for-all",
        "S14",
        CONFIG,
        "    if status.st_mode & 0o007 and _has_password(config.database):",
        "    if False:",
        (f"{_S14}::test_a_password_of_the_database_is_not_for_all_to_read",),
    ),
    Mutant(
        "controller.shared-key-told",
        "S14",
        "controller/hosting/shared_certificates.py",
        "    key: str = secret_field()",
        "    key: str",
        (f"{_SSL}::test_s14_the_key_is_in_no_answer_no_change_and_no_table_in_clear",),
    ),
    Mutant(
        "controller.no-core",
        "S14",
        "pki/cores.py",
        "    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))",
        "    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))",
        (f"{_S14}::test_a_process_that_holds_keys_leaves_no_core[hs-ca]",),
    ),
    Mutant(
        "controller.token-not-in-arguments",
        "S14",
        "controller/local/provision.py",
        '            "-",\n',
        '            str(invitation["token"]),\n',
        (f"{_PLANTED}::test_no_process_was_given_one_on_its_command_line_or_in_its_environment",),
    ),
    Mutant(
        "controller.tokens-for-others",
        "S14",
        "controller/client/profiles.py",
        "            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:",
        "            if False:",
        (f"{_S14}::test_tokens_and_an_operators_key_are_not_for_others_to_read",),
    ),
    Mutant(
        "controller.operators-key-for-others",
        "S14",
        "controller/client/client.py",
        "            refuse_open_key(profile)\n",
        "",
        (f"{_S14}::test_tokens_and_an_operators_key_are_not_for_others_to_read",),
    ),
    Mutant(
        "controller.words-for-a-boxs-shell",
        "S10",
        "controller/bootstrap/procedure.py",
        "shlex.quote(job.enrolment_endpoint)",
        "job.enrolment_endpoint",
        (f"{_S10}::test_no_canary_is_run_by_the_shell_of_a_box",),
    ),
    Mutant(
        "controller.cursor-too-deep",
        "S9",
        "controller/pages.py",
        "    except (ValueError, RecursionError) as error:",
        "    except ValueError as error:",
        (f"{_S9}::test_whatever_comes_is_a_value_or_refused[a cursor of names]",),
        dies_of=("RecursionError",),
    ),
    Mutant(
        "controller.nothing-makes-code",
        "S9",
        "controller/pages.py",
        "        return json.loads(urlsafe_b64decode(",
        "        return eval(urlsafe_b64decode(",
        (f"{_S9}::test_nothing_makes_code_of_data",),
    ),
    Mutant(
        "controller.statement-without-values",
        "S25",
        "controller/storage/people.py",
        'IS NOT NULL, password_hash FROM operator WHERE name = %s",\n        (name,),\n',
        'IS NOT NULL, password_hash FROM operator WHERE name = " + repr(name),\n',
        ("tests/security/test_s25_statements.py::test_statements_are_written_in_the_source",),
    ),
    Mutant(
        "controller.rows-of-an-account",
        "S24",
        "controller/storage/schema/0001.first-light.sql",
        "CREATE POLICY tenant ON %I USING (hs_visible(owner_id))",
        "CREATE POLICY tenant ON %I USING (true)",
        ("tests/security/test_s24_foreign_ids.py::test_the_database_itself_hides_foreign_rows",),
    ),
    Mutant(
        "controller.secrets-left-out-of-changes",
        "S23",
        "controller/changes.py",
        '        if field.metadata.get("secret") and getattr(request, field.name)\n',
        "        if False\n",
        (
            "tests/unit/controller/test_changes.py::"
            "test_a_secret_is_neither_in_the_change_nor_in_the_repr",
            "tests/security/test_s23_secrets_in_answers.py::"
            "test_no_answer_about_a_change_holds_a_secret",
            f"{_PLANTED}::test_the_database_in_clear_text_holds_none",
            f"{_PLANTED}::test_no_answer_of_the_api_or_of_hsctl_shows_one",
        ),
    ),
    Mutant(
        "controller.secret-not-repeated",
        "S23",
        "controller/web/decoding.py",
        '    plain = isinstance(value, str | int | float) and not field.metadata.get("secret")',
        "    plain = isinstance(value, str | int | float)",
        ("tests/unit/controller/web/test_api.py::test_a_secret_field_at_fault_is_not_repeated",),
    ),
    Mutant(
        "controller.certificate-of-a-wrong-clock",
        "P6",
        "controller/identity.py",
        "begins <= datetime.now(UTC) < ends - RENEW_BEFORE",
        "datetime.now(UTC) < ends - RENEW_BEFORE",
        (
            "tests/faults/test_stepped_clocks.py"
            "::test_a_controller_that_renewed_itself_by_a_wrong_clock_does_so_again",
        ),
    ),
    Mutant(
        "controller.keys-by-a-steady-clock",
        "P8",
        "controller/housekeeping.py",
        "        await idempotency.purge(tx, ahead=ahead if ahead > STEP_SECONDS else 0.0)\n",
        "        await idempotency.purge(tx)\n",
        (
            "tests/faults/test_stepped_clocks.py"
            "::test_a_key_is_known_after_a_step_of_the_databases_clock",
        ),
    ),
    Mutant(
        "controller.token-by-one-clock",
        "P6",
        "controller/cluster/boxes/invitations.py",
        "VALUES (%s, %s, now() + make_interval(hours => %s)) RETURNING expires_at",
        "VALUES (%s, %s, timestamptz '2020-01-01' + make_interval(hours => %s))"
        " RETURNING expires_at",
        (
            "tests/integration/test_commands_boxes.py::test_a_token_ends_by_the_clock_of_the_database",
        ),
    ),
)
