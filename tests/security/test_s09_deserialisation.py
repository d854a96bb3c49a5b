"""S9: nothing that is read becomes code, and every parser ends in a value or in its own refusal.

Cases: Salt CVE-2025-62348, PyYAML CVE-2020-14343 (unsafe YAML); Froxlor GHSA-g77v-m226-3f7g
(object injection); Hestia GHSA-gh6f (session deserialisation), GHSA-w3mx and GHSA-5fpv
(configuration that is evaluated twice).
"""

import ast
import base64
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.client import profiles
from controller.client.errors import UnreachableError
from controller.cluster.model import file as model_file
from controller.config import ConfigError as ControllerConfigError
from controller.config import read_config as read_controller_config
from controller.hosting.master_files import master_file, read_master_file
from controller.hosting.zones import NameServer, Zone, ZoneRow
from controller.pages import after_number, after_text
from controller.refusal import CommandError
from controller.storage.archive import ArchiveError, read_archive
from controller.web.decoding import read_json_object
from controller.web.panel.reading import UnreadableError, read_query
from controller.web.problems import ProblemError
from node_agent.config import read_config
from node_agent.effects.isccc import ControlProtocolError, reply, request
from node_agent.grants import read_grants
from node_agent.owned_file import ConfigError
from node_agent.packages import listed
from node_agent.wire.codec import (
    WireError,
    decode_from_agent,
    decode_from_controller,
    encode,
)
from node_agent.wire.enrolment import decode_answer, decode_request
from node_agent.wire.object_hash import from_text
from pki.enrolment import Token, TokenRefusedError
from pki.keys import KeyRefusedError, load_key, new_key, public_key_of, signing_request
from pki.names import Name, NameRefusedError
from pki.revocation import HEADER, DenyList, DenyListError, parse_serial
from templates.apache.certificates import load_pair
from templates.apache.objects import Certificate
from templates.objects import SpecError, decode_spec, encode_spec
from templates.registry import SERVICE_TYPES
from templates.service_type import Endpoint, PlanRefusedError
from tests.certificates import certificate
from tests.contract.service_type_examples import examples
from tests.strategies import hostile_texts
from tests.unit.node_agent.wire.test_codec import AGENT, CONTROLLER

TREE = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("controller", "node_agent", "pki", "templates", "docs", "packaging")
    for path in (TREE / folder).rglob("*.py")
)

# --- the source ---

