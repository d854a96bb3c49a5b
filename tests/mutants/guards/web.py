"""Guards of the API and of HTTP itself."""

from tests.mutants.mutant import Mutant

AUTHENTICATION = "controller/web/authentication.py"
CHANNEL = "controller/web/channel.py"
ROUTING = "controller/web/routing.py"
_PLAIN = "tests/integration/test_plain_door.py"
_S2 = "tests/security/test_s02_same_decision.py"
_S27 = "tests/security/test_s27_csrf.py"
_S28 = "tests/security/test_s28_host.py"
_S29 = "tests/security/test_s29_desync.py"

MUTANTS = (
    Mutant(
        "web.permission-of-an-account",
        "S2",
        AUTHENTICATION,
        '    if principal.kind == "account" and not permission.startswith("account."):',
        "    if False:",
        (f"{_S2}::test_each_command_has_a_permission_that_is_looked_at[pserver.add]",),
    ),
    Mutant(
        "web.one-spelling",
        "S2",
        ROUTING,
        "        if not text or len(text) > _LONGEST_SEGMENT"
        """ or text in (".", "..") or "/" in text:""",
        "        if False:",
        (f"{_S2}::test_another_spelling_reaches_the_same_command_or_none",),
    ),
    Mutant(
        "web.disabled-operators-certificate",
        "S2",
        AUTHENTICATION,
        "        if not await self.operator_enabled(name):",
        "        if False:",
        (f"{_S2}::test_a_revoked_certificate_and_a_disabled_operator_are_nobody",),
    ),
    Mutant(
        "web.foreign-page",
        "S27",
        AUTHENTICATION,
        "        _refuse_foreign_page(request)\n",
        "",
        (f"{_S27}::test_a_certificate_that_a_foreign_page_brings_is_not_taken",),
    ),
    Mutant(
        "web.host",
        "S28",
        CHANNEL,
        "        if len(hosts) != 1 or not self.rules.serves(hosts[0]):",
        "        if False:",
        (f"{_S28}::test_an_unknown_host_gets_nothing_and_no_echo[evil.test]",),
    ),
    Mutant(
        "web.target",
        "S28",
        CHANNEL,
        """        if not self.path.startswith(b"/"):""",
        "        if False:",
        (f"{_S28}::test_an_ambiguous_target_is_refused",),
        dies_of=("IndexError",),
    ),
    Mutant(
        "web.body-size",
        "S29",
        CHANNEL,
        "        if self._taken > self._limit:",
        "        if False:",
        (f"{_S29}::test_chunks_without_end_are_cut_off",),
        dies_of=("TimeoutError",),
    ),
    Mutant(
        "web.slow-request",
        "S29",
        CHANNEL,
        "        self._deadline = None\n        self.timeoutConnection()",
        "        self._deadline = None",
        (f"{_S29}::test_a_request_that_never_ends_is_ended",),
    ),
    Mutant(
        "web.many-headers",
        "S29",
        CHANNEL,
        "    maxHeaders = HEADERS\n",
        "",
        (f"{_S29}::test_nothing_behind_a_malformed_request_is_heard[very many headers]",),
        dies_of=("TimeoutError",),
    ),
    Mutant(
        "web.plain-connections",
        "S38",
        "controller/web/plain.py",
        "if same >= CONNECTIONS_PER_ADDRESS or",
        "if",
        (f"{_PLAIN}::test_s38_one_address_has_so_many_connections",),
    ),
)
