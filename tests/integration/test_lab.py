"""The commands of cluster/README.md on four hosts made of namespaces: lab/on_prem.py, run once and read by line."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent / "lab" / "on_prem.py"
NEEDED = {
    **{"ip": "iproute2", "sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"},
    **{"rsync": "rsync", "pgrep": "procps", "git": "git", "nsenter": "util-linux", "unshare": "util-linux"},
}
LIMIT_S = 1500


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_prem", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECKS: tuple[str, ...] = _script().CHECKS

pytestmark = [pytest.mark.lab, pytest.mark.ray, pytest.mark.timeout(LIMIT_S + 60)]


def lacking() -> str:
    """Why no lab can be made here, "" if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it makes namespaces, which needs root on Linux"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if packages := {package for program, package in NEEDED.items() if shutil.which(program, path=path) is None}:
        return f"apt-get install {' '.join(sorted(packages))}"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--mount-proc", "true"], capture_output=True
    )
    return f"this machine lets nobody make namespaces: {tried.stderr.decode().strip()}" if tried.returncode else ""


@pytest.fixture(scope="module")
def said() -> str:
    """What the script printed; it cleans up behind itself, also when it is told to end."""
    if reason := lacking():
        pytest.skip(reason)
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    running = subprocess.Popen(
        [sys.executable, str(SCRIPT)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = running.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        running.terminate()
        output, _ = running.communicate(timeout=60)
        output += f"\nended after {LIMIT_S} s"
    finally:
        if running.poll() is None:
            running.terminate()
    return output


@pytest.mark.parametrize("check", CHECKS)
def test_on_a_cluster(said: str, check: str) -> None:
    assert re.search(rf"^ok: {check}: ", said, re.M), said


def test_nothing_was_left_out(said: str) -> None:
    """Each check was made once, in this order."""
    assert re.findall(r"^(?:ok|FAIL): (\w+): ", said, re.M) == list(CHECKS), said


def test_the_cluster_file_is_edited_only_where_it_says_edit() -> None:
    """And in what makes a node small, and one more line for the sweep."""
    text = (SCRIPT.parents[3] / "cluster" / "on_prem.yaml").read_text()
    before, after = text.splitlines(), _script().edited(text, Path("/nfs")).splitlines()
    gone = [line for line in before if line not in after]
    new = [line for line in after if line not in before]
    assert [line.strip()[:30] for line in gone if "EDIT" not in line] == ["RAY_AUTH_MODE=token ray start "] * 2
    assert len(new) == len(gone) + 1
    assert '    export MIDEF_SWEEP="/nfs/sweep.yaml"' in new
