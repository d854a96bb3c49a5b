"""Effects in words: what a person is told that a step would do, in the order it is done. Pure."""

from templates.effects import (
    AddressDown,
    AddressUp,
    AddZone,
    Check,
    CheckAddress,
    CheckBound,
    CheckProgram,
    ControlEffect,
    FileEffect,
    MakeDirectory,
    ReloadZone,
    RemovePath,
    RemoveZone,
    Symlink,
    WriteFile,
)


def file_words(effect: FileEffect) -> str:
    """Say what an effect does to a file."""
    match effect:
        case WriteFile(only_if_absent=True):
            return f"write {effect.path}, where nothing stands"
        case WriteFile():
            return f"write {effect.path}"
        case Symlink():
            return f"link {effect.path} to {effect.target}"
        case MakeDirectory():
            return f"make the directory {effect.path}"
        case RemovePath(target=None):
            return f"remove {effect.path}"
        case RemovePath():
            return f"remove the link {effect.path} to {effect.target}"


def check_words(check: Check) -> str:
    """Say what is looked at before anything is put in place."""
    match check:
        case CheckProgram():
            return f"check the candidate with {check.program}"
        case CheckAddress():
            return f"see that no other machine answers for {check.address}"
        case CheckBound():
            return f"see that {check.address} is on the box"


def control_words(effect: ControlEffect) -> str:
    """Say what the daemon, or the host, is told."""
    match effect:
        case AddZone():
            return f"add the zone {effect.zone}, or give it this configuration"
        case RemoveZone():
            return f"remove the zone {effect.zone}"
        case ReloadZone():
            return f"reload the zone {effect.zone}"
        case AddressUp():
            return f"bring the address {effect.address}/{effect.prefix} up"
        case AddressDown():
            return f"take the address {effect.address} down"
