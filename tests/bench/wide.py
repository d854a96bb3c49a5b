"""Part f: lists, pages and commands on a wide model, each beside the same rows asked by psycopg2.

A controller of its own serves the model that `wide_model` makes, with no boxes: what is measured is
a whole request over TLS, authentication and the audit with it. Nothing that it makes is kept.
"""

import http.client
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import psutil
import psycopg2
from psycopg2 import extensions

from controller.web.panel.doorkeeper import COOKIE
from tests.bench import alone
from tests.bench.cluster import ApiClient
from tests.bench.figures import median, ms, p95, table
from tests.bench.footprint import megabytes
from tests.bench.wide_model import SERVICE_DOMAIN, Size, fill
from tests.bench.wide_questions import Question, lists, pages, writes

BAR = 0.1
"""Seconds of the 95th percentile of every list page and every command."""
HEALTH_BAR = 10.0
_PATIENCE = 600.0
_POLL = 0.05
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@attrs.frozen
class Wide:
    """A controller that serves the wide model."""

    api: ApiClient
    panel: "PanelClient"
    plain: extensions.connection
    process: psutil.Process


class PanelClient:
    """One kept connection of an operator who is signed in to the panel."""

    def __init__(self, url: str, ca: Path, password: str) -> None:
        place = urlsplit(url)
        context = ssl.create_default_context(cafile=str(ca))
        assert place.hostname is not None
        self._connection = http.client.HTTPSConnection(
            place.hostname, place.port, context=context, timeout=120
        )
        self._headers = {"Origin": url.rstrip("/")}
        form = self._ask("GET", "/sign-in")
        found = _CSRF.search(form)
        assert found is not None
        self._headers["Content-Type"] = "application/x-www-form-urlencoded"
        fields = {"csrf": found[1], "name": "admin", "password": password}
        self._ask("POST", "/sign-in", urlencode(fields))

    def show(self, path: str) -> None:
        """Ask for a page; anything but the page is an error."""
        try:
            self._ask("GET", path)
        except (OSError, http.client.HTTPException):
            self._connection.close()  # it was idle too long: the next request opens it anew
            self._ask("GET", path)

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None = None) -> str:
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        name, _, value = response.headers.get("Set-Cookie", "").partition("=")
        if name == COOKIE:
            self._headers["Cookie"] = f"{COOKIE}={value.partition(';')[0]}"
        if response.status != (200 if method == "GET" else 303):
            raise RuntimeError(f"{method} {path}: {response.status} {text[:300]}")
        return text


@contextmanager
def serving(folder: Path, size: Size, say: Callable[[str], None]) -> Iterator[Wide]:
    """Fill a database in ``folder`` and serve it; end all of it at last."""
    with alone.controller(folder, SERVICE_DOMAIN) as controller:
        say(f"filling: {size.words}")
        plain = psycopg2.connect(controller.database_url)
        fill(plain, size)
        url = controller.start()
        api = ApiClient(url, controller.ca.read_text(), controller.token())
        panel = PanelClient(url, controller.ca, controller.password)
        say("waiting until the audit is sealed")
        _until_sealed(plain)
        try:
            yield Wide(api, panel, plain, controller.process())
        finally:
            api.close()
            panel.close()
            plain.close()


def _until_sealed(plain: extensions.connection) -> None:
    end = time.monotonic() + _PATIENCE
    with plain.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute("SELECT count(*) FROM change WHERE seq IS NULL")
            if cursor.fetchone() == (0,):
                cursor.execute("VACUUM ANALYZE change")
                return
            time.sleep(_POLL * 4)
    raise RuntimeError("the audit is not sealed")


def measure(
    folder: Path, size: Size, times: int, say: Callable[[str], None], show: Callable[[str], None]
) -> None:
    """Ask everything ``times`` times, in turns with psycopg2; show a table of each part."""
    begin = time.monotonic()
    with serving(folder, size, say) as wide:
        show(f"\nf. a wide model: {size.words}, {times} times each")
        show(f"  filled and served after {time.monotonic() - begin:.0f} s")
        before = megabytes(wide.process)
        show(_whole_model(wide))
        for title, questions in (
            ("lists", lists(size)),
            ("panel", pages(size)),
            ("commands", writes(size)),
        ):
            say(title)
            wide.api.ask("GET", "/operators")  # whichever connection was idle too long is renewed
            rows = _ask_all(wide, questions, times)
            head = (f"f. {title}", "median", "p95", "psycopg2 p95", "ratio", "bar 100 ms")
            show(f"\n{table(head, rows)}")
        after = megabytes(wide.process)
        show(f"\n  controller {before:.0f} MB at first, {after:.0f} MB after")


def _whole_model(wide: Wide) -> str:
    """Judge the whole model three times, each after a change to it, so that nothing is kept."""
    took = []
    for number in range(3):
        wide.api.ask("PATCH", "/pservers/b0001", {"description": f"for the {number + 1}. time"})
        took.append(_timed(lambda: wide.api.ask("GET", "/health?limit=1")))
    verdict = "kept" if max(took) <= HEALTH_BAR else "MISSED"
    exported = _timed(lambda: wide.api.ask("GET", "/model"))
    return (
        f"  health over the whole model: {max(took):.2f} s at most of three, bar {HEALTH_BAR:g} s "
        f"{verdict}; the whole model exported in {exported:.2f} s"
    )


def _ask_all(wide: Wide, questions: list[Question], times: int) -> list[tuple[str, ...]]:
    """Ask the questions in their order, again and again: one makes what a later one takes away."""
    product: list[list[float]] = [[] for _ in questions]
    limit: list[list[float]] = [[] for _ in questions]
    for turn in range(times + 1):
        for place, question in enumerate(questions):
            asked, queried = _one(wide, question, turn)
            if turn:  # the first turn opens connections and plans statements
                product[place].append(asked)
                limit[place].append(queried)
    rows: list[tuple[str, ...]] = []
    for question, ours, plain in zip(questions, product, limit, strict=True):
        verdict = "kept" if p95(ours) <= BAR else "MISSED"
        ratio = f"{p95(ours) / p95(plain):.1f}"
        rows.append(
            (question.words, ms(median(ours)), ms(p95(ours)), ms(p95(plain)), ratio, verdict)
        )
    return rows


def _one(wide: Wide, question: Question, turn: int) -> tuple[float, float]:
    filled = question.at(turn)
    if filled.method == "PAGE":
        asked = _timed(lambda: wide.panel.show(filled.path))
    else:
        asked = _timed(lambda: wide.api.ask(filled.method, filled.path, filled.body))
    with wide.plain.cursor() as cursor:
        begin = time.perf_counter()
        cursor.execute(filled.rows)
        if cursor.description is not None:
            cursor.fetchall()
        return asked, time.perf_counter() - begin


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
