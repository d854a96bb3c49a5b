"""Where the files of a BIND lane stand below the lane's directory.

::

    named.conf             all that does not change with a zone; holds keys, mode 0640
    overrides/options/     an operator's own *.conf, read inside of options { }
    overrides/server/      the same, read beside it; see `templates.overrides`
    overrides-base/        an empty file for each, so that there is always something to read
    baseline.zone          the zone that is served always and proves that named is well
    zones/XX/NAME.zone     master zones; XX spreads them over 256 directories
    state/                 named's own: pid file, log, the database of added zones
    state/secondary/XX/    copies of zones that this server transfers
"""

from hashlib import sha256

from templates.overrides import FOLDER

CONFIGURATION = "named.conf"
BASELINE_ZONE = "baseline.heliosphere.invalid"
"""Served by every lane from named.conf; under ``invalid`` (RFC 6761) nobody else can own it."""
BASELINE_FILE = "baseline.zone"
OVERRIDES_BASE = f"{FOLDER}-base"
"""named refuses an include that matches no file: one of ours is there always."""
OVERRIDE_PLACES = ("options", "server")
STATE = "state"
PID_FILE = f"{STATE}/named.pid"
LOG_FILE = f"{STATE}/named.log"

_LONGEST_PLAIN_NAME = 160
"""Longer zone names do not fit a file name with all that is put around them (255 bytes)."""
SHORTENED = _LONGEST_PLAIN_NAME - 80
"""Characters of a longer name that stand in its file's name, before a digest."""


def _spread(zone: str) -> tuple[str, str]:
    digest = sha256(zone.encode()).hexdigest()
    name = zone
    if len(zone) > _LONGEST_PLAIN_NAME:
        name = f"{zone[:SHORTENED]}-{digest}"
    return digest[:2], name


def master_file(zone: str) -> str:
    """Name the file of a master zone."""
    directory, name = _spread(zone)
    return f"zones/{directory}/{name}.zone"


def secondary_file(zone: str) -> str:
    """Name the file that named keeps the copy of a secondary zone in."""
    directory, name = _spread(zone)
    return f"{STATE}/secondary/{directory}/{name}.db"


def journal_file(path: str) -> str:
    """Name the journal that named keeps beside a zone file."""
    return f"{path}.jnl"
