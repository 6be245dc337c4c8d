"""Requests of a node to an object store, counted at an S3 server of this machine while a tiny cell is built.

    python benchmarks/scale_requests.py

Nothing of the store is replaced: a node goes through `run_node` as Tune calls it, its rows through `RowWriter`, and a
look at heartbeats through `HangWatch`. The server (moto) counts what arrives by method, as an object store bills it:
PUT, POST and LIST are dear, GET and HEAD are cheap, DELETE is free.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from statistics import mean
from typing import Any, NamedTuple
from unittest.mock import patch

from scale_costs import Requests

from midef.storage import Store
from midef.storage.cache import cache_folder
from midef.sweep.execution import trial
from midef.sweep.execution.cluster import Cluster
from midef.sweep.execution.hang_watch import HangWatch
from midef.sweep.execution.outcome import Outcome, RunOptions
from midef.sweep.execution.prepare import prepare
from midef.sweep.execution.result_rows import RowWriter
from midef.sweep.execution.run_record import RunRecord, new_run
from midef.sweep.execution.trial_config import trial_configs
from midef.sweep.planning.plan import Plan
from midef.sweep.planning.trainings import choose_trainings
from midef.sweep.spec.load import parse_spec
from midef.sweep.spec.resolve import resolve

FACES = {"name": "synthetic_faces", "identities": 4, "train_images": 4, "select_images": 1, "report_images": 1}
ATTACK = {"name": "gmi", "iterations": 1, "prior": {"name": "wgan_gp", "steps": 1, "width": 4}}
TINY: dict[str, Any] = {
    "name": "tiny",
    "profile": "smoke",
    "setups": [{"id": "a", "attack": ATTACK, "private": FACES, "protocol": {"identities": 2}}],
    "public": {**FACES, "population": "public", "identities": 8},
    "training": {"epochs": 1, "batch_size": 8},
    "evaluator_training": {"epochs": 1, "batch_size": 8},
    "metrics": ["attack_accuracy_at_1", "knn_distance"],
    "defenses": ["none"],
    "seeds": [0],
}


def billed(method: str, query: str, is_object: bool) -> str:
    """Field of `Requests` that a request counts in."""
    if method == "DELETE":
        return "free"
    is_list = method == "GET" and (not is_object or "list-type" in query)
    return "reads" if method in ("GET", "HEAD") and not is_list else "writes"


class CountingServer:
    """An S3 server that counts requests: `with CountingServer() as server:`, `server.uri`, `server.taken()`."""

    def __enter__(self) -> CountingServer:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        app = DomainDispatcherApplication(create_backend_app)
        self._counts: Counter[str] = Counter()

        def counted(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            is_object = len(environ["PATH_INFO"].strip("/").split("/")) > 1
            self._counts[billed(environ["REQUEST_METHOD"], environ.get("QUERY_STRING", ""), is_object)] += 1
            answer: Iterable[bytes] = app(environ, start)
            return answer

        class Silent(WSGIRequestHandler):
            """Says nothing of a request."""

            def log_request(self, *_: Any) -> None:
                pass

        self._server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=Silent)  # type: ignore[arg-type]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        options = f"endpoint_override=127.0.0.1:{self._server.server_port}&scheme=http&region=us-east-1"
        self.uri = f"s3://bucket/store?{options}&allow_bucket_creation=true"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def taken(self) -> Requests:
        """Requests since the last call."""
        counts, self._counts = self._counts, Counter()
        return Requests(**{name: float(counts[name]) for name in Requests._fields})


class Counted(NamedTuple):
    """What was counted.

    Args:
        node: requests of the process that builds a node, by kind; nothing is in its cache.
        row: of the driver for the rows of a cell.
        look: of the driver when it looks at the heartbeats of one running node, and of no node.
        opened: of a process that opens the store.
    """

    node: dict[str, Requests]
    row: Requests
    look: tuple[Requests, Requests]
    opened: Requests


def count() -> Counted:
    """Build every node of the tiny plan in this process and count."""
    secrets = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    with (
        patch.dict(os.environ, secrets),
        CountingServer() as server,
        tempfile.TemporaryDirectory() as folder,
        _temporary(folder),
    ):
        store = Store.open(server.uri)
        plan = prepare(resolve(parse_spec(TINY)), store)
        return _count(plan, store, server)


@contextmanager
def _temporary(folder: str) -> Iterator[None]:
    """Make `folder` the place of temporary files, and so of copies of artifacts."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def _count(plan: Plan, store: Store, server: CountingServer) -> Counted:
    record = RunRecord(store, new_run(plan.sweep.digest))
    profile, cluster = plan.sweep.profile, Cluster(cpus=1, gpus=0)
    recipes = [node.recipe for node in plan.nodes.values()]
    trainings = choose_trainings(profile, recipes, cluster.facilities, plan.estimates)
    placement = cluster.placement(profile, trainings)
    config_of = trial_configs(record.run, plan, store, RunOptions(), trainings, placement)
    nodes: dict[str, list[Requests]] = defaultdict(list)
    ends: list[tuple[Any, ...]] = []
    outcome = Outcome()
    writer = RowWriter("tiny", store, outcome)
    row = Requests()
    with patch.object(trial, "_report", lambda *end: ends.append(end)):
        for node in plan.nodes.values():
            shutil.rmtree(cache_folder(store.uri))  # the process of a machine that has nothing yet
            server.taken()
            trial.run_node(config_of(node))
            nodes[node.recipe.kind].append(server.taken())
            assert ends[-1][0] == "ok", ends[-1]
            if node.cells:
                writer.write_measured(node.cells)
                row = server.taken()
    assert not outcome.environment
    Store.open(store.uri, create=False)
    opened = server.taken()
    record.beat("a", {"pid": 1, "beats": 1})
    server.taken()
    watch = HangWatch(record, hang_s=1800)
    watch.hanging()
    one = server.taken()
    record.beat("b", {"pid": 1, "beats": 1})
    server.taken()
    watch.hanging()
    two = server.taken()
    each = Requests(*(b - a for a, b in zip(one, two, strict=True)))
    empty = Requests(*(a - b for a, b in zip(one, each, strict=True)))
    average = {kind: Requests(*(mean(one) for one in zip(*found, strict=True))) for kind, found in nodes.items()}
    return Counted(average, row, (each, empty), opened)


def table(counted: Counted) -> str:
    """The counts, as Markdown."""
    lines = ["| who | what | PUT, POST, LIST | GET, HEAD | DELETE |", "| --- | --- | ---: | ---: | ---: |"]
    rows = [("worker", f"a node: {kind}", one) for kind, one in counted.node.items()]
    rows += [("worker", "of it, opening the store once", counted.opened), ("driver", "rows of a cell", counted.row)]
    each, empty = counted.look
    rows += [("driver", "a look at heartbeats", empty), ("driver", "and for each running node", each)]
    lines += [f"| {who} | {what} | {one.writes:g} | {one.reads:g} | {one.free:g} |" for who, what, one in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(count()))
