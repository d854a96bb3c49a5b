"""What makes a verb of hsctl: a pure function from the command line to a command's fields.

The decorators `reads`, `writes` and `deletes` add the options that every such verb has, ask the
controller, show the answer and choose the exit code. ``verb_of`` tells which command a verb asks
for, so that a test can see that none is missing.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import attrs
import click

from controller.client import exit_codes
from controller.client.client import Client, Written
from controller.client.errors import UsageError
from controller.client.profiles import Profile, chosen
from controller.hsctl import change_views, displays, views
from controller.hsctl.differences import print_differences
from controller.hsctl.terminal import (
    columns_of,
    print_json,
    print_record,
    print_table,
    say,
    told,
    warn,
)
from controller.hsctl.waiting import Followed, Verdict, follow

Function = TypeVar("Function", bound=Callable[..., Any])
Fields = Mapping[str, Any]
Output = Literal["table", "json"]
Judge = Callable[[views.Answer], Verdict]

DEFAULT_TIMEOUT = 60.0

_ASKS = "__hsctl_command__"


@attrs.define
class Session:
    """What one run of hsctl knows: the profile asked for, and the client once it is needed."""

    profile_name: str | None = None
    _profile: Profile | None = None
    _client: Client | None = None

    @property
    def profile(self) -> Profile:
        """The profile in use."""
        if self._profile is None:
            self._profile = chosen(self.profile_name)
        return self._profile

    @property
    def client(self) -> Client:
        """The client of its controller."""
        if self._client is None:
            self._client = Client(self.profile)
        return self._client

    def followed(self, change: int, words: str) -> Followed:
        """Give a change to follow, with the command that goes on watching it, as it is typed."""
        which = f" --profile {self.profile_name}" if self.profile_name else ""
        watch = f"hsctl{which} change watch {change}"
        return Followed(change, words, watch, self.profile.name)


def session() -> Session:
    """Give the session of this run; the root command leaves it the profile's name."""
    root = click.get_current_context().find_root()
    if not isinstance(root.obj, Session):
        root.obj = Session(root.obj)
    return root.obj


def verb_of(command: click.Command) -> str | None:
    """Give the name of the controller's command that a verb asks for, if it asks for one."""
    return getattr(command.callback, _ASKS, None)


def output_option(function: Function) -> Function:
    """Add ``-o table|json``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Tables for people, JSON for programs.",
    )(function)


def reads(
    command: str,
    *,
    columns: Sequence[str] = (),
    paged: bool = False,
    view: views.View = views.plain,
    printed: Callable[[views.Answer], None] | None = None,
    empty: str = "",
) -> Callable[[Callable[..., Fields]], Callable[..., None]]:
    """Make a verb that reads. ``paged`` answers are lists, fetched page after page.

    ``view`` makes what a person sees of an answer, or of an item of a list; ``empty`` is what he is
    told where a list has none. ``printed`` prints an answer for him that is no record.
    """

    def decorate(function: Callable[..., Fields]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, output: Output, limit: int | None = None, **options: Any) -> None:
            fields = function(*args, **options)
            if printed is not None and output != "json":
                printed(session().client.read(command, fields))
                return
            if not paged:
                show(session().client.read(command, fields), output, view)
                return
            items = session().client.pages(command, fields, limit)
            if output == "json":
                print_json(list(items))
                return
            rows = (view(item) for item in items)
            if not sys.stdout.isatty() and columns:
                print_table(columns, rows)
                return
            found = list(rows)
            if found:
                print_table(list(columns) or columns_of(found), found)
            else:
                say(empty or "none")

        setattr(run, _ASKS, command)
        if paged:
            run = click.option(
                "--limit", type=click.IntRange(min=1), help="Show at most so many; all by default."
            )(run)
        return output_option(run)

    return decorate


def writes(
    command: str,
    done: str,
    *,
    view: views.View = views.plain,
    judged: Judge | None = None,
    first: Callable[[Fields], int] | None = None,
    then: Callable[[Fields], int] | None = None,
) -> Callable[[Callable[..., Fields]], Callable[..., None]]:
    """Make a verb that changes something and waits until it is live.

    ``done`` says what was done, formatted with the fields; ``view`` makes what a person sees of the
    answer. ``judged`` says what the answer itself came to, where that is more than the change.
    ``first`` waits for what must be so before anything can be live, and gives the exit code where
    it is not. ``then`` goes on with the fields once that is done and waited for; it gives the exit
    code.
    """

    def decorate(function: Callable[..., Fields]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> None:
            how = _how(options)
            fields = function(*args, **options)
            words = done.format_map({**options, **fields})
            code = write(
                session(),
                command,
                fields,
                words=words,
                view=view,
                judged=judged,
                first=first,
                **how,
            )
            if then is not None and how["wait"] and not (how["dry_run"] or code):
                code = then(fields)
            click.get_current_context().exit(code)

        setattr(run, _ASKS, command)
        return _write_options(run)

    return decorate


def follows(
    command: str, number: str = "ID"
) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Make a verb that follows something by its ``number`` until it has ended, or nothing moves.

    Its function shows how far it is and gives the exit code. Programs are then told how it stands:
    the answer of ``command``, which reads it.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*, id: int, output: Output, **options: Any) -> None:
            code = function(id, **options)

            def tell() -> int:
                print_json(session().client.read(command, {"id": id}))
                return code

            click.get_current_context().exit(told(tell) if output == "json" else code)

        return output_option(click.argument("id", type=click.IntRange(min=1), metavar=number)(run))

    return decorate


def deletes(
    command: str, what: str, *, also: str = "", view: views.View = views.nothing
) -> Callable[[Callable[..., Fields]], Callable[..., None]]:
    """Make a verb that deletes: it asks first. ``what`` is formatted with the fields.

    ``also`` says in the question what goes with it.
    """

    def decorate(function: Callable[..., Fields]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, yes: bool, **options: Any) -> None:
            how = _how(options)
            fields = function(*args, **options)
            thing = what.format_map(fields)
            if not how["dry_run"]:
                confirm(f"Delete {thing}{f' ({also})' if also else ''}?", yes)
            click.get_current_context().exit(
                write(session(), command, fields, words=f"{thing} deleted", view=view, **how)
            )

        setattr(run, _ASKS, command)
        return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(_write_options(run))

    return decorate


def confirm(question: str, yes: bool) -> None:
    """Ask, unless told not to.

    Raises `UsageError` where nobody can answer, and `click.Abort` for a no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask: say --yes")
    click.confirm(question, abort=True, err=True)


