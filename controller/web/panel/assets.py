"""What the panel serves as files: its style sheet, its script, and those it did not write.

Read once, served under the hash of their bytes, so that a browser keeps them for good. Icons are
put into the pages themselves. What is missing because ``script/assets`` has not run is left out:
the pages work without it.
"""

import gzip
import re
from hashlib import sha256
from importlib.resources import files

import attrs
from markupsafe import Markup

_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_ICON = re.compile(r"<path[^<>]*/>")


@attrs.frozen
class Asset:
    """One file, with its bytes as they are and compressed."""

    name: str
    kind: str
    plain: bytes
    packed: bytes
    digest: str

    @property
    def path(self) -> str:
        """Where it is found."""
        return f"/static/{self.digest}/{self.name}"


class Assets:
    """All files of the panel."""

    def __init__(self) -> None:
        own = files("controller.web.panel") / "static"
        self._assets: dict[str, Asset] = {}
        self._icons: dict[str, Markup] = {}
        for folder in (own, own / "vendor"):
            if not folder.is_dir():
                continue
            for file in folder.iterdir():
                stem, _, kind = file.name.rpartition(".")
                if kind in _KINDS:
                    content = file.read_bytes()
                    self._assets[file.name] = Asset(
                        file.name,
                        _KINDS[kind],
                        content,
                        gzip.compress(content, mtime=0),
                        sha256(content).hexdigest()[:16],
                    )
                elif kind == "svg":
                    drawing = "".join(_ICON.findall(file.read_text()))
                    self._icons[stem] = Markup(drawing)  # noqa: S704 (a file of ours, paths only)

    def find(self, digest: str, name: str) -> Asset | None:
        """Give the file of that name and content."""
        asset = self._assets.get(name)
        return asset if asset is not None and asset.digest == digest else None

    def path(self, name: str) -> str:
        """Give where a file is found, empty where it is not there."""
        asset = self._assets.get(name)
        return "" if asset is None else asset.path

    def icon(self, name: str) -> Markup:
        """Give the drawing of an icon, for the inside of an ``svg`` of 24 by 24."""
        return self._icons.get(name, Markup())
