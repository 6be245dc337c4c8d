"""Joining a cluster and starting a Ray of our own: addresses, folder, token, tries; a cluster that is too small."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from midef.core import PreflightError
from midef.storage import Store
from midef.sweep.execution import ray_address, ray_folder
from midef.sweep.execution.outcome import RunOptions
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.ray_start import quiet, start_ray, stop_ray
from midef.sweep.execution.ray_token import token_problem
from midef.sweep.execution.tune_run import run_plan
from midef.sweep.planning.plan import Plan

SweepOf = Callable[..., Any]
States = Callable[[Plan], dict[str, str]]


RAY_ANSWERS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster, token or folder of this machine's user takes part."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ray.init was asked for, and the environment it found; it starts nothing."""
    import ray

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "init", lambda **given: calls.append({**given, "environment": dict(os.environ)}))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return calls


@contextmanager
def listening(answer: bytes | None = None) -> Iterator[str]:
    """The address of somebody who accepts connections, and says this to each, nothing if None."""
    with socket.create_server(("0.0.0.0", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    if answer is not None:
                        connection.sendall(answer)
                    connection.settimeout(5)
                    while connection.recv(100):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("0.0.0.0", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("failures", [0, 2, 9])
def test_a_start_of_ray_that_times_out_is_tried_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    calls: list[str] = []

    def init(**given: Any) -> None:
        calls.append("init")
        if calls.count("init") <= failures:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    if failures < 5:
        start_ray(RunOptions(), with_dashboard=False)
        assert calls == ["init", "shutdown"] * failures + ["init"]
    else:
        with pytest.raises(PreflightError, match="5 attempts"):
            start_ray(RunOptions(), with_dashboard=False)


def test_the_processes_of_a_start_that_timed_out_are_ended_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray leaves them to the end of the driver: on a busy machine every try would make it busier."""
    import ray
    from ray._private.node import Node

    calls: list[str] = []

    def timed_out(self: Node) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    def init(**given: Any) -> None:
        calls.append("init")
        if calls.count("init") == 1:
            Node.start_ray_processes(object.__new__(Node))

    monkeypatch.setattr(Node, "start_ray_processes", timed_out)
    monkeypatch.setattr(Node, "kill_all_processes", lambda self, **how: calls.append("ended"))
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    start_ray(RunOptions(), with_dashboard=False)
    assert calls == ["init", "ended", "init"]


def test_any_other_failure_of_ray_s_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**given: Any) -> None:
        raise RuntimeError("no room in /dev/shm")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(PreflightError, match="Ray could not be started here: RuntimeError: no room in /dev/shm"):
        start_ray(RunOptions(), with_dashboard=False)


@pytest.mark.parametrize("form", ["{}", "ray://{}", " {} "])
def test_an_address_where_nothing_listens_is_said_at_once(
    form: str, closed: str, init: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself would try for minutes, without a word of ours."""
    address = form.format(closed)
    monkeypatch.setenv("RAY_ADDRESS", address)
    said = f"no Ray cluster answers at {address.strip()} (RAY_ADDRESS); start it or unset RAY_ADDRESS ("
    with pytest.raises(PreflightError) as caught:
        start_ray(RunOptions(), with_dashboard=False)
    assert str(caught.value).startswith(said) and caught.value.exit_code == 3
    with pytest.raises(
        PreflightError, match=re.escape(f"{address.strip()} (--address); start it or leave --address out")
    ):
        start_ray(RunOptions(address=address), with_dashboard=False)
    assert init == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("head", "Invalid address format: head"),
        ("http://head:8265", ""),
        ("head.invalid:6379", ""),
        ("127.0.0.1:99999999", ""),
        ("auto", "Could not find any running Ray instance"),
    ],
)
def test_what_is_no_address_is_said_at_once(address: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    monkeypatch.setattr(services, "find_gcs_addresses", set)
    with pytest.raises(PreflightError, match=f"no Ray cluster .*{re.escape(reason)}"):
        start_ray(RunOptions(address=address), with_dashboard=False)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None], ids=["http", "hangs up", "silent"])
