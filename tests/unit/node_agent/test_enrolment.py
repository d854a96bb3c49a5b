"""What an enrolled box keeps: with a certificate comes where its controller is."""

from pathlib import Path

import pytest

from node_agent.config import ControllerAddress
from node_agent.enrolment import controllers_met, save
from node_agent.wire.enrolment import Enrolled

ENROLLED = Enrolled(certificate=b"certificate", ca=b"ca", agent_port=8444, cluster="c")


@pytest.mark.parametrize("host", ["cp.example.net", "192.0.2.1", "2001:db8::1"])
def test_an_enrolled_box_knows_its_controller(tmp_path: Path, host: str) -> None:
    save(tmp_path / "state", b"key", ENROLLED, host)
    assert controllers_met(tmp_path / "state") == (ControllerAddress(host, 8444),)


def test_a_box_that_never_enrolled_knows_none(tmp_path: Path) -> None:
    assert controllers_met(tmp_path) == ()


def test_a_spoiled_file_names_no_controller(tmp_path: Path) -> None:
    (tmp_path / "controller").write_text("nonsense\n")
    assert controllers_met(tmp_path) == ()
