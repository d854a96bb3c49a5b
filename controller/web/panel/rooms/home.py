"""Home: the cluster at a glance, what is in trouble, what was done last."""

from controller.web.panel.answers import Page
from controller.web.panel.visits import Visit


async def show(visit: Visit) -> Page:
    """Show the big picture."""
    status = await visit.ask("status.show", limit="12")
    changes = await visit.ask("change.list", limit="8")
    faults = await visit.ask("fault.list", limit="5")
    health = await visit.ask("health.list", limit="1", kept="true")
    return Page(
        "home",
        "Home",
        "home",
        {
            "status": status,
            "changes": changes["items"],
            "faults": faults["items"],
            "findings": sum(health["counts"].values()),
        },
        hears=("box", "change"),
    )
