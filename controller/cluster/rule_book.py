"""Every rule of the cluster, by subject."""

from collections.abc import Mapping
from types import MappingProxyType

from controller.cluster import (
    rules_addresses,
    rules_boxes,
    rules_dns,
    rules_dns_roles,
    rules_servers,
    rules_types,
)
from controller.cluster.rules import Rule

RULES: tuple[Rule, ...] = (
    *rules_boxes.RULES,
    *rules_servers.RULES,
    *rules_types.RULES,
    *rules_addresses.RULES,
    *rules_dns.RULES,
    *rules_dns_roles.RULES,
)

BY_ID: Mapping[str, Rule] = MappingProxyType({rule.id: rule for rule in RULES})
