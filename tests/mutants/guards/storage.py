"""Guards of the database and of who may sign in."""

from tests.mutants.mutant import Mutant

PEOPLE = "controller/storage/people.py"
LINK = "controller/storage/link.py"
SESSIONS = "controller/storage/web_sessions.py"
_S21 = "tests/security/test_s21_session_forging.py"
_S22 = "tests/security/test_s22_signing_in.py"
_EMBEDDED = "tests/integration/test_storage_embedded.py"
_TRANSACTIONS = "tests/integration/test_storage_transactions.py"
_PEOPLE = "tests/integration/test_storage_people.py"
_SECRETS = "tests/integration/test_storage_secrets.py"

MUTANTS = (
    Mutant(
        "storage.second-server",
        "P3",
        "controller/storage/embedded.py",
        "return self._listener() == process.pid",
        "return False",
        (f"{_EMBEDDED}::test_a_server_that_may_not_be_looked_at_is_used_and_never_started_twice",),
    ),
    Mutant(
        "storage.others-server",
        "P3",
        "controller/storage/embedded.py",
        "return self._listener() == process.pid",
        "return True",
        (
            f"{_EMBEDDED}::test_a_number_in_the_lock_file_that_is_another_program_of_the_name_"
            "is_not_believed",
        ),
    ),
    Mutant(
        "storage.clients-new-enough",
        "P9",
        "controller/storage/binaries.py",
        " and int(name) >= server]",
        "]",
        (
            "tests/unit/controller/storage/test_binaries.py::"
            "test_an_external_server_is_dumped_by_the_systems_oldest_programs_that_can",
        ),
    ),
    Mutant(
        "storage.server-tended",
        "P7",
        "controller/storage/tending.py",
        "            await deferToThread(self._server.start)\n",
        "            pass\n",
        (f"{_EMBEDDED}::test_a_server_that_was_killed_is_started_again_until_nobody_tends_it",),
        waits=True,
    ),
    Mutant(
        "storage.session-rotation",
        "S21",
        SESSIONS,
        "    if cookie is not None:\n        await end_session(tx, cookie)\n",
        "",
        (f"{_S21}::test_signing_in_begins_another_session_and_ends_the_first",),
    ),
    Mutant(
        "storage.session-idle",
        "S22",
        SESSIONS,
        """        " AND s.seen_at > now() - make_interval(mins => %s)",
        (_TOUCH_SECONDS, digest, IDLE_MINUTES),""",
        """        " AND (true OR s.seen_at > now() - make_interval(mins => %s))",
        (_TOUCH_SECONDS, digest, IDLE_MINUTES),""",
        (f"{_S22}::test_a_session_ends_when_its_time_is_up",),
    ),
    Mutant(
        "storage.session-age",
        "S22",
        SESSIONS,
        " AND s.expires_at > now() AND o.disabled_at",
        " AND o.disabled_at",
        (f"{_S22}::test_a_session_ends_when_its_time_is_up",),
    ),
    Mutant(
        "storage.token-expired",
        "S22",
        PEOPLE,
        '        " AND (t.expires_at IS NULL OR t.expires_at > now())",\n',
        '        "",\n',
        (f"{_PEOPLE}::test_tokens_expire_and_are_revoked_and_only_digests_are_kept",),
    ),
    Mutant(
        "storage.sign-in-disabled",
        "S22",
        "controller/storage/sign_in.py",
        " if operator is not None and not operator.disabled else None",
        " if operator is not None else None",
        (f"{_S22}::test_a_disabled_operator_is_out_at_once_and_stays_out",),
        dies_of=("LookupError",),
    ),
    Mutant(
        "storage.guessing",
        "S22",
        "controller/storage/sign_in.py",
        "        if wait:\n            raise SignInRefusedError(wait)\n",
        "",
        (f"{_S22}::test_guessing_is_slowed_down_and_told_honestly",),
    ),
    Mutant(
        "storage.nobodys-password",
        "S22",
        "controller/storage/passwords.py",
        "        return kept is not None",
        "        return True",
        (f"{_PEOPLE}::test_no_password_is_nobodys",),
    ),
    Mutant(
        "storage.long-statement",
        "P4",
        LINK,
        "            self.reactor.addWriter(self)\n",
        "            pass\n",
        (f"{_TRANSACTIONS}::test_a_statement_longer_than_a_socket_takes_at_once_is_sent_whole",),
        dies_of=("TimeoutError",),
    ),
    Mutant(
        "storage.socket-that-libpq-closes",
        "P7",
        LINK,
        "        self.reactor.removeReader(self)\n        self.reactor.removeWriter(self)\n",
        "",
        (
            "tests/integration/test_storage_recovery.py"
            "::test_a_commit_cut_off_is_unknown_and_not_retried",
        ),
        dies_of=("OSError",),
    ),
    Mutant(
        "storage.silent-backend",
        "P5",
        "controller/storage/link.py",
        "self.reactor.callLater(ANSWER_SECONDS, self._expire)",
        "self.reactor.callLater(3600.0, self._expire)",
        ("tests/faults/test_hung_backend.py::test_another_backend_is_asked_where_one_hangs",),
        waits=True,
    ),
    Mutant(
        "storage.silent-twice",
        "P5",
        "controller/storage/database.py",
        "                if isinstance(error, SilentError):\n",
        "                if False:\n",
        (
            "tests/faults/test_hung_backend.py"
            "::test_a_database_whose_backends_all_hang_is_told_as_away",
        ),
    ),
    Mutant(
        "storage.rotation-taken-up-to-open",
        "S14",
        "controller/storage/secrets.py",
        "        if name not in self._ciphers:",
        "        if False:",
        (f"{_SECRETS}::test_a_rotation_is_taken_up_by_who_had_read_the_file_before",),
        dies_of=("SecretError",),
    ),
    Mutant(
        "storage.sealed-before-a-rotation",
        "S14",
        "controller/storage/secrets.py",
        "        if not self.is_newest(sealed):",
        "        if False:",
        (f"{_SECRETS}::test_what_was_sealed_before_a_rotation_and_stored_after_it_is_sealed_anew",),
        dies_of=("SecretError",),
    ),
    Mutant(
        "storage.keys-of-another-cluster",
        "S14",
        "controller/storage/secrets.py",
        "            if not hmac.compare_digest(file.digest, self._digest_key):",
        "            if False:",
        (f"{_SECRETS}::test_a_key_file_that_is_none_of_ours_changes_nothing_for_who_runs",),
        dies_of=("SecretError",),
    ),
    Mutant(
        "storage.one-rotation-at-a-time",
        "S14",
        "controller/storage/key_rotation.py",
        '    await tx.run("LOCK TABLE secret IN EXCLUSIVE MODE")\n',
        "",
        (f"{_SECRETS}::test_of_two_at_once_one_waits_and_no_key_is_lost",),
        dies_of=("SecretError", "FirstError", "FileNotFoundError"),
    ),
    Mutant(
        "storage.keys-that-open-nothing",
        "S14",
        "controller/storage/key_rotation.py",
        "    if not opened:",
        "    if False:",
        (f"{_SECRETS}::test_a_key_file_that_opens_nothing_is_left_alone",),
    ),
    Mutant(
        "storage.former-key-in-use",
        "S14",
        "controller/storage/key_rotation.py",
        "    if left:",
        "    if False:",
        (f"{_SECRETS}::test_former_keys_are_forgotten_once_nothing_is_sealed_with_them",),
    ),
    Mutant(
        "storage.key-file-of-another-user",
        "S14",
        "controller/storage/key_rotation.py",
        "    if real.stat().st_uid != os.geteuid():",
        "    if False:",
        (f"{_SECRETS}::test_a_key_file_of_another_user_is_left_alone",),
    ),
    Mutant(
        "storage.backup-with-another-key",
        "S14",
        "controller/storage/backup.py",
        "        if copied[SECRETS_KEY].read_bytes() != keys:",
        "        if False:",
        (
            "tests/integration/test_storage_backup.py"
            "::test_a_backup_during_which_the_key_of_secrets_was_changed_is_refused",
        ),
    ),
    Mutant(
        "storage.sealed-with-unknown-keys",
        "S14",
        "controller/storage/secrets.py",
        "        if not self._follow_file():",
        "        if False:",
        (f"{_SECRETS}::test_a_key_file_that_is_none_of_ours_changes_nothing_for_who_runs",),
    ),
    Mutant(
        "storage.keys-of-another-database",
        "S14",
        "controller/storage/key_rotation.py",
        "    if len(file.keys) > 1 and not opened:",
        "    if False:",
        (f"{_SECRETS}::test_keys_are_not_forgotten_by_a_database_that_knows_none_of_them",),
    ),
)