def test_what_listens_but_is_no_ray_is_not_waited_for(
    answer: bytes | None, init: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_address, "ANSWER_S", 1.0)
    with (
        listening(answer) as address,
        pytest.raises(PreflightError, match=r"what listens there is no Ray|nothing came"),
    ):
        start_ray(RunOptions(address=address), with_dashboard=False)
    assert init == []


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    monkeypatch.setattr(ray_address, "ANSWER_S", 0.1)
    monkeypatch.setattr(ray_address, "_ask", lambda host, port: waiting.wait(60))
    with pytest.raises(PreflightError, match="nothing came within"):
        start_ray(RunOptions(address="head:6379"), with_dashboard=False)
    waiting.set()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"), "does not let this machine in"),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.61.0"),
            "has other versions .*2.61.0",
        ),
        (ValueError("whatever\nelse"), r"no Ray cluster answers at .*\(whatever\)"),
    ],
    ids=["token", "version", "else"],
)
def test_a_cluster_that_cannot_be_joined_is_said_with_the_cure(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def refuse(**given: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", refuse)
    with listening(RAY_ANSWERS) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(PreflightError, match=said) as caught:
            start_ray(RunOptions(), with_dashboard=False)
        assert "unset RAY_ADDRESS" in str(caught.value)


def test_a_cluster_that_died_on_this_machine_is_not_waited_for(
    closed: str, init: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray start` writes its address down, and a machine that lost power forgets to remove it."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "r"))
    (tmp_path / "r/ray").mkdir(parents=True)
    (tmp_path / "r/ray/ray_current_cluster").write_text(closed)
    monkeypatch.setattr(ray_folder, "SOCKET_LETTERS", 1000)
    start_ray(RunOptions(cpus=1), with_dashboard=False)
    assert [call["address"] for call in init] == ["local"]


def test_it_says_whether_the_ray_was_there_before(
    init: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that was named, or found on this machine, trains through Ray Train; one of our own need not."""
    monkeypatch.setattr(ray_folder, "SOCKET_LETTERS", 1000)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "r"))
    (tmp_path / "r/ray").mkdir(parents=True)
    assert not start_ray(RunOptions(cpus=1), with_dashboard=False)
    with listening(RAY_ANSWERS) as address:
        (tmp_path / "r/ray/ray_current_cluster").write_text(address)
        assert start_ray(RunOptions(), with_dashboard=False)
    with listening(RAY_ANSWERS) as address:
        assert start_ray(RunOptions(address=address), with_dashboard=False)
    assert [call.get("address", "found") for call in init] == ["local", "found", address]


def test_a_ray_of_ours_listens_on_loopback_alone_and_leaves_no_trace(init: list[Any]) -> None:
    from ray._private import ray_constants, services

    seen: list[str] = []
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        import ray

        patch.setattr(ray, "init", lambda **given: seen.append(services.get_node_ip_address()))
        start_ray(RunOptions(cpus=1), with_dashboard=False)
    assert seen == ["127.0.0.1"] and ray_constants.ENABLE_RAY_CLUSTER
    assert dict(os.environ) == before, "the processes of a cluster that is joined later are told nothing"


def test_the_token_of_a_ray_of_ours_is_for_its_user_alone(init: list[Any], tmp_path: Path) -> None:
    start_ray(RunOptions(cpus=1), with_dashboard=False)
    token = tmp_path / ".ray/auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600 and stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert len(token.read_text()) == 64 and list(token.parent.iterdir()) == [token]
    before = token.read_text()
    start_ray(RunOptions(cpus=1), with_dashboard=False)
    assert token.read_text() == before and token_problem() == ""


def test_without_a_home_the_token_stays_in_memory(
    init: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    start_ray(RunOptions(cpus=1), with_dashboard=False)
    assert len(init[0]["environment"]["RAY_AUTH_TOKEN"]) == 64


def test_the_rights_of_a_token_that_others_can_read_are_said(tmp_path: Path) -> None:
    token = tmp_path / ".ray/auth_token"
    token.parent.mkdir(mode=0o700)
    token.write_text("secret")
    token.chmod(0o644)
    assert "has mode 0644: others can read it and run code as you; chmod 600" in token_problem()
    token.chmod(0o600)
    token.parent.chmod(0o777)
    assert "others can replace it; chmod 700" in token_problem()


def test_ray_gets_a_short_folder_where_sockets_would_not_fit(
    init: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("d" * 60)
    long.mkdir()
    for name, folder in (("TMPDIR", long), ("TMPDIR", tmp_path / "missing"), ("RAY_TMPDIR", long)):
        monkeypatch.setenv(name, str(folder))
        start_ray(RunOptions(cpus=1), with_dashboard=False)
        chosen = Path(init[-1]["environment"]["RAY_TMPDIR"])
        assert chosen.parent == Path("/tmp") and stat.S_IMODE(chosen.stat().st_mode) == 0o700
        socket_path = f"{chosen}/ray/session_2026-11-29_12-00-00_123456_4194304/sockets/plasma_store"
        assert len(socket_path) <= 107
        stop_ray()
        assert not chosen.exists() and os.environ.get("RAY_TMPDIR") == (str(long) if name == "RAY_TMPDIR" else None)


def test_ray_gets_another_folder_where_its_own_is_full(init: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    full = tempfile.mkdtemp(prefix="midef-full.", dir="/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")
    usage = shutil.disk_usage("/tmp")

    def disk_usage(place: Path) -> Any:
        return usage._replace(free=1000) if str(place) == full else usage

    monkeypatch.setattr(ray_folder.shutil, "disk_usage", disk_usage)
    monkeypatch.setenv("TMPDIR", full)
    try:
        start_ray(RunOptions(cpus=1), with_dashboard=False)
        assert init[-1]["environment"]["RAY_TMPDIR"].startswith("/tmp/midef-ray.")
        stop_ray()
    finally:
        Path(full).rmdir()


def test_ray_s_own_folder_is_kept_where_it_fits(init: list[Any]) -> None:
    start_ray(RunOptions(cpus=1), with_dashboard=False)
    assert "RAY_TMPDIR" not in init[-1]["environment"]


def test_no_folder_at_all_is_said_with_both_reasons(
    init: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("d" * 60)))
    monkeypatch.setattr(ray_folder, "_SHORT", tmp_path / "missing")
    monkeypatch.setattr(ray_folder, "SOCKET_LETTERS", 107 + len(str(tmp_path)))
    with pytest.raises(
        PreflightError, match=r"is too long for the sockets .*cannot be used .*set RAY_TMPDIR"
    ) as caught:
        start_ray(RunOptions(cpus=1), with_dashboard=False)
    assert caught.value.exit_code == 3 and init == []


def test_more_processes_than_the_cluster_has_room_for_are_refused(sweep_of: SweepOf, store: Store, tune: Any) -> None:
    with pytest.raises(PreflightError, match="kind evaluator takes 3 processes, the cluster has room for 2"):
        run_plan(prepare(sweep_of(train_workers={"evaluator": 3}), store), store, RunOptions())
    assert tune.built == []


def test_tunes_traceback_of_a_node_that_was_killed_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("ray.tune.execution.tune_controller")
    monkeypatch.setattr(logger, "filters", [])

    def is_shown(words: str) -> bool:
        return bool(logger.filter(logging.LogRecord(logger.name, logging.ERROR, "", 0, words, (), None)))

    quiet(verbose=True)
    assert is_shown("Trial task failed for trial run_node_8cc7c348")
    quiet(verbose=False)
    assert not is_shown("Trial task failed for trial run_node_8cc7c348")
    assert is_shown("Failed to restore the run state.")
