"""A sweep small enough to run end to end on real Ray in seconds, and a Ray that commands join."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from reliability.runs import MICRO, own_environment

SERVER = """
import sys
import ray

cpus, dashboard = int(sys.argv[1]), sys.argv[2] == "True"
for tries_left in (3, 2, 1, 0):  # Ray waits 30 s for its own start, which a busy machine may not manage
    try:
        ray.init(num_cpus=cpus, include_dashboard=dashboard, object_store_memory=150 * 2**20, log_to_driver=False)
        break
    except Exception as error:
        if "timed out during startup" not in str(error) or not tries_left:
            raise
        ray.shutdown()
print("address", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def micro() -> dict[str, Any]:
    """The specification as plain data; copy it, never change it."""
    return MICRO


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """The environment of a command that starts a Ray of its own, whatever other Ray runs on this machine."""
    folder = tempfile.mkdtemp(prefix="midef-ray.", dir="/tmp")  # short: sockets lie below it
    yield own_environment(folder)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_ray(environment: dict[str, str], *, cpus: int, dashboard: bool) -> Iterator[dict[str, str]]:
    """The environment of runs that join a Ray with so many CPUs; it ends with the block."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(cpus), str(dashboard)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    try:
        for line in server.stdout:
            if line.startswith("address "):
                yield {**environment, "RAY_ADDRESS": line.split()[1]}
                break
        else:
            raise RuntimeError("Ray did not start")
    finally:
        server.stdin.close()
        server.wait(60)


@pytest.fixture(scope="session")
def joining(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of runs that join one Ray of one CPU: those that do not examine how Ray starts and ends.

    It has no dashboard, so nothing trains through Ray Train there.
    """
    with running_ray(environment, cpus=1, dashboard=False) as joining:
        yield joining


@pytest.fixture(scope="session")
def cluster(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of runs that join a Ray of three CPUs with a dashboard, as a cluster has it."""
    with running_ray(environment, cpus=3, dashboard=True) as joining:
        yield joining


@pytest.fixture(scope="session")
def ray_here() -> Callable[[dict[str, str]], AbstractContextManager[pytest.MonkeyPatch]]:
    """Lets this process use Ray under an environment: Ray reads token and mode once, when it is loaded."""
    from ray._raylet import AuthenticationTokenLoader, Config

    def read_again() -> None:
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    @contextmanager
    def under(environment: dict[str, str]) -> Iterator[pytest.MonkeyPatch]:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("RAY_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            read_again()
            yield patch
        read_again()

    return under
