"""What an agent says to a controller of an older protocol, in the words that that one knows."""

from collections.abc import Callable

from msgspec import structs

from node_agent.wire.messages import PROTOCOL_BLOCKED, FromAgent, LaneCondition, LaneState


def known_condition(condition: LaneCondition, protocol: int) -> LaneCondition:
    """Give the word for a condition that a controller of ``protocol`` knows."""
    return "daemon-down" if condition == "blocked" and protocol < PROTOCOL_BLOCKED else condition


def speaking(protocol: int, send: Callable[[FromAgent], None]) -> Callable[[FromAgent], None]:
    """Give ``send`` for a session of ``protocol``."""
    if protocol >= PROTOCOL_BLOCKED:
        return send

    def send_known(message: FromAgent) -> None:
        if isinstance(message, LaneState):
            condition = known_condition(message.condition, protocol)
            message = structs.replace(message, condition=condition)
        send(message)

    return send_known
