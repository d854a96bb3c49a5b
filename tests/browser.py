"""A headless Chromium, driven over HTTP by chromedriver (W3C WebDriver), for tests of the panel.

Blocking: call it in a thread where the site under test runs on this process's reactor.
"""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.scratch import scratch

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--ignore-certificate-errors",
)


class BrowserError(Exception):
    """What the browser refused, by its WebDriver error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def installed() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window with a profile of its own, gone at the end."""

    def __init__(
        self,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
        names: dict[str, str] | None = None,
    ) -> None:
        self._profile = scratch("hs-browser-")
        self._driver = subprocess.Popen(
            [shutil.which("chromedriver") or "chromedriver", "--port=0"],
            env={**os.environ, "TMPDIR": str(self._profile)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._address = f"http://127.0.0.1:{self._port()}"
        mapped = ", ".join(f"MAP {name} {address}" for name, address in (names or {}).items())
        arguments = [
            *_ARGUMENTS,
            f"--user-data-dir={self._profile}",
            f"--window-size={width},{height}",
            *([f"--host-resolver-rules={mapped}"] if mapped else []),
        ]
        options: dict[str, Any] = {"binary": shutil.which("chromium"), "args": arguments}
        if not scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        capabilities = {
            "browserName": "chrome",
            "acceptInsecureCerts": True,
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        try:
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        except BaseException:
            self._end()
            raise
        self._session = f"/session/{answer['sessionId']}"
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=features)
        if width < 600:  # narrower than a window can be
            self.devtools(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._end()

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def reload(self) -> None:
        self._ask("POST", "/refresh", {})

    def back(self) -> None:
        self._ask("POST", "/back", {})

    @property
    def url(self) -> str:
        return str(self._ask("GET", "/url"))

    @property
    def title(self) -> str:
        return str(self._ask("GET", "/title"))

    @property
    def source(self) -> str:
        return str(self._ask("GET", "/source"))

    def text(self, selector: str = "body") -> str:
        return str(self._of_element(selector, "text"))

    def attribute(self, selector: str, name: str) -> str | None:
        found = self._of_element(selector, f"attribute/{name}")
        return None if found is None else str(found)

    def _of_element(self, selector: str, what: str) -> Any:
        """Ask of an element, once more where the page was replaced after it was found."""
        try:
            return self._ask("GET", f"/element/{self._find(selector)}/{what}")
        except BrowserError as error:
            if error.code != "stale element reference":
                raise
            return self._ask("GET", f"/element/{self._find(selector)}/{what}")

    def count(self, selector: str) -> int:
        return len(self._elements(selector))

    def type(self, selector: str, text: str) -> None:
        element = self._find(selector)
        self._ask("POST", f"/element/{element}/clear", {})
        self._ask("POST", f"/element/{element}/value", {"text": text})

    def choose(self, selector: str, value: str) -> None:
        self.click(f'{selector} option[value="{value}"]')

    def click(self, selector: str) -> None:
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def run(self, script: str, *arguments: object) -> Any:
        body = {"script": script, "args": list(arguments)}
        return self._ask("POST", "/execute/sync", body)

    def until(self, text: str, selector: str = "body", seconds: float = 15.0) -> None:
        """Wait until ``text`` stands in the element."""
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.text(selector)
            except BrowserError as error:
                if error.code not in ("no such element", "stale element reference"):
                    raise
                found = ""
            if text in found:
                return
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} did not appear in {selector}: {found[:2000]!r}")
            time.sleep(0.1)

    def until_there(self, selector: str, seconds: float = 15.0) -> None:
        """Wait until there is such an element, seen or not."""
        end = time.monotonic() + seconds
        while not self.count(selector):
            assert time.monotonic() < end, f"{selector} did not appear"
            time.sleep(0.1)

    def console(self) -> list[str]:
        """Take what pages wrote to the console since the last call, refusals by policy included.

        Not that the machine's networks changed, as they do where other tests make some: Chromium
        drops its connections then, and pages open them again.
        """
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        messages = [str(entry["message"]) for entry in entries]
        return [message for message in messages if "ERR_NETWORK_CHANGED" not in message]

    def alert(self) -> str | None:
        """Give the text of an open dialogue."""
        try:
            return str(self._ask("GET", "/alert/text"))
        except BrowserError as error:
            if error.code == "no such alert":
                return None
            raise

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "/cookie")
        return found

    def screenshot(self, path: Path | str, *, whole: bool = True) -> None:
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _find(self, selector: str) -> str:
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def _elements(self, selector: str) -> list[str]:
        found = self._ask("POST", "/elements", {"using": "css selector", "value": selector})
        return [entry[_ELEMENT] for entry in found]

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        return self._call(method, f"{self._session}{path}", body)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"]
            raise BrowserError(told["error"], told["message"]) from None

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            words = line.strip().rstrip(".").split()
            if "successfully" in words and words[-1].isdigit():
                return int(words[-1])
        raise AssertionError("chromedriver did not start")

    def _end(self) -> None:
        self._driver.terminate()
        try:
            self._driver.wait(20)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        if self._driver.stdout is not None:
            self._driver.stdout.close()
        shutil.rmtree(self._profile, ignore_errors=True)


@contextmanager
def browser(**options: Any) -> Iterator[Browser]:
    with Browser(**options) as opened:
        yield opened
