"""What a refused command says: one exception, the same for panel, API and hsctl."""

import attrs


@attrs.frozen
class CommandError(Exception):
    """A command is refused: nothing was written.

    ``id`` is stable (``domain.name.invalid``, ``ip.service.exactly-one``), ``field`` the request
    field at fault or empty, ``value`` what was given, ``allowed`` what would be accepted or what to
    do. ``status`` is the HTTP status: 422 a value, also one that is taken or names nothing, 404
    what the command is for is not there, 409 the model stands in its way, 403 not permitted, 412 a
    stale version.
    """

    id: str
    message: str
    field: str = ""
    value: str = ""
    allowed: str = ""
    status: int = 422

    def __str__(self) -> str:
        return self.message
