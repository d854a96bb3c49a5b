"""The service type ``mssql``, modelled: nothing can be set. No box serves it yet."""

from templates.objects import Spec
from templates.service_type import KnownType


class MssqlSettings(Spec, frozen=True):
    """An MS SQL server has no settings of its own."""


MSSQL = KnownType(
    name="mssql",
    group="mssql",
    platforms=frozenset({"windows"}),
    settings=MssqlSettings,
    default_port=1433,
)
