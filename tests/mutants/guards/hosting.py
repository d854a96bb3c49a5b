"""Guards of what is hosted: whose a name may be, below the service domain too."""

from tests.mutants.mutant import Mutant

THIRD_LEVEL = "controller/hosting/third_level.py"
_SERVICE = "tests/integration/test_service_domain.py"

MUTANTS = (
    Mutant(
        "hosting.third-level-off",
        "S34",
        THIRD_LEVEL,
        "    if not switched_on or not label:",
        "    if not label:",
        (f"{_SERVICE}::test_r21_is_off_until_the_operator_switches_it_on",),
    ),
    Mutant(
        "hosting.one-label",
        "S34",
        THIRD_LEVEL,
        "    if not switched_on or not label:",
        "    if not switched_on:",
        (f"{_SERVICE}::test_r21_names_of_servers_are_not_for_customers",),
    ),
    Mutant(
        "hosting.reserved-labels",
        "S34",
        THIRD_LEVEL,
        "    if taken or is_reserved(label):",
        "    if taken:",
        (f"{_SERVICE}::test_r21_names_of_servers_are_not_for_customers",),
    ),
    Mutant(
        "hosting.names-in-use",
        "S34",
        THIRD_LEVEL,
        "    if taken or is_reserved(label):",
        "    if is_reserved(label):",
        (f"{_SERVICE}::test_r21_names_of_servers_are_not_for_customers",),
    ),
    Mutant(
        "hosting.server-names",
        "S34",
        THIRD_LEVEL,
        "    if found is not None:",
        "    if False:",
        (f"{_SERVICE}::test_r21_no_server_gets_a_name_that_a_customer_has",),
    ),
    Mutant(
        "hosting.server-names-at-once",
        "S34",
        THIRD_LEVEL,
        "LOCK = \"SELECT pg_advisory_xact_lock(hashtext('service zone'))\"",
        'LOCK = "SELECT 1"',
        (f"{_SERVICE}::test_r21_of_a_server_and_a_customer_at_once_one_gets_the_name",),
    ),
    Mutant(
        "hosting.delegation-follows",
        "S34",
        "controller/hosting/zone_mover.py",
        "        await follow_below(work, list(wanted), now=now)",
        "        pass",
        (f"{_SERVICE}::test_r21_the_delegation_follows_a_zone_to_other_name_servers",),
    ),
    Mutant(
        "hosting.delegations-of-a-whole-zone",
        "S34",
        "controller/hosting/service_zone.py",
        "        return in_order([*records, *await records_below(tx, domain)])",
        "        return in_order(records)",
        (f"{_SERVICE}::test_a_service_zone_that_is_written_whole_has_all_delegations",),
    ),
    Mutant(
        "hosting.own-site-is-no-customers",
        "S34",
        "controller/hosting/ownership.py",
        "        if other is None or other == service:",
        "        if other is None:",
        (f"{_SERVICE}::test_r23_the_own_site_stands_in_no_customers_way",),
        dies_of=("CommandError",),
    ),
    Mutant(
        "hosting.ending-certificates",
        "P6",
        "controller/cluster/rules/certificates.py",
        "        if shared.days_left < ENDING_DAYS:",
        "        if shared.days_left < 0:",
        (
            "tests/integration/test_health.py::test_a_shared_certificate_is_told_of_from_thirty_days_"
            "before_its_end",
        ),
    ),
    Mutant(
        "hosting.aliases-alone",
        "S34",
        "controller/hosting/instant_access.py",
        "    return [label for label in labels if label not in taken]",
        "    return list(labels)",
        (
            f"{_SERVICE}::test_r22_an_alias_is_nobody_elses",
            f"{_SERVICE}::test_r22_a_domain_that_comes_back_has_its_alias",
        ),
        dies_of=("UniqueViolation",),
    ),
    Mutant(
        "hosting.server-names-of-aliases",
        "S34",
        THIRD_LEVEL,
        "JOIN site s ON s.alias = n.label",
        "JOIN site s ON s.alias = n.label AND false",
        (f"{_SERVICE}::test_r22_an_alias_is_nobody_elses",),
    ),
    Mutant(
        "hosting.full-service-zone",
        "P10",
        "controller/hosting/names_below.py",
        "        raise _full(service, zone.records)",
        "        pass",
        (f"{_SERVICE}::test_the_service_zone_takes_as_many_names_as_fit",),
    ),
    Mutant(
        "hosting.alias-loop",
        "S17",
        "controller/hosting/site_commands.py",
        "(site.row.domain, site.row.alias, www)",
        "(site.row.domain, www)",
        (f"{_SERVICE}::test_r22_a_redirect_to_the_alias_goes_in_circles",),
    ),
)
