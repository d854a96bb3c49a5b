"""Guards of what is written into configurations."""

from tests.mutants.mutant import Mutant

ESCAPE = "templates/escape.py"
_APACHE = "tests/security/test_s17_config_injection_apache.py"
_APACHE_FIELD = f"{_APACHE}::test_a_hostile_value_is_refused_or_stays_one_argument"
_SERVER = "tests/unit/templates/apache/test_configuration.py"
_SITES = "tests/unit/templates/apache/test_sites.py"
_ESCAPE = "tests/unit/templates/test_escape.py"
_BIND = "tests/security/test_s17_config_injection_bind.py"
_ZONE_DATA = "tests/unit/templates/bind/test_zone_data.py"
_S35 = "tests/security/test_s35_dns_data.py"
_PLANTED = "tests/security/test_s14_planted_secrets.py"

MUTANTS = (
    Mutant(
        "templates.site-key-closed",
        "S14",
        "templates/apache/sites.py",
        "            files.append(WriteFile(site.certificate_file, pair.pem, mode=0o600))",
        "            files.append(WriteFile(site.certificate_file, pair.pem, mode=0o644))",
        (
            f"{_PLANTED}::test_secrets_stand_in_the_files_that_need_them_and_these_are_closed",
            f"{_PLANTED}::test_no_answer_of_the_api_or_of_hsctl_shows_one",
        ),
    ),
    Mutant(
        "templates.redirect-url",
        "S17",
        "templates/apache/names.py",
        "    if len(value) > URL_LENGTH or not _URL.fullmatch(value):",
        "    if len(value) > URL_LENGTH:",
        (f"{_SITES}::test_redirect_takes_urls_only",),
    ),
    Mutant(
        "templates.host-name",
        "S17",
        "templates/apache/names.py",
        "    if len(value) > 253 or not _HOST.fullmatch(value):",
        "    if len(value) > 253:",
        (f"{_APACHE_FIELD}[domain]",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "templates.shared-domain",
        "S17",
        "templates/apache/names.py",
        "    return host_name(value)\n",
        "    return value\n",
        (f"{_SERVER}::test_a_domain_that_cannot_be_shared_is_refused[wildcard]",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "templates.site-directory",
        "S3",
        "templates/apache/names.py",
        "    if not _SITE.fullmatch(value):",
        "    if not value:",
        (f"{_APACHE_FIELD}[site]",),
        dies_of=("ValueError",),
    ),
    Mutant(
        "templates.index-document",
        "S17",
        "templates/apache/names.py",
        '    if not _DOCUMENT.fullmatch(value) or value.lower() == "disabled":',
        '    if value.lower() == "disabled":',
        (f"{_SITES}::test_index_documents_are_file_names",),
    ),
    Mutant(
        "templates.printable",
        "S17",
        ESCAPE,
        "    if not value.isprintable():",
        "    if False:",
        (f"{_ESCAPE}::test_a_character_that_cannot_be_printed_is_refused_everywhere",),
    ),
    Mutant(
        "templates.apache-variable",
        "S17",
        ESCAPE,
        '    if "${" in text:',
        "    if False:",
        (f"{_ESCAPE}::test_apache_variables_are_refused",),
    ),
    Mutant(
        "templates.apache-quotes",
        "S17",
        ESCAPE,
        """.replace('"', '\\\\"') + '"'""",
        """ + '"'""",
        (f"{_ESCAPE}::test_an_apache_argument_reads_back_as_it_was",),
    ),
    Mutant(
        "templates.named-quotes",
        "S17",
        ESCAPE,
        """    if '"' in text or "\\\\" in text:""",
        "    if False:",
        ("tests/unit/templates/test_escape.py::test_named_strings_take_no_quote_and_no_backslash",),
    ),
    Mutant(
        "templates.html",
        "S17",
        ESCAPE,
        '    return html.escape(_printable(value, "HTML text"), quote=True)',
        '    return _printable(value, "HTML text")',
        ("tests/unit/templates/test_escape.py::test_html_text_reads_back_as_it_was",),
    ),
    Mutant(
        "templates.record-data-printable",
        "S35",
        "templates/bind/zone_data.py",
        "    if not record.data.isprintable():",
        "    if False:",
        (f"{_ZONE_DATA}::test_a_record_that_is_not_plain_data_is_refused",),
    ),
    Mutant(
        "templates.record-type",
        "S35",
        "templates/bind/zone_data.py",
        "    if record.type not in TYPES:",
        "    if False:",
        (f"{_ZONE_DATA}::test_a_record_that_is_not_plain_data_is_refused",),
        dies_of=("AttributeError", "ValueError"),
    ),
    Mutant(
        "templates.record-in-its-zone",
        "S35",
        "templates/bind/zone_data.py",
        "    if not owner.is_subdomain(origin):",
        "    if False:",
        (f"{_S35}::test_a_record_outside_of_its_zone_is_refused[www.other.test.]",),
    ),
    Mutant(
        "templates.place-of-the-serial",
        "P1",
        "templates/bind/zone_file.py",
        "_SOA_LINE.fullmatch(line)",
        're.match(rf"(.*?){LAST_SERIAL}((?s:.*))", line)',
        (f"{_ZONE_DATA}::test_a_start_of_authority_without_a_place_for_its_serial_is_refused",),
    ),
    Mutant(
        "templates.zone-name",
        "S3",
        "templates/bind/zone_data.py",
        '        or not all(_LABEL.fullmatch(label) for label in zone.split("."))\n',
        "",
        (f"{_BIND}::test_no_key_of_a_zone_becomes_a_path_or_a_command",),
        dies_of=("ValueError", "DNSException"),
    ),
    Mutant(
        "templates.address-of-a-peer",
        "S35",
        "templates/bind/zone.py",
        '            raise PlanRefusedError(f"{zone}: {error}") from error\n        if not 1 <=',
        "            pass\n        if not 1 <=",
        (
            "tests/unit/templates/bind/test_zone.py::"
            "test_a_peer_that_is_no_address_and_port_is_refused",
        ),
    ),
    Mutant(
        "templates.transfer-to-nobody",
        "S35",
        "templates/bind/named.conf.j2",
        "\tallow-transfer { none; };\n",
        "",
        (f"{_S35}::test_what_no_zone_says_is_transferred_to_nobody",),
    ),
)