def write(
    current: Session,
    command: str,
    fields: Fields,
    *,
    words: str,
    view: views.View,
    judged: Judge | None = None,
    first: Callable[[Fields], int] | None = None,
    dry_run: bool,
    diff: bool,
    wait: bool,
    timeout: float,
    reason: str,
    idempotency_key: str | None,
    output: Output,
) -> int:
    """Ask for a write, show its answer, wait until it is live; give the exit code.

    ``words`` say what was done, ``view`` makes what a person sees of the answer.
    """
    say(f"cluster: {current.profile.name} ({current.profile.url})")
    answer = current.client.write(
        command, fields, dry_run=dry_run, diff=diff, reason=reason, key=idempotency_key
    )
    if dry_run:
        _show_plan(answer, output, view)
        displays.settle("good", f"dry run: nothing was written; it would be: {words}")
        return exit_codes.DONE

    def tell() -> int:
        if output == "json":
            print_json(attrs.asdict(answer))
        else:
            _show_result(answer, view)
        if judged is not None and isinstance(answer.result, dict):
            verdict = judged(answer.result)
            sign = "good" if verdict.exit_code == exit_codes.DONE else "bad"
            displays.settle(sign, f"{verdict.words} [{current.profile.name}]")
            return verdict.exit_code
        if answer.change is None:
            return _follow_what_stands(current, answer.since if wait else None, timeout)
        change = current.followed(answer.change, words)
        if not wait:
            displays.settle(
                "moving", f"{words}, accepted; {change.watch} follows it [{change.named}]"
            )
            return exit_codes.DONE
        code = exit_codes.DONE if first is None else first(fields)
        return code or follow(current.client, change, timeout)

    return told(tell)


def _follow_what_stands(current: Session, since: int | None, timeout: float) -> int:
    """Nothing was written: wait for the change by which it is so, which may not be live yet."""
    words = "nothing changed: it is so already"
    if since is None:
        displays.settle("good", f"{words} [{current.profile.name}]")
        return exit_codes.DONE
    return follow(current.client, current.followed(since, words), timeout)


def show(value: Any, output: Output, view: views.View = views.plain) -> None:
    """Show the answer of a read."""
    if output == "json" or not isinstance(value, dict):
        print_json(value)
    else:
        print_record(view(value))


def _show_plan(answer: Written, output: Output, view: views.View) -> None:
    if output == "json":
        print_json(attrs.asdict(answer))
        return
    _show_result(answer, views.foreseen(view))
    told = answer.plan or {}
    if plan := change_views.plan(told):
        click.echo()
        print_record(plan)
    if (lanes := told.get("differences")) is not None:
        print_differences(lanes)


def _show_result(answer: Written, view: views.View) -> None:
    """Print what a write gives, and each warning of it on a line of its own."""
    if not isinstance(answer.result, dict):
        return
    shown = view(answer.result)
    warnings = shown.pop("warnings", None) or ()
    print_record(shown)
    for warning in warnings:
        warn(str(warning))


_WRITE_OPTIONS = ("dry_run", "diff", "wait", "timeout", "reason", "idempotency_key", "output")


def _how(options: dict[str, Any]) -> dict[str, Any]:
    """Take what says how to write out of a verb's options; raises `UsageError`."""
    how = {name: options.pop(name) for name in _WRITE_OPTIONS}
    if how["diff"] and not how["dry_run"]:
        raise UsageError("--diff shows what a dry run would change: say --dry-run --diff")
    return how


def _write_options(function: Function) -> Function:
    for option in (
        click.option("--dry-run", is_flag=True, help="Write nothing; show what would change."),
        click.option(
            "--diff",
            is_flag=True,
            help="With --dry-run: ask the boxes, and show each file's diff and the effects.",
        ),
        click.option(
            "--wait/--no-wait",
            default=True,
            show_default=True,
            help="Wait until the change is live on every box.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0),
            default=DEFAULT_TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait.",
        ),
        click.option("--reason", default="", metavar="TEXT", help="Why; kept with the change."),
        click.option(
            "--idempotency-key",
            metavar="KEY",
            help="Ask again for a write whose answer was lost: it is done once.",
        ),
        output_option,
    ):
        function = option(function)
    return function
