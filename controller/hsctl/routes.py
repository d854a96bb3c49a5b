"""Where each command of the controller is found in the API.

A copy of what the registry says, because hsctl starts without importing the controller; a test
compares the two.
"""

ROUTES: dict[str, tuple[str, str]] = {
    "pserver.add": ("POST", "/pservers"),
    "pserver.list": ("GET", "/pservers"),
    "pserver.show": ("GET", "/pservers/{name}"),
    "pserver.sysinfo": ("GET", "/pservers/{name}/sysinfo"),
    "pserver.enroll": ("POST", "/pservers/{name}/enrolment"),
    "pserver.delete": ("DELETE", "/pservers/{name}"),
    "lserver.add": ("POST", "/lservers"),
    "lserver.list": ("GET", "/lservers"),
    "lserver.show": ("GET", "/lservers/{name}"),
    "lserver.signup": ("PUT", "/lservers/{name}/signup"),
    "lserver.delete": ("DELETE", "/lservers/{name}"),
    "ip.add": ("POST", "/ips"),
    "ip.list": ("GET", "/ips"),
    "ip.show": ("GET", "/ips/{ip}"),
    "ip.delete": ("DELETE", "/ips/{ip}"),
    "account.add": ("POST", "/accounts"),
    "account.list": ("GET", "/accounts"),
    "account.show": ("GET", "/accounts/{name}"),
    "account.delete": ("DELETE", "/accounts/{name}"),
    "domain.add": ("POST", "/domains"),
    "domain.list": ("GET", "/domains"),
    "domain.show": ("GET", "/domains/{name}"),
    "domain.export": ("GET", "/domains/{name}/zone-file"),
    "domain.import": ("PUT", "/domains/{name}/zone-file"),
    "domain.delete": ("DELETE", "/domains/{name}"),
    "record.add": ("POST", "/domains/{domain}/records"),
    "record.set": ("PUT", "/domains/{domain}/records"),
    "record.list": ("GET", "/domains/{domain}/records"),
    "record.delete": ("DELETE", "/domains/{domain}/records"),
    "site.show": ("GET", "/domains/{name}/site"),
    "site.set": ("PATCH", "/domains/{name}/site"),
    "change.list": ("GET", "/changes"),
    "change.show": ("GET", "/changes/{id}"),
    "fault.list": ("GET", "/faults"),
    "fault.retry": ("POST", "/faults/retry"),
    "status.show": ("GET", "/status"),
}
