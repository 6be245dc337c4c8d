"""Settings for every test, made before torch is loaded: on few cores its threads mostly wait for each other."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A busy machine draws examples slowly; that says nothing of the code.
settings.register_profile("midef", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("midef")

os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's `&` does that, and all that tests start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts Ray, a lab or a browser as slow. Order: the lab first, other Ray tests last, files in order."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("ray", "lab", "browser")):
            item.add_marker("slow")

    def place(item: pytest.Item) -> int:
        if item.get_closest_marker("lab"):
            return 0
        return 2 if item.get_closest_marker("ray") else 1

    files: dict[str, int] = {}
    for item in items:
        files[item.nodeid.partition("::")[0]] = max(files.get(item.nodeid.partition("::")[0], 0), place(item))
    items.sort(key=lambda item: files[item.nodeid.partition("::")[0]])


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """host:port of an S3 server that lives as long as the test session; credentials stand in the environment."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server.start()
        host, port = server.get_host_and_port()
        yield f"{host}:{port}"
        server.stop()
