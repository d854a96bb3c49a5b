"""`script/setup` and the machine's own policy for services: put back however a run ends.

It runs over a copy of /usr/sbin that only it sees, with an apt-get that says what it would do.
"""

import os
import subprocess
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
_STAGE = """
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/bin
mount -t overlay overlay -o lowerdir=/usr/sbin,upperdir=/mnt/up,workdir=/mnt/work /usr/sbin
rm -f /usr/sbin/named /usr/sbin/policy-rc.d
cat >/mnt/bin/apt-get <<'END'
#!/bin/sh
echo "apt-get $1: $(tail -n 1 /usr/sbin/policy-rc.d)" >>/mnt/seen
[ "$1" = update ] || eval "${MEANWHILE:-:}"
END
cat >/mnt/bin/systemctl <<'END'
#!/bin/sh
echo "systemctl $*" >>/mnt/seen
exit "${SYSTEMD:-0}"
END
chmod 755 /mnt/bin/*
PATH=/mnt/bin:/usr/sbin:/usr/bin:/sbin:/bin
shown() { ls /usr/sbin/policy-rc.d*; cat /usr/sbin/policy-rc.d; }
own() { printf '#!/bin/sh\\nexit 104\\n' >/usr/sbin/policy-rc.d; }
run() { setsid env MEANWHILE="$1" script/setup run packages 2>/dev/null || echo "ended $?"; }
"""
_KEPT = ["/usr/sbin/policy-rc.d", "#!/bin/sh", "exit 104"]


def staged(steps: str) -> list[str]:
    """Run the steps; give what they print."""
    return [line for line in told(steps) if not line.startswith(("apt-get", "systemctl"))]


def told(steps: str) -> list[str]:
    """Run the steps; give what they print, then what was asked of the programs that stand in."""
    new = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "-r", "--mount"]
    ended = subprocess.run(
        [*new, "sh", "-c", f"{_STAGE}{steps}; cat /mnt/seen"],
        capture_output=True,
        text=True,
        check=False,
        cwd=TREE,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    installed = [line for line in lines if line.startswith("apt-get install")]
    assert installed, ended
    assert set(installed) == {"apt-get install: exit 101"}
    return lines


def test_no_policy_is_left_where_there_was_none() -> None:
    assert staged("run :; ls /usr/sbin/policy-rc.d* || :") == []


@pytest.mark.parametrize("meanwhile", [":", "exit 100", "kill -INT 0", "kill -HUP 0"])
def test_the_machines_policy_is_back_however_a_run_ends(meanwhile: str) -> None:
    shown = staged(f"own; run {meanwhile!r}; shown")
    assert [line for line in shown if not line.startswith("ended")] == _KEPT


def test_a_killed_run_is_healed_by_the_next() -> None:
    shown = staged("own; run 'kill -KILL 0'; run :; shown")
    assert [line for line in shown if not line.startswith("ended")] == _KEPT


def test_a_policy_that_is_a_link_stays_one() -> None:
    link = "ln -s /etc/hostname /usr/sbin/policy-rc.d; run :; readlink /usr/sbin/policy-rc.d"
    assert staged(link) == ["/etc/hostname"]


@pytest.mark.parametrize("status", [0, 1])
def test_a_daemon_that_was_installed_for_this_product_does_not_start_at_the_next_boot(
    status: int,
) -> None:
    lines = told(f"export SYSTEMD={status}; run :")
    assert [line for line in lines if line.startswith("systemctl")] == [
        "systemctl --quiet disable named"
    ]
    assert "ended 1" not in lines


def test_an_unknown_purpose_is_refused_before_anything_is_done() -> None:
    ended = subprocess.run(
        ["sh", "script/setup", "bogus"], capture_output=True, check=False, cwd=TREE
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
