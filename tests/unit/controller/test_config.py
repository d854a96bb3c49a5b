from pathlib import Path

import pytest
from hypothesis import given

from controller.config import ConfigError, ControllerConfig, Listen, read_config
from tests import strategies


def read(tmp_path: Path, text: str) -> ControllerConfig:
    path = tmp_path / "controller.toml"
    path.write_text(text)
    path.chmod(0o600)
    return read_config(path)


def test_the_state_directory_is_enough(tmp_path: Path) -> None:
    config = read(tmp_path, 'state = "state"')
    assert config.embedded
    assert config.pki == tmp_path / "state" / "pki"
    assert config.secrets_key == tmp_path / "state" / "secrets.key"
    assert (config.panel, config.agents.port, config.enrolment.port) == (
        Listen("127.0.0.1", 8443),
        8444,
        8445,
    )


def test_every_setting_is_taken(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        state = "/srv/hs"
        database = "postgresql://owner:secret@db/hs"
        pool = 3
        panel = "[::1]:443"
        agents = "0.0.0.0:1"
        enrolment = "127.0.0.1:0"
        public_name = "hs.example"
        service_domain = "example.net"
        pki = "ca"
        secrets_key = "/etc/hs/key"
        log = "hs.log"
        log_bytes = 5
        log_files = 2
        """,
    )
    assert not config.embedded
    assert config.panel == Listen("::1", 443)
    assert str(config.panel) == "[::1]:443"
    assert config.pki == tmp_path / "ca"
    assert config.log == tmp_path / "hs.log"
    assert "secret@" not in repr(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "state"),
        ('state = "s"\nstat = 1', "unknown setting 'stat'"),
        ("state = 3", "state: a text"),
        ('state = "s"\npool = 0', "pool: a whole number"),
        ('state = "s"\npool = true', "pool: a whole number"),
        ('state = "s"\npanel = "8443"', "panel: not an address"),
        ('state = "s"\npanel = "a:65536"', "panel: not an address"),
        ('state = "s"\ndatabase = "mysql://"', "database: a connection string"),
        ("state =", "Invalid value"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        read(tmp_path, text)
    assert "controller.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        read_config(tmp_path / "absent.toml")


@given(strategies.listens)
def test_a_place_to_listen_reads_back(listen: Listen) -> None:
    assert Listen.parse(str(listen)) == listen
