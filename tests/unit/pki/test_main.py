from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pki.authority import Authority
from pki.keys import new_key, signing_request
from pki.main import cli
from pki.names import Name
from pki.policy import name_in
from pki.revocation import DenyList
from tests.unit.pki.forge import BOX, CLUSTER


def hs_ca(directory: Path, *words: str, typed: str | bytes = "") -> Result:
    return CliRunner().invoke(cli, [words[0], "--dir", str(directory), *words[1:]], input=typed)


def csr(tmp_path: Path) -> str:
    path = tmp_path / "box.csr"
    path.write_bytes(signing_request(new_key()))
    return str(path)


def test_init_makes_a_ca(ca_directory: Path) -> None:
    result = hs_ca(ca_directory, "init", "--cluster", CLUSTER)
    assert result.exit_code == 0
    assert Authority.load(ca_directory).cluster == CLUSTER


def test_init_draws_a_cluster_id(ca_directory: Path) -> None:
    assert hs_ca(ca_directory, "init").exit_code == 0
    assert len(Authority.load(ca_directory).cluster) == 36


def test_init_replaces_nothing(ca_directory: Path, authority: Authority) -> None:
    result = hs_ca(ca_directory, "init", "--cluster", CLUSTER)
    assert result.exit_code == 1
    assert "not replaced" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bad_cluster_is_refused(ca_directory: Path) -> None:
    result = hs_ca(ca_directory, "init", "--cluster", "A B")
    assert result.exit_code == 1
    assert not (ca_directory / "ca.pem").exists()


def test_show_tells_cluster_and_fingerprint(ca_directory: Path, authority: Authority) -> None:
    result = hs_ca(ca_directory, "show")
    assert result.exit_code == 0
    assert CLUSTER in result.stdout
    assert authority.fingerprint in result.stdout.replace(":", "")


def test_fingerprint_prints_one_word(ca_directory: Path, authority: Authority) -> None:
    assert hs_ca(ca_directory, "fingerprint").stdout == authority.fingerprint + "\n"


@pytest.mark.parametrize("command", ["show", "fingerprint", "list-revoked"])
def test_a_missing_ca_is_one_line_and_exit_1(ca_directory: Path, command: str) -> None:
    result = hs_ca(ca_directory, command)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_an_operator_gets_key_certificate_and_ca(
    tmp_path: Path, ca_directory: Path, authority: Authority
) -> None:
    result = hs_ca(ca_directory, "issue-operator", "ann", "--out", str(tmp_path / "ann"))
    assert result.exit_code == 0
    out = tmp_path / "ann"
    assert name_in((out / "ann.pem").read_bytes()) == Name(CLUSTER, "operator", "ann")
    assert (out / "ann-key.pem").stat().st_mode & 0o777 == 0o600
    assert (out / "ca.pem").read_bytes() == authority.certificate_pem


def test_an_operators_files_are_not_replaced(
    tmp_path: Path, ca_directory: Path, authority: Authority
) -> None:
    words = ("issue-operator", "ann", "--out", str(tmp_path / "ann"))
    hs_ca(ca_directory, *words)
    before = (tmp_path / "ann" / "ann-key.pem").read_bytes()
    assert hs_ca(ca_directory, *words).exit_code == 1
    assert (tmp_path / "ann" / "ann-key.pem").read_bytes() == before


def test_another_clusters_ca_is_not_overwritten(
    tmp_path: Path, ca_directory: Path, authority: Authority
) -> None:
    Authority.create(tmp_path / "other", "c2")
    result = hs_ca(ca_directory, "issue-operator", "ann", "--out", str(tmp_path / "other"))
    assert result.exit_code == 1
    assert Authority.load(tmp_path / "other").cluster == "c2"


def test_a_request_is_signed_for_the_named_box(
    tmp_path: Path, ca_directory: Path, authority: Authority
) -> None:
    result = hs_ca(ca_directory, "sign", csr(tmp_path), "--box", BOX, "--yes")
    assert result.exit_code == 0
    assert name_in(result.stdout.encode()) == Name(CLUSTER, "box", BOX)


def test_nothing_is_signed_without_a_yes(
    tmp_path: Path, ca_directory: Path, authority: Authority
) -> None:
    out = tmp_path / "box.pem"
    words = ("sign", csr(tmp_path), "--box", BOX, "--out", str(out))
    assert hs_ca(ca_directory, *words, typed="n\n").exit_code == 1
    assert hs_ca(ca_directory, *words, typed="").exit_code == 1
    assert not out.exists()
    assert hs_ca(ca_directory, *words, typed="y\n").exit_code == 0
    assert out.exists()


def test_a_bad_request_is_refused(ca_directory: Path, authority: Authority) -> None:
    result = hs_ca(ca_directory, "sign", "-", "--box", BOX, "--yes", typed="nonsense")
    assert result.exit_code == 1
    assert "signing request" in result.stderr


def test_a_bad_box_is_refused(tmp_path: Path, ca_directory: Path, authority: Authority) -> None:
    result = hs_ca(ca_directory, "sign", csr(tmp_path), "--box", "ns1", "--yes")
    assert result.exit_code == 1


def test_a_revoked_serial_is_on_the_list(ca_directory: Path, authority: Authority) -> None:
    assert hs_ca(ca_directory, "revoke", "0A:ff").exit_code == 0
    assert hs_ca(ca_directory, "list-revoked").stdout == "aff\n"
    assert 0xAFF in DenyList.load(ca_directory / "denied-serials")


def test_the_deny_list_may_live_elsewhere(tmp_path: Path, ca_directory: Path) -> None:
    elsewhere = tmp_path / "denied"
    assert hs_ca(ca_directory, "revoke", "--deny-list", str(elsewhere), "1").exit_code == 0
    assert 1 in DenyList.load(elsewhere)


def test_a_bad_serial_is_refused(ca_directory: Path, authority: Authority) -> None:
    assert hs_ca(ca_directory, "revoke", "nonsense").exit_code == 1
    assert not (ca_directory / "denied-serials").exists()


def test_wrong_usage_is_exit_2(ca_directory: Path) -> None:
    assert hs_ca(ca_directory, "issue-operator").exit_code == 2
    assert hs_ca(ca_directory, "bogus").exit_code == 2


@pytest.mark.parametrize("command", [None, *cli.commands])
def test_every_command_explains_itself(command: str | None) -> None:
    words = [command, "--help"] if command else ["--help"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0
    assert "..." not in result.output.partition("Commands:")[2]