BANNED_MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "jsonpickle", "marshal", "shelve"),
    *("yaml", "ruamel", "code", "codeop", "runpy", "commands", "pty", "imp"),
}
BANNED_NAMES = {"eval", "exec", "compile", "__import__", "execfile", "input"}
BANNED_CALLS = {
    *("os.system", "os.popen", "os.startfile", "subprocess.getoutput", "builtins.eval"),
    *("subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "builtins.exec"),
    *("os.execlp", "os.execlpe", "os.execvp", "os.execvpe", "os.spawnlp", "os.spawnvp"),
    *("os.posix_spawnp", "importlib.reload", "types.FunctionType", "types.CodeType"),
}
BANNED_METHODS = {
    "from_string",
    "load_module",
    "exec_module",
    "source_to_code",
    "add_extension_type",
}
"""``from_string`` of jinja2 makes a template of a text: a template is code (S19)."""
IMPORTS_BY_NAME = {"controller/hsctl/main.py": "its own verbs, from a table of literals"}


def dangers(source: str) -> list[str]:
    """Give what in a source could make code, or a program of the shell's, of data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [it.name for it in names if it.name.split(".")[0] in BANNED_MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                words = [f"{module}.{it.name}" for it in names]
                if module.split(".")[0] in BANNED_MODULES:
                    found += words
                found += [word for word in words if word in BANNED_CALLS]
            case ast.Call(func=function, keywords=keywords):
                name = ast.unparse(function)
                last = name.rpartition(".")[2]
                if name in BANNED_NAMES | BANNED_CALLS or ("." in name and last in BANNED_METHODS):
                    found.append(ast.unparse(node))
                if last == "import_module" and not isinstance(node.args[0], ast.Constant):
                    found.append("import_module of a value")
                found += ["shell="] * any(word.arg == "shell" for word in keywords)
            case ast.Name(id=name, ctx=ast.Load()) if name in BANNED_NAMES - {"compile", "input"}:
                found.append(name)
    return found


def test_nothing_makes_code_of_data() -> None:
    assert len(SOURCES) > 200
    for path in SOURCES:
        found = dangers(path.read_text(encoding="utf-8"))
        if str(path.relative_to(TREE)) in IMPORTS_BY_NAME:
            found = [word for word in found if word != "import_module of a value"]
        assert found == [], path


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import os, marshal",
        "from shelve import open",
        "import yaml",
        "from yaml import safe_load",
        "import ruamel.yaml",
        "eval(text)",
        "exec(text, {})",
        "compile(text, 'x', 'exec')",
        "run = eval",
        "builtins.eval(text)",
        "__import__(name)",
        "importlib.import_module(name)",
        "importlib.import_module(f'a.{name}')",
        "os.system('ls')",
        "os.popen('ls')",
        "from os import system",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=yes)",
        "subprocess.getoutput('ls')",
        "os.execvp(name, words)",
        "environment.from_string(text)",
    ],
)
def test_the_check_finds_what_makes_code_of_data(text: str) -> None:
    assert dangers(text)


@pytest.mark.parametrize(
    "text", ["re.compile(text)", "self.database.execute(x)", "importlib.import_module('a.b')"]
)
def test_the_check_leaves_alone_what_is_harmless(text: str) -> None:
    assert dangers(text) == []


def test_migrations_are_statements_and_no_programs() -> None:
    """yoyo runs a Python file of its directory as a migration."""
    folder = TREE / "controller" / "storage" / "schema"
    assert {path.name for path in folder.glob("*.py")} == {"__init__.py"}


# --- parsers, and what they refuse with ---


@attrs.frozen
class Parser:
    """A parser of bytes or text, and the refusals that may come of it: nothing else may."""

    parse: Callable[[Any], object]
    refusals: tuple[type[Exception], ...]
    good: Sequence[Any] = ()
    """What it reads, to be damaged."""
    text: bool = False


def of_file(function: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of a file's content."""

    def parse(content: bytes) -> object:
        path = _FOLDER[-1] / "file"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
        return function(path)

    return parse


def of_archive(content: bytes) -> object:
    folder = _FOLDER[-1] / "out"
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.mkdir(exist_ok=True)
    return of_file(lambda path: read_archive(path, folder))(content)


_FOLDER: list[Path] = []


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    _FOLDER.append(tmp_path)


SECRET = b"k" * 32
KEY = new_key()
PAIR = certificate("shop.test")
TOKEN = Token.new("4bcbdef6-4831-475d-a039-bf498d5ea6c2", "ab" * 32).text
AGENT_TOML = b'state = "/var/lib/x"\ncontroller = ["a:1"]\n'
GRANTS_TOML = b'addresses = ["192.0.2.0/24"]\n[programs]\nnamed = "/usr/sbin/named"\n'
CONTROLLER_TOML = b'state = "s"\npanel = "127.0.0.1:1"\npool = 3\n'
PROFILES = b'default = "a"\n[profiles.a]\nurl = "https://x:1"\ntoken = "t"\nca = "c"\n'
MODEL = (TREE / "tests" / "golden" / "six-boxes.toml").read_text()
MASTER = '$TTL 60\n@ IN MX 10 mail\nwww A 192.0.2.1\n  AAAA 2001:db8::1\nt TXT ( "a" "b" ) ; c\n'
SPECS = [
    (example.service_type.kinds[name.kind], encode_spec(spec))
    for example in examples()
    for unit in (example.before, example.after)
    for name, spec in unit.objects.items()
]


def decode_every_spec(data: bytes) -> list[object]:
    found: list[object] = []
    for service_type in SERVICE_TYPES.values():
        for kind in service_type.kinds.values():
            try:
                found.append(decode_spec(kind, kind.version, data))
            except SpecError:
                continue
    return found


PARSERS: dict[str, Parser] = {
    "an agent's words": Parser(decode_from_agent, (WireError,), [encode(m) for m in AGENT]),
    "a controller's words": Parser(
        decode_from_controller, (WireError,), [encode(m) for m in CONTROLLER]
    ),
    "a request to enrol": Parser(decode_request, (WireError,)),
    "the answer to it": Parser(decode_answer, (WireError,)),
    "specifications": Parser(decode_every_spec, (), [data for _, data in SPECS]),
    "an object hash": Parser(from_text, (ValueError,), ["0" * 32], text=True),
    "a model": Parser(model_file.parsed, (ValueError,), [MODEL], text=True),
    "a master file": Parser(
        lambda text: read_master_file(text, "shop.test"), (CommandError,), [MASTER], text=True
    ),
    "agent.toml": Parser(of_file(read_config), (ConfigError,), [AGENT_TOML]),
    "grants.toml": Parser(of_file(read_grants), (ConfigError,), [GRANTS_TOML]),
    "controller.toml": Parser(
        of_file(read_controller_config), (ControllerConfigError,), [CONTROLLER_TOML]
    ),
    "hsctl.toml": Parser(of_file(profiles.load), (UnreachableError,), [PROFILES]),
    "a deny-list": Parser(of_file(DenyList.load), (DenyListError,), [HEADER.encode() + b"1f\n"]),
    "a backup": Parser(of_archive, (ArchiveError,)),
    "a serial": Parser(parse_serial, (DenyListError,), ["1f:2e"], text=True),
    "a token": Parser(Token.parse, (TokenRefusedError,), [TOKEN], text=True),
    "a name": Parser(
        Name.parse, (NameRefusedError,), ["urn:heliosphere:c1:operator:ann"], text=True
    ),
    "a signing request": Parser(public_key_of, (KeyRefusedError,), [signing_request(KEY)]),
    "a private key": Parser(load_key, (KeyRefusedError,), [KEY]),
    "a site's chain": Parser(
        lambda text: load_pair(Certificate(chain=text, key=PAIR.key)),
        (PlanRefusedError,),
        [PAIR.chain],
        text=True,
    ),
    "a site's key": Parser(
        lambda text: load_pair(Certificate(chain=PAIR.chain, key=text)),
        (PlanRefusedError,),
        [PAIR.key],
        text=True,
    ),
    "the body of a request": Parser(
        read_json_object, (ProblemError,), [b'{"name": "a", "values": [1, null, {"x": "y"}]}']
    ),
    "a query": Parser(read_query, (UnreadableError,), [b"a=1&b=%20x"]),
    "a cursor of names": Parser(after_text, (CommandError,), ["Im5zMSI"], text=True),
    "a cursor of numbers": Parser(
        lambda text: after_number(text, 0), (CommandError,), ["MTI"], text=True
    ),
    "a list of packages": Parser(listed, (), ["ii\tbind9\t1:9\n"], text=True),
    "named's reply": Parser(
        lambda message: reply(SECRET, message, now=1),
        (ControlProtocolError,),
        [request(SECRET, "status", serial=1, now=1, nonce=b"2")[4:]],
    ),
}

MARKS = (
    *(
        b"\x80\x04\x95",
        b"!!python/object/apply:os.system",
        b"{{7*7}}",
        b"$(id)",
        b"\xff\xfe",
        b"\0",
    ),
    *(b"[" * 5000, b"{" * 5000, b'{"a":' * 3000, b"\x91" * 5000, b"\x81\xa1a" * 5000, b"-" * 200),
    *(b"9" * 5000, b"1e999", base64.urlsafe_b64encode(b"[" * 6000), b"NaN", b'"\\ud800"'),
    *(b"\xc1", b"\xc7\xff\xff", b"\xdb\xff\xff\xff\xff"),
)
"""What parsers of several kinds are known to stumble over."""


def fuzzed(parser: Parser) -> st.SearchStrategy[bytes]:
    """Anything; what it reads, with a piece cut out, put in or changed; and known trouble."""
    good = [each.encode() if isinstance(each, str) else bytes(each) for each in parser.good]
    anything = st.binary(max_size=200) | hostile_texts.map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    if not good:
        return anything | st.sampled_from(MARKS)

    def damaged(whole: bytes, at: int, length: int, put: bytes) -> bytes:
        at %= len(whole) + 1
        return whole[:at] + put + whole[at + length :]

    return st.one_of(
        anything,
        st.sampled_from(MARKS),
        st.builds(
            damaged,
            st.sampled_from(good),
            st.integers(0, 5000),
            st.integers(0, 8),
            st.binary(max_size=8) | st.sampled_from(MARKS),
        ),
    )


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_is_a_value_or_refused(name: str) -> None:
    parser = PARSERS[name]

    @settings(max_examples=150)
    @given(fuzzed(parser))
    def read(content: bytes) -> None:
        refusal = ""
        try:
            parser.parse(content.decode("utf-8", "replace") if parser.text else content)
        except parser.refusals as error:
            refusal = str(error)
        assert len(refusal) < 20_000

    read()
    for content in MARKS:
        read.hypothesis.inner_test(content)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.good])
