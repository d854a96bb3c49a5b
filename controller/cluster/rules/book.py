"""Every rule of the cluster, by subject."""

from collections.abc import Mapping
from types import MappingProxyType

from controller.cluster.rules import addresses as rules_addresses
from controller.cluster.rules import boxes as rules_boxes
from controller.cluster.rules import certificates as rules_certificates
from controller.cluster.rules import dns as rules_dns
from controller.cluster.rules import dns_roles as rules_dns_roles
from controller.cluster.rules import servers as rules_servers
from controller.cluster.rules import types as rules_types
from controller.cluster.rules.rules import Rule

RULES: tuple[Rule, ...] = (
    *rules_boxes.RULES,
    *rules_servers.RULES,
    *rules_types.RULES,
    *rules_addresses.RULES,
    *rules_dns.RULES,
    *rules_dns_roles.RULES,
    *rules_certificates.RULES,
)

BY_ID: Mapping[str, Rule] = MappingProxyType({rule.id: rule for rule in RULES})
