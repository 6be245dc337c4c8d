"""What the check of a cluster says: of made-up reports, and of two real nodes on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from midef.core.errors import PreflightError
from midef.core.packages import Package
from midef.storage import Location
from midef.sweep.execution import cluster_check
from midef.sweep.execution.cluster_check import (
    Finding,
    NodeReport,
    check_cluster,
    delete_file,
    judge,
    report,
    unseen_files,
)

ROOT = Path(__file__).resolve().parents[3]
VERSIONS = {"python": "3.12.3", "midef": "0.1.0", "torch": "2.15.0", "ray": "2.60.0"}


def node(name: str, **changes: Any) -> NodeReport:
    """A node with one GPU and nothing wrong."""
    right = NodeReport(
        name=name,
        ip="10.0.0.10",
        versions=VERSIONS,
        gpus=1,
        gpus_of_ray=1.0,
        named_interfaces={"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "eth0"},
        interfaces=("lo", "eth0"),
        folders={"MIDEF_DATA": ("/mnt/data", ("celeba", "facescrub")), "MIDEF_WEIGHTS": ("/mnt/weights", None)},
        clock_s=(-2.0, 3.0),
    )
    return replace(right, **changes)


def wrong(*reports: NodeReport, **more: Any) -> list[str]:
    """The texts of what is not as it should be."""
    return [f.text for f in judge(reports, more.pop("lost", {}), "/mnt/results", **more) if not f.ok]


def test_nothing_is_wrong_with_two_equal_nodes() -> None:
    findings = judge([node("head"), node("w1")], {}, "/mnt/results", expected_nodes=2)
    assert all(f.ok for f in findings)
    assert [f.text for f in findings] == [
        "2 nodes answer: head, w1",
        "versions on every node: python 3.12.3, midef 0.1.0, torch 2.15.0, ray 2.60.0",
        "token authentication is on",
        "GPUs: 2, seen by torch and counted by Ray",
        "interface between the nodes: eth0",
        "store /mnt/results: written and read from every node",
        "MIDEF_DATA (/mnt/data): celeba, facescrub",
        "MIDEF_WEIGHTS (/mnt/weights): no such folder",
        "clocks: no two are known to be more than 60 s apart",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"versions": {**VERSIONS, "torch": "2.14.1"}},
            "torch is 2.15.0 on head, w1 and 2.14.1 on w2; install the same",
        ),
        ({"versions": {"python": "3.12.3"}}, "ray is 2.60.0 on head, w1 and missing on w2"),
        (
            {"versions": {**VERSIONS, "midef-extras": "0.1.0"}},
            "midef-extras is missing on head, w1 and 0.1.0 on w2; install the same on every node",
        ),
        ({"token": False}, "no token authentication on w2: whoever reaches Ray's ports there can run code"),
        ({"gpus": 0}, "w2: torch sees 0 GPUs, Ray counts 1; look at nvidia-smi"),
        ({"gpus": 4}, "w2: torch sees 4 GPUs, Ray counts 1"),
        ({"ip": "127.0.0.1"}, "w2 is known as 127.0.0.1, which no other node reaches"),
        ({"ip": "::1"}, "w2 is known as ::1, which no other node reaches"),
        ({"named_interfaces": {"NCCL_SOCKET_IFNAME": "eth0"}}, "GLOO_SOCKET_IFNAME is not set on w2"),
        (
            {"named_interfaces": {"GLOO_SOCKET_IFNAME": "", "NCCL_SOCKET_IFNAME": "eth0"}},
            "GLOO_SOCKET_IFNAME is not set on w2",
        ),
        ({"named_interfaces": {"GLOO_SOCKET_IFNAME": "eth0"}}, "NCCL_SOCKET_IFNAME is not set on w2"),
        ({"interfaces": ("lo", "ens3")}, "GLOO_SOCKET_IFNAME=eth0 on w2, which has lo, ens3"),
        ({"store_problem": "cannot write x: read-only"}, "w2 cannot use the store: cannot write x: read-only"),
        ({"unseen": ("head", "w1")}, "w2 does not see in /mnt/results what head, w1 wrote; is it the same folder"),
        (
            {"folders": {"MIDEF_DATA": ("/mnt/data", ("celeba",)), "MIDEF_WEIGHTS": ("/mnt/weights", None)}},
            "MIDEF_DATA (/mnt/data) holds celeba, facescrub on head, w1 and celeba on w2; nodes must see the same",
        ),
        (
            {"folders": {"MIDEF_DATA": ("/mnt/data", ("celeba", "facescrub")), "MIDEF_WEIGHTS": ("/w", ())}},
            "MIDEF_WEIGHTS (/mnt/weights on head, w1 and /w on w2) holds no such folder on head, w1 and nothing on w2",
        ),
        ({"clock_s": (70.0, 71.0)}, "the clock of w2 is at least 67 s ahead of head's"),
        ({"clock_s": (-71.0, -70.0)}, "the clock of head is at least 68 s ahead of w2's"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "-".join(value),
)
def test_one_node_is_wrong(changes: dict[str, Any], said: str) -> None:
    found = wrong(node("head"), node("w1"), node("w2", **changes))
    assert any(text.startswith(said) for text in found), found
    assert all("w2" in text for text in found)


def test_clocks_are_compared_with_each_other_not_only_with_the_asking_one() -> None:
    assert wrong(node("head", clock_s=(-45.0, -40.0)), node("w1", clock_s=(40.0, 45.0)))
    assert wrong(node("head", clock_s=(-29.0, -25.0)), node("w1", clock_s=(25.0, 29.0))) == []
    assert wrong(node("head"), node("w1", clock_s=(-500.0, 500.0))) == []  # it took long to answer: nothing is known


def test_one_node_needs_no_interface() -> None:
    assert wrong(node("head", named_interfaces={}, ip="127.0.0.1")) == []


def test_without_gpus_nccl_needs_no_interface() -> None:
    bare = {"gpus": 0, "gpus_of_ray": 0.0, "named_interfaces": {"GLOO_SOCKET_IFNAME": "eth0"}}
    assert wrong(node("head", **bare), node("w1", **bare)) == []
    assert Finding(True, "GPUs: none") in judge([node("head", **bare)], {}, "s")


@pytest.mark.parametrize(
    ("gloo", "nccl", "is_right"),
    [
        ("eth0", "eth", True),  # NCCL takes the start of a name
        ("eth", "eth0", False),  # gloo does not
        ("eth0", "=eth", False),
        ("eth0", "=eth0", True),
        ("eth0", "^docker", True),
        ("ib0,eth0", "ib,eth", True),
        ("ib0", "eth0", False),
        ("eth0", "ib", False),
    ],
)
def test_interfaces_as_gloo_and_nccl_read_them(gloo: str, nccl: str, is_right: bool) -> None:
    named = {"GLOO_SOCKET_IFNAME": gloo, "NCCL_SOCKET_IFNAME": nccl}
    assert (wrong(node("head"), node("w1", named_interfaces=named)) == []) == is_right


def test_nodes_that_are_missing_or_silent() -> None:
    assert wrong(node("head"), expected_nodes=3)[0].startswith("1 node answers: head; 3 are expected")
    assert wrong(node("head"), lost={"w1": "nothing came within 180 s"}) == [
        "w1 does not answer: nothing came within 180 s"
    ]
    assert wrong(lost={"w1": "it died"}) == ["w1 does not answer: it died", "0 nodes answer: none"]


def test_a_node_reports_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "celeba").mkdir(parents=True)
    monkeypatch.setenv("MIDEF_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    store = Location.open(tmp_path / "store")
    said = report(store, "probe-1")
    assert said.folders == {
        "MIDEF_DATA": (str(tmp_path / "data"), ("celeba",)),
        "MIDEF_WEIGHTS": (str(tmp_path / "weights"), None),
    }
    assert said.named_interfaces == {"GLOO_SOCKET_IFNAME": "eth7", "NCCL_SOCKET_IFNAME": None}
    assert "lo" in said.interfaces
    assert said.store_problem == ""
    assert unseen_files(store, ["probe-1", "probe-2"]) == ["probe-2"]
    assert unseen_files(Location.open(tmp_path / "other"), ["probe-1"]) == ["probe-1"]
    delete_file(store, "probe-1")
    delete_file(store, "never written")
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file()] == []


def test_a_node_reports_packages_that_add_components(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_check, "component_packages", lambda: [Package("midef-extras", "0.1.0")])
    versions = report(Location.open(tmp_path / "store"), "probe").versions
    assert list(versions) == [*VERSIONS, "midef-extras"] and versions["midef-extras"] == "0.1.0"


def test_a_store_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Location.open(tmp_path / "file")
    assert "in the store" in report(store, "probe").store_problem
    delete_file(store, "probe")


def test_where_nothing_listens_there_is_no_cluster(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PreflightError, match=rf"no Ray cluster answers at 127.0.0.1:{port} \(--address\); start"):
            check_cluster(str(tmp_path), address=f"127.0.0.1:{port}")


PROGRAM = """
import json, os, subprocess, sys
from dataclasses import asdict
from ray.cluster_utils import Cluster
from midef.sweep.execution.cluster_check import check_cluster