def test_what_is_damaged_there_can_be_read(name: str) -> None:
    """The fuzz above begins at what is really read."""
    parser = PARSERS[name]
    for whole in parser.good:
        try:
            parser.parse(whole)
        except parser.refusals:
            assert name == "named's reply", whole


# --- what is written is read back ---


@pytest.mark.parametrize("number", range(len(SPECS)))
def test_a_specification_is_read_back(number: int) -> None:
    kind, data = SPECS[number]
    spec = decode_spec(kind, kind.version, data)
    assert encode_spec(spec) == data


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
names_of_things = texts.filter(bool)
values = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), texts)


@given(st.dictionaries(names_of_things, st.dictionaries(names_of_things, values)))
@example({"x]\n[y": {"a": "b"}, "$(id)": {"'": '"', "\\": "\\u0000"}})
def test_a_model_is_read_back(things: dict[str, dict[str, object]]) -> None:
    model = {"format": 1, "service_domain": "a.b", "boxes": things, "logical_servers": {}}
    found = model_file.parsed(model_file.written(model))
    assert found.get("boxes", {}) == things
    assert set(found) <= {"format", "service_domain", "boxes"}


hostile_octets = hostile_texts.map(lambda text: text.encode("utf-8", "replace"))


@given(st.lists(hostile_octets.filter(lambda octets: 0 < len(octets) < 200), max_size=4))
def test_a_master_file_is_read_back(texts: list[bytes]) -> None:
    lines = "\n".join(f"n{n} 60 IN TXT {_quoted(text)}" for n, text in enumerate(texts))
    rows = read_master_file(lines + "\n", "shop.test")
    assert len(rows) == len(texts)
    server = NameServer("1", "ns1.x.test", Endpoint(address="192.0.2.1", port=53), "master")
    zone = Zone(ZoneRow(1, "shop.test", 1, 3600, "a.b.", None), rows, (server,))
    assert read_master_file(master_file(zone), "shop.test") == rows


def _quoted(octets: bytes) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in octets) + '"'


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
        max_size=3,
    )
)
def test_profiles_are_read_back(tokens: dict[str, str]) -> None:
    path = _FOLDER[-1] / f"profiles-{len(tokens)}.toml"
    path.unlink(missing_ok=True)
    for name, token in tokens.items():
        profiles.save(
            profiles.Profile(name=name, url="https://x:1", ca="c", token=token), path=path
        )
    assert {n: it.token for n, it in profiles.load(path).by_name.items()} == tokens
    if tokens:
        assert set(tomllib.loads(path.read_text())["profiles"]) == set(tokens)


@given(st.text(max_size=50), st.integers(1, 2**31))
def test_a_command_to_named_is_read_as_one(command: str, serial: int) -> None:
    """A request is no reply: the same key does not make one of the other."""
    plain = command.encode("ascii", "replace").decode()
    message = request(SECRET, plain, serial=serial, now=1, nonce=b"1")
    with pytest.raises(ControlProtocolError, match="not a reply"):
        reply(SECRET, message[4:], now=1)
