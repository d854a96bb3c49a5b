"""Guards of certificates, keys, names and TLS."""

from tests.mutants.mutant import Mutant

POLICY = "pki/policy.py"
AUTHORITY = "pki/authority.py"
KEYS = "pki/keys.py"
NAMES = "pki/names.py"
_S5 = "tests/security/test_s05_agent_certificate_as_controller.py"
_S6 = "tests/security/test_s06_peer_not_verified.py"
_S13 = "tests/security/test_s13_names_that_lie.py"
_KEYS = "tests/unit/pki/test_keys.py"
_CLIENT = f"{_S6}::test_a_client_that_is_nearly_a_box_is_refused"
_SERVER = f"{_S6}::test_a_server_that_is_nearly_the_controller_is_refused"

MUTANTS = (
    Mutant(
        "pki.role-of-peer",
        "S6",
        POLICY,
        "    if name.role not in policy.roles:",
        "    if False:",
        (f"{_CLIENT}[an-operator]", f"{_SERVER}[a-box-with-a-servers-usage]"),
    ),
    Mutant(
        "pki.cluster-of-peer",
        "S6",
        POLICY,
        "    if policy.cluster is not None and name.cluster != policy.cluster:",
        "    if False:",
        (f"{_CLIENT}[other-cluster]", f"{_SERVER}[other-cluster]"),
    ),
    Mutant(
        "pki.one-name",
        "S4",
        POLICY,
        "    if len(uris) != 1:",
        "    if len(uris) < 1:",
        (f"{_CLIENT}[two-names]",),
    ),
    Mutant(
        "pki.servers-usage",
        "S5",
        POLICY,
        '    if name.role != "controller" and ExtendedKeyUsageOID.SERVER_AUTH in usages:',
        "    if False:",
        (f"{_CLIENT}[a-box-with-a-servers-usage]",),
    ),
    Mutant(
        "pki.revoked",
        "S6",
        POLICY,
        "    if denied:\n",
        "    if False:\n",
        (f"{_S6}::test_a_revoked_certificate_is_refused_from_the_next_handshake_on",),
    ),
    Mutant(
        "pki.damaged-deny-list",
        "S6",
        POLICY,
        '        raise PeerRefusedError(f"the deny-list cannot be read: {error}") from error\n',
        "        denied = False\n",
        (f"{_S6}::test_a_damaged_deny_list_lets_nobody_in",),
    ),
    Mutant(
        "pki.a-ca-is-no-member",
        "S6",
        POLICY,
        "    if kind.ca:\n",
        "    if False:\n",
        (f"{_CLIENT}[a-ca]",),
    ),
    Mutant(
        "pki.curve-of-peer",
        "S6",
        POLICY,
        "    if not is_p256(certificate.public_key()):",
        "    if False:",
        (f"{_CLIENT}[p-384]", f"{_SERVER}[rsa-2048]"),
    ),
    Mutant(
        "pki.what-openssl-refuses",
        "S6",
        POLICY,
        "                return refuse(connection, OPENSSL_REASONS",
        "                return True or refuse(connection, OPENSSL_REASONS",
        (f"{_CLIENT}[expired]", f"{_SERVER}[other-ca]"),
    ),
    Mutant(
        "pki.client-certificate-needed",
        "S6",
        POLICY,
        "        mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT\n",
        "        pass\n",
        (f"{_S6}::test_a_client_without_a_certificate_is_refused",),
    ),
    Mutant(
        "pki.tls-version",
        "S6",
        POLICY,
        "    context.set_min_proto_version(SSL.TLS1_3_VERSION)\n",
        "    context.set_min_proto_version(SSL.TLS1_2_VERSION)\n",
        (
            f"{_S6}::test_tls_1_2_is_refused_by_the_controller",
            f"{_S6}::test_tls_1_2_is_refused_by_the_box",
        ),
    ),
    Mutant(
        "pki.strict-x509",
        "S6",
        POLICY,
        "    store.add_cert(crypto.X509.from_cryptography(authority))\n"
        "    store.set_flags(crypto.X509StoreFlags.X509_STRICT)\n",
        "    store.add_cert(crypto.X509.from_cryptography(authority))\n",
        (f"{_CLIENT}[not-strictly-x509]",),
    ),
    Mutant(
        "pki.pinned-ca",
        "S6",
        POLICY,
        "                if pinned and _fingerprint(certificate) == pinned_ca:",
        "                if pinned:",
        (f"{_S6}::test_a_box_with_another_cas_token_believes_nobody",),
    ),
    Mutant(
        "pki.session-resumption",
        "S7",
        POLICY,
        "SSL.OP_NO_TICKET | ",
        "",
        (f"{_S6}::test_no_session_is_resumed",),
        dies_of=("Error",),
    ),
    Mutant(
        "pki.usage-of-a-box",
        "S5",
        AUTHORITY,
        '        if name.role == "controller":\n            usages.append',
        "        if True:\n            usages.append",
        (f"{_S5}::test_nothing_of_a_request_but_its_key_is_copied",),
        dies_of=("PeerRefusedError",),
    ),
    Mutant(
        "pki.cluster-of-the-ca",
        "S4",
        AUTHORITY,
        "        if name.cluster != self.cluster:",
        "        if False:",
        ("tests/unit/pki/test_authority.py::test_a_name_of_another_cluster_is_refused",),
    ),
    Mutant(
        "pki.proof-of-possession",
        "S5",
        KEYS,
        "    if not request.is_signature_valid:",
        "    if False:",
        (f"{_KEYS}::test_a_request_without_proof_of_possession_is_refused",),
    ),
    Mutant(
        "pki.request-size",
        "S13",
        KEYS,
        "    if len(csr_pem) > LARGEST_REQUEST:",
        "    if False:",
        (f"{_KEYS}::test_a_request_that_is_too_large_is_refused",),
    ),
    Mutant(
        "pki.key-is-its-owners",
        "S14",
        KEYS,
        "        if mode & READABLE_BY_OTHERS:",
        "        if False:",
        (f"{_KEYS}::test_a_key_that_others_may_touch_is_refused",),
    ),
    Mutant(
        "pki.key-file-mode",
        "S14",
        KEYS,
        "    replace_durably(path, content, mode=0o600)",
        "    replace_durably(path, content, mode=0o644)",
        (f"{_KEYS}::test_a_private_file_is_its_owners_alone_whatever_the_umask",),
        dies_of=("KeyRefusedError",),
    ),
    Mutant(
        "pki.spelling-of-names",
        "S13",
        NAMES,
        'OPERATOR = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,30}[a-z0-9])?")',
        'OPERATOR = re.compile(r"(?s).{1,32}")',
        (f"{_S13}::test_an_operators_name_that_lies_is_refused[Ann]",),
    ),
    Mutant(
        "pki.spelling-of-boxes",
        "S4",
        NAMES,
        "    if not BOX.fullmatch(subject):",
        "    if not BOX.match(subject):",
        (f"{_CLIENT}[name-with-a-dot]",),
    ),
    Mutant(
        "pki.request-shown-escaped",
        "S13",
        "pki/main.py",
        "    shown = ascii(text)\n",
        "    shown = text\n",
        (f"{_S13}::test_a_requests_subject_is_shown_escaped",),
    ),
)
