"""What `hsctl local up` shows when the cluster is there."""

import socket

from controller.local.layout import ClusterPlan, Layout, Place


def banner(plan: ClusterPlan, layout: Layout, notes: list[str], *, program: str = "hsctl") -> str:
    """Write the addresses, the first password and commands that work as they stand."""
    boxes = {box.name: box for box in plan.boxes}
    ns1, ns2, web1 = (boxes[name].endpoint for name in ("ns1", "ns2", "web1"))
    try:
        sign_in = f"admin / {layout.password.read_text().strip()}"
    except FileNotFoundError:
        sign_in = "admin, by the password that you set"
    host = socket.gethostname()
    lines = [
        "",
        "Heliosphere is up: a controller, two name servers and a web server on this machine.",
        "",
        f"  Panel      https://{plan.panel}/   (its certificate is the cluster's own)",
        f"  Sign in    {sign_in}",
        f"  From afar  ssh -L {plan.panel.port}:{plan.panel} {host}",
        f"  State      {layout.root}   (logs in logs/)",
        "",
        *(f"  Note: {note}" for note in notes),
        *([""] if notes else []),
        "Try:",
        f"  {program} account add acme && {program} domain add shop.test --account acme",
        f"  {_dig(ns1)} shop.test SOA; {_dig(ns2)} shop.test SOA",
        f"  curl -H 'Host: shop.test' {_url(web1)}",
        *([f"  {_tls_request(tls)}"] if (tls := boxes["web1"].tls) else []),
        f"  {program} record add shop.test www2 A 192.0.2.7 && {_dig(ns2)} www2.shop.test",
        f"  {program} status",
        "",
    ]
    return "\n".join(lines)


def _dig(place: Place) -> str:
    port = "" if place.port == 53 else f" -p {place.port}"
    return f"dig +short @{place.address}{port}"


def _url(place: Place) -> str:
    return f"http://{place.address}/" if place.port == 80 else f"http://{place}/"


def _tls_request(place: Place) -> str:
    """Ask for a site that has no certificate of its own: the server shows its own, self-signed."""
    port = "" if place.port == 443 else f":{place.port}"
    return f"curl -k --resolve shop.test:{place.port}:{place.address} https://shop.test{port}/"
