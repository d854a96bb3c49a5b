"""Every place of the panel."""

from controller.web.panel.rooms import (
    accounts,
    address_moves,
    addresses,
    box_decisions,
    box_enrolment,
    box_insight,
    boxes,
    changes,
    domains,
    faults,
    health,
    home,
    logical_servers,
    model,
    records,
    server_settings,
    zone_files,
    zone_moves,
)
from controller.web.panel.routing import Route

ROUTES: tuple[Route, ...] = (
    Route("GET", "/", home.show),
    *boxes.ROUTES,
    *box_decisions.ROUTES,
    *box_enrolment.ROUTES,
    *box_insight.ROUTES,
    *logical_servers.ROUTES,
    *server_settings.ROUTES,
    *zone_moves.ROUTES,
    *addresses.ROUTES,
    *address_moves.ROUTES,
    *accounts.ROUTES,
    *domains.ROUTES,
    *records.ROUTES,
    *zone_files.ROUTES,
    *changes.ROUTES,
    *model.ROUTES,
    *faults.ROUTES,
    *health.ROUTES,
)
