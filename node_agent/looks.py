"""How something at a path looks, in one word that can be compared and kept. Pure."""

from hashlib import sha256

from node_agent.box.interface import Absent, AnyImage, DirectoryImage, FileImage, LinkImage
from templates.effects import FileEffect, MakeDirectory, RemovePath, Symlink, WriteFile


def wanted(effect: FileEffect) -> str:
    """Describe what an effect leaves at its path, as `seen` describes what is there."""
    match effect:
        case WriteFile():
            return file_of(sha256(effect.content).hexdigest())
        case Symlink():
            return link_to(effect.target)
        case MakeDirectory():
            return "directory"
        case RemovePath():
            return "absent"


def seen(image: AnyImage) -> str:
    """Describe what stands at a path."""
    match image:
        case FileImage():
            return file_of(sha256(image.content).hexdigest())
        case LinkImage():
            return link_to(image.target)
        case DirectoryImage():
            return "directory"
        case Absent():
            return "absent"


def file_of(digest: str) -> str:
    """Describe a regular file by the SHA-256 of its content."""
    return f"file {digest}"


def link_to(target: str) -> str:
    """Describe a symbolic link."""
    return f"link {target}"