small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
try:
    cluster.add_node(**small, num_gpus=1)
    findings = check_cluster(sys.argv[1], address=cluster.address, expected_nodes=2)
    print(json.dumps([asdict(f) for f in findings]))
    other = (
        "import sys; from midef.sweep.execution.cluster_check import check_cluster; "
        "check_cluster(sys.argv[1], address=sys.argv[2])"
    )
    asked = subprocess.run(
        [sys.executable, "-c", other, sys.argv[1], cluster.address],
        env={**os.environ, "RAY_AUTH_TOKEN": "b" * 64, "RAY_gcs_server_request_timeout_seconds": "3"},
        capture_output=True, text=True,
    )
    print(json.dumps(asked.stderr.strip().splitlines()[-1]))
finally:
    cluster.shutdown()
"""


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, bool], str]]:
    """The store, the findings, and the last words of one who has another token; Ray pretends the second has a GPU."""
    folder = tmp_path_factory.mktemp("cluster")
    short = tempfile.TemporaryDirectory(prefix="midef-ray.", dir="/tmp", ignore_cleanup_errors=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "GLOO_", "NCCL_", "MIDEF_"))}
    environment = {
        **clean,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a" * 64,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": short.name,  # in its own, other starts of Ray on this machine would find this cluster
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = [sys.executable, "-c", PROGRAM, str(folder / "store")]
    for _ in range(4):  # Ray waits 30 s for its own start, which a busy machine may not manage
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
        if "timed out during startup" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    findings, refused = [json.loads(line) for line in done.stdout.strip().splitlines()[-2:]]
    yield folder / "store", {f["text"]: f["ok"] for f in findings}, refused
    short.cleanup()


@pytest.fixture
def finding(two_nodes: tuple[Path, dict[str, bool], str]) -> Callable[[str], bool]:
    """Whether the one finding with these words is good."""

    def look(words: str) -> bool:
        matching = [ok for text, ok in two_nodes[1].items() if words in text]
        assert len(matching) == 1, (words, two_nodes[1])
        return matching[0]

    return look


@pytest.mark.ray
@pytest.mark.parametrize(
    ("words", "is_right"),
    [
        ("2 nodes answer", True),
        ("versions on every node: python", True),
        ("token authentication is on", True),
        ("torch sees 0 GPUs, Ray counts 1", False),
        ("NCCL_SOCKET_IFNAME is not set on", False),
        ("written and read from every node", True),
        ("MIDEF_DATA", True),
        ("clocks", True),
    ],
)
def test_two_real_nodes(finding: Callable[[str], bool], words: str, is_right: bool) -> None:
    assert finding(words) == is_right


@pytest.mark.ray
def test_the_check_leaves_no_file_in_the_store(two_nodes: tuple[Path, dict[str, bool], str]) -> None:
    assert [p for p in two_nodes[0].rglob("*") if p.is_file()] == []


@pytest.mark.ray
def test_another_token_is_refused(two_nodes: tuple[Path, dict[str, bool], str]) -> None:
    assert "PreflightError: the Ray cluster at" in two_nodes[2]
    assert "does not let this machine in" in two_nodes[2]
