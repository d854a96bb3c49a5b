"""Whose a file of an Apache lane may be, by its path. Pure."""

import re

from templates.apache.objects import DEDICATED, SERVER, SITE
from templates.service_type import Origin

_ACCOUNT = re.compile(r"accounts/([0-9]{1,18})\.conf")
_CERTIFICATE = re.compile(r"tls/([^_]+)\.[0-9a-f]+\.pem")
_ADDRESS = re.compile(r"addresses/([^/]+)\.conf")
_NAME = re.compile(r"vhosts/([^/]+)")


def origins(path: str) -> tuple[Origin, ...]:
    """Give what may have written ``path``. What is below sites is the customers' own."""
    if path.startswith("sites/"):
        return ()
    if found := _ACCOUNT.fullmatch(path):
        return (Origin(SITE.name, account=int(found[1])),)
    if found := _ADDRESS.fullmatch(path):
        return (Origin(DEDICATED.name, found[1]),)
    if found := _NAME.fullmatch(path):
        return (Origin(SITE.name, found[1]), Origin(SITE.name, found[1].removeprefix("www.")))
    if found := _CERTIFICATE.fullmatch(path):
        return (Origin(SITE.name, found[1]), Origin(SERVER.name))
    return (Origin(SERVER.name),)
