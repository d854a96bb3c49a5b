"""The guards that can be taken out, by where they stand.

Whoever changes a guard changes it here too: a unit test says where the two differ.
"""

from tests.mutants.guards import (
    agent,
    agent_daemons,
    controller,
    fleet,
    fleet_door,
    hazards,
    hosting,
    panel,
    pki,
    previews,
    storage,
    templates,
    web,
    wire,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *wire.MUTANTS,
    *pki.MUTANTS,
    *fleet_door.MUTANTS,
    *fleet.MUTANTS,
    *agent.MUTANTS,
    *agent_daemons.MUTANTS,
    *controller.MUTANTS,
    *hazards.MUTANTS,
    *hosting.MUTANTS,
    *templates.MUTANTS,
    *storage.MUTANTS,
    *web.MUTANTS,
    *panel.MUTANTS,
    *previews.MUTANTS,
)
