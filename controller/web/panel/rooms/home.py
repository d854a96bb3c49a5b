"""Home: the cluster at a glance, what is in trouble, what was done last."""

from controller.cluster.logical_servers import NOT_RUN
from controller.web.panel.answers import Page
from controller.web.panel.visits import Visit


async def show(visit: Visit) -> Page:
    """Show the big picture."""
    status = await visit.ask("status.show")
    changes = await visit.ask("change.list", limit="8")
    faults = await visit.ask("fault.list", limit="5")
    health = await visit.ask("health.list", limit="1")
    muted = {box["name"] for box in status["boxes"] if box["muted"]}
    behind = [
        lane
        for lane in status["lanes"]
        if lane["box"] not in muted
        and (
            lane["condition"] not in ("ok", "new", NOT_RUN)
            or lane["settled_revision"] < lane["revision"]
        )
    ]
    troubled = [
        box
        for box in status["boxes"]
        if box["condition"] != "connected" and box["name"] not in muted
    ]
    calm = [box for box in status["boxes"] if box not in troubled]
    return Page(
        "home",
        "Home",
        "home",
        {
            "status": status,
            "changes": changes["items"],
            "faults": faults["items"],
            "findings": sum(health["counts"].values()),
            "behind": behind,
            "troubled": troubled,
            "calm": calm,
        },
        hears=("box", "change"),
    )
