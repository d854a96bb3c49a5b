"""Which commands can be undone, and how; for the others, why not and what to do instead. Pure.

A command without an entry here fails a test: whoever adds one decides.
"""

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class Decision:
    """Whether changes of one command can be undone.

    ``words`` say what an undo does, or why there is none; ``instead`` what to do then.
    """

    undoable: bool
    words: str
    instead: str = ""


def _by(words: str) -> Decision:
    return Decision(True, words)


def _not(words: str, instead: str) -> Decision:
    return Decision(False, words, instead)


DECISIONS: Mapping[str, Decision] = MappingProxyType(
    {
        "account.add": _by("the account is deleted, if it has no domains"),
        "account.delete": _by("the account comes back with the id that it had"),
        "change.approve": _not(
            "the change that it makes is one of the command that was held back",
            "hsctl change undo undoes that one as if it had never been held",
        ),
        "change.undo": _by("what was undone is done again"),
        "change.withdraw": _not("what was withdrawn was never done", "ask for it again"),
        "dns.apply": _not(
            "zones move in phases that follow each other",
            "hsctl dns stop ends a move; give the roles back and hsctl dns apply moves again",
        ),
        "dns.roles": _by("each name server has the role that it had"),
        "dns.stop": _not("a move that was stopped is over", "hsctl dns apply begins another"),
        "domain.add": _by("the domain goes with its zone and site, if they are as they were made"),
        "domain.delete": _by(
            "the domain comes back with its records, on the servers and address that it had, its "
            "site with the files that stayed on the web server; not where the site had a "
            "certificate, whose key was forgotten"
        ),
        "domain.import": _by("the zone has the records that it had, or the new domain goes"),
        "drift.repair": _not(
            "what stood in the files was replaced", "hsctl drift show tells a difference before"
        ),
        "drift.verify": _not("it only looks", "there is nothing to undo"),
        "fault.retry": _not("it changes nothing in the model", "there is nothing to undo"),
        "ip.add": _by("the addresses are deleted, if nothing uses them"),
        "ip.delete": _by("the addresses come back, if they are free and could be added today"),
        "ip.edit": _by("mask, tag and port are as they were"),
        "ip.move": _not(
            "a server is renumbered in phases that follow each other",
            "hsctl ip stop gives a move up before its switch; after it hsctl ip move NEW OLD",
        ),
        "ip.stop": _not("a move that was given up is over", "hsctl ip move begins another"),
        "lserver.add": _by("the logical server is deleted, if nothing is on it"),
        "lserver.delete": _not(
            "what its box knew of it is gone", "hsctl lserver add makes a new one of that name"
        ),
        "lserver.edit": _by("the description is as it was"),
        "lserver.move": _by("the logical server goes back to its box, if it may be moved there"),
        "lserver.recover": _not(
            "boxes have been told to keep or to forget what they had",
            "hsctl lserver show tells what the lanes hold now",
        ),
        "lserver.rename": _not(
            "the new name may have been told to others since",
            "hsctl lserver rename gives the former name again",
        ),
        "lserver.set": _by("the settings that it changed are as they were"),
        "lserver.signup": _by("signup is as it was"),
        "model.import": _not(
            "one import may make boxes, which are enrolled by a token that is told once",
            "import the model that was exported before: hsctl model import FILE",
        ),
        "operator.disable": _not(
            "whoever was shut out stays so until a person lets him in again",
            "hs-controller on the controller's host manages operators",
        ),
        "placement.set": _not(
            "a policy is chosen as a whole", "hsctl placement set gives the former one again"
        ),
        "pserver.add": _not(
            "its enrolment token was told once", "hsctl pserver delete, while nothing is on it"
        ),
        "pserver.delete": _not(
            "its certificates were revoked for good", "hsctl pserver add, and enrol it anew"
        ),
        "pserver.edit": _by("the fields that it changed are as they were"),
        "pserver.enroll": _not(
            "a token that was told cannot be untold", "a later enrolment makes it worthless"
        ),
        "pserver.intent": _by("the intent is as it was"),
        "pserver.monitoring": _by("monitoring is as it was"),
        "pserver.retire": _not(
            "its certificates were revoked for good",
            "hsctl pserver enroll, if the machine comes back",
        ),
        "pserver.service": _not(
            "what a daemon was told to do was done", "hsctl pserver service tells it another thing"
        ),
        "record.add": _by("the records go"),
        "record.delete": _by("the records come back"),
        "record.set": _by("the records of that name and type are as they were"),
        "rollout.begin": _not(
            "settings go to servers in waves that follow each other",
            "hsctl rollout stop ends it; hsctl rollout set with the former values brings them back",
        ),
        "rollout.resume": _not("it only lets a rollout go on", "hsctl rollout stop ends it"),
        "rollout.stop": _not("a rollout that was ended is over", "hsctl rollout set begins one"),
        "service.host": _not(
            "it is the provider's own site, and no domain of a customer", "hsctl service unhost"
        ),
        "service.set": _by("the uses that it changed are as they were"),
        "service.unhost": _not(
            "it was the provider's own site, and no domain of a customer",
            "hsctl service host makes another; the files stayed on the web server",
        ),
        "site.address": _by("the site has the very address that it had, if it is still free"),
        "site.set": _by(
            "the settings that it changed are as they were; a new certificate goes, and one that "
            "was replaced cannot come back: its key was forgotten"
        ),
        "ssl.delete": _not(
            "the key was forgotten", "hsctl ssl upload shares the pair from your own files"
        ),
        "ssl.upload": _not(
            "the key that was replaced was forgotten",
            "hsctl ssl upload shares the former pair again, hsctl ssl delete none",
        ),
        "token.revoke": _not("a token that was revoked stays so", "hsctl login makes a new one"),
    }
)


def decision(command: str) -> Decision:
    """Give what holds for ``command``; what no person commanded is never undone."""
    return DECISIONS.get(command) or _not(
        "it was noted by the system, and no command of a person", "undo the command that led to it"
    )
