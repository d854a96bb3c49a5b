"""What an agent says to a controller of an older protocol, in the words that that one knows."""

from collections.abc import Callable

from msgspec import structs

from node_agent.wire.messages import PROTOCOL_BLOCKED, FromAgent, LaneState


def speaking(protocol: int, send: Callable[[FromAgent], None]) -> Callable[[FromAgent], None]:
    """Give ``send`` for a session of ``protocol``."""
    if protocol >= PROTOCOL_BLOCKED:
        return send

    def send_known(message: FromAgent) -> None:
        if isinstance(message, LaneState) and message.condition == "blocked":
            message = structs.replace(message, condition="daemon-down")
        send(message)

    return send_known
