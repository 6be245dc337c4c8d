"""Check of every node of a running Ray cluster: whether it has what a sweep needs (`midef doctor --cluster`)."""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import midef
from midef.core.errors import StoreError
from midef.core.packages import component_packages
from midef.models.pretrained import weights_folder
from midef.storage import Location
from midef.sweep.execution.ray_address import join_cluster
from midef.sweep.spec.datasets import data_folder

ANSWER_S = 180.0
"""How long a node may take: it unpacks this code and imports torch from a cold disk first."""
CLOCKS_APART_S = 60.0
GLOO, NCCL = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"


@dataclass(frozen=True)
class Finding:
    """One answer of the check.

    Args:
        ok: whether this is as it should be.
        text: what was seen, and what to do if it is not as it should be.
    """

    ok: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """Report of one node on itself.

    Args:
        name: how it is called in findings.
        ip: as Ray knows it.
        versions: of what must be the same everywhere, packages that add components included.
        gpus: seen by torch.
        gpus_of_ray: counted by Ray.
        token: whether its Ray asks for a token.
        named_interfaces: what the variables say, None if unset.
        interfaces: what it has.
        folders: variable -> its folder and the names in it, None where there is no such folder.
        clock_s: least and most seconds by which its clock can be ahead of the asking one.
        store_problem: why it cannot use the store, "" if it can.
        unseen: names of nodes whose files in the store it does not see.
    """

    name: str
    ip: str
    versions: Mapping[str, str]
    gpus: int = 0
    gpus_of_ray: float = 0.0
    token: bool = True
    named_interfaces: Mapping[str, str | None] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()
    folders: Mapping[str, tuple[str, tuple[str, ...] | None]] = field(default_factory=dict)
    clock_s: tuple[float, float] = (0.0, 0.0)
    store_problem: str = ""
    unseen: tuple[str, ...] = ()


def check_cluster(store: str, *, address: str = "", expected_nodes: int | None = None) -> list[Finding]:
    """Look at every alive node of the cluster, without taking a CPU from what runs there.

    Args:
        store: as of `--store`; made if it is not there; each node writes a small file, reads those of all others, and
            deletes its own.
        address: of the cluster; "" takes RAY_ADDRESS, or the one that runs on this machine.
        expected_nodes: how many there should be, the head included; None accepts any number.

    Raises:
        PreflightError: if no cluster answers, or it refuses this machine's token.
        StoreError: if the store's name cannot be read.
    """
    import ray

    location = Location.open(store)
    join_cluster(
        address,
        start="start it, and ask from one of its nodes: ray exec cluster.yaml 'midef doctor --cluster' "
        "(cluster/README.md),",
        runtime_env={"py_modules": [str(Path(midef.__file__).parent)]},
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        alive = [node for node in ray.nodes() if node["Alive"]]
        nodes = {node["NodeID"]: node for node in sorted(alive, key=lambda node: str(node["NodeManagerHostname"]))}
        reports, lost = _ask(nodes, location)
    finally:
        ray.shutdown()
    return judge(reports, lost, location.shown, expected_nodes)


def judge(
    reports: Sequence[NodeReport], lost: Mapping[str, str], store: str, expected_nodes: int | None = None
) -> list[Finding]:
    """Turn the reports of the nodes into findings.

    Args:
        reports: one for each node that answers.
        lost: nodes that gave none, with the reason.
        store: how the store is called in findings.
        expected_nodes: how many there should be; None accepts any number.
    """
    findings = [Finding(False, f"{name} does not answer: {reason}") for name, reason in lost.items()]
    count = len(reports)
    nodes = f"{count} {'node answers' if count == 1 else 'nodes answer'}: {_names(reports)}"
    if expected_nodes is not None and count != expected_nodes:
        nodes = f"{nodes}; {expected_nodes} are expected, `ray status` and the log of `ray up` say more"
        findings.append(Finding(False, nodes))
    else:
        findings.append(Finding(count > 0, nodes))
    if not reports:
        return findings
    for more in (
        _judge_versions(reports),
        _judge_token(reports),
        _judge_gpus(reports),
        _judge_network(reports),
        _judge_store(reports, store),
        _judge_folders(reports),
        _judge_clocks(reports),
    ):
        findings += more
    return findings


def _judge_versions(reports: Sequence[NodeReport]) -> list[Finding]:
    packages = list(dict.fromkeys(package for r in reports for package in r.versions))
    odd = []
    for package in packages:
        by_node = {r.name: r.versions.get(package, "missing") for r in reports}
        if len(set(by_node.values())) > 1:
            odd.append(Finding(False, f"{package} is {_by_value(by_node)}; install the same on every node"))
    same = ", ".join(f"{package} {version}" for package, version in reports[0].versions.items())
    return odd or [Finding(True, f"versions on every node: {same}")]


def _judge_token(reports: Sequence[NodeReport]) -> list[Finding]:
    if bare := [r for r in reports if not r.token]:
        risk = "whoever reaches Ray's ports there can run code; set RAY_AUTH_MODE=token and start Ray again"
        return [Finding(False, f"no token authentication on {_names(bare)}: {risk}")]
    return [Finding(True, "token authentication is on")]


def _judge_gpus(reports: Sequence[NodeReport]) -> list[Finding]:
    look = "look at nvidia-smi, at CUDA_VISIBLE_DEVICES and at --num-gpus of `ray start`"
    wrong = [
        Finding(False, f"{r.name}: torch sees {r.gpus} GPUs, Ray counts {r.gpus_of_ray:g}; {look}")
        for r in reports
        if r.gpus != r.gpus_of_ray
    ]
    total = sum(r.gpus for r in reports)
    return wrong or [Finding(True, f"GPUs: {total}, seen by torch and counted by Ray" if total else "GPUs: none")]


def _judge_network(reports: Sequence[NodeReport]) -> list[Finding]:
    """Workers of one training find each other through an interface: a host name often leads to 127.0.0.1."""
    if len(reports) < 2:
        return []
    route = "which no other node reaches; give it a default route, or `ray start --node-ip-address`"
    lonely = [r for r in reports if r.ip.startswith("127.") or r.ip == "::1"]
    findings = [Finding(False, f"{r.name} is known as {r.ip}, {route}") for r in lonely]
    for variable in (GLOO, *((NCCL,) if any(r.gpus_of_ray for r in reports) else ())):
        if unset := [r for r in reports if not r.named_interfaces.get(variable)]:
            risk = "trainings that span nodes may not connect; set it to the interface between the nodes"
            findings.append(Finding(False, f"{variable} is not set on {_names(unset)}: {risk}"))
        for r in reports:
            named = r.named_interfaces.get(variable)
            if named and not _is_there(named, r.interfaces, exact=variable == GLOO):
                findings.append(Finding(False, f"{variable}={named} on {r.name}, which has {', '.join(r.interfaces)}"))
    chosen = sorted({r.named_interfaces.get(GLOO) or "" for r in reports})
    return findings or [Finding(True, f"interface between the nodes: {', '.join(chosen)}")]


def _is_there(named: str, interfaces: Iterable[str], *, exact: bool) -> bool:
    """NCCL takes prefixes unless the value starts with `=`, and names to avoid after `^`; gloo takes names."""
    if not exact and named.startswith("^"):
        return True
    names = named.removeprefix("=").split(",") if not exact else named.split(",")
    exact = exact or named.startswith("=")
    return any(name == w or (not exact and name.startswith(w)) for name in interfaces for w in names if w)


def _judge_store(reports: Sequence[NodeReport], store: str) -> list[Finding]:
    findings = [Finding(False, f"{r.name} cannot use the store: {r.store_problem}") for r in reports if r.store_problem]
    for r in reports:
        if r.unseen:
            same = "is it the same folder on both? Mount one NFS folder everywhere, or use s3:// or gs://"
            text = f"{r.name} does not see in {store} what {', '.join(r.unseen)} wrote; {same}"
            findings.append(Finding(False, text))
    return findings or [Finding(True, f"store {store}: written and read from every node")]


def _judge_folders(reports: Sequence[NodeReport]) -> list[Finding]:
    findings = []
    for variable in reports[0].folders:
        listings = {r.folders[variable][1] for r in reports}
        paths = _by_value({r.name: r.folders[variable][0] for r in reports})
        if len(listings) > 1:
            shown = _by_value({r.name: _listing(r.folders[variable][1]) for r in reports})
            findings.append(Finding(False, f"{variable} ({paths}) holds {shown}; nodes must see the same"))
        else:
            findings.append(Finding(True, f"{variable} ({paths}): {_listing(listings.pop())}"))
    return findings


def _listing(names: tuple[str, ...] | None) -> str:
    return "no such folder" if names is None else ", ".join(names) or "nothing"


def _judge_clocks(reports: Sequence[NodeReport]) -> list[Finding]:
    """Each clock is known up to the time its answer took, so this finds only what is certain."""
    first = max(reports, key=lambda r: r.clock_s[0])
    last = min(reports, key=lambda r: r.clock_s[1])
    apart = first.clock_s[0] - last.clock_s[1]
    if apart > CLOCKS_APART_S:
        risk = "signs of life are judged by it; run an NTP client on every node"
        return [Finding(False, f"the clock of {first.name} is at least {apart:.0f} s ahead of {last.name}'s: {risk}")]
    return [Finding(True, f"clocks: no two are known to be more than {CLOCKS_APART_S:.0f} s apart")]


def _names(reports: Iterable[NodeReport]) -> str:
    return ", ".join(r.name for r in reports) or "none"


def _by_value(by_node: Mapping[str, str]) -> str:
    """The most frequent first; just the value where all agree.

    >>> _by_value({"head": "2.15", "w1": "2.14", "w2": "2.15"}), _by_value({"head": "2.15", "w1": "2.15"})
    ('2.15 on head, w2 and 2.14 on w1', '2.15')
    """
    names: dict[str, list[str]] = {}
    for node, value in by_node.items():
        names.setdefault(value, []).append(node)
    if len(names) == 1:
        return next(iter(names))
    return " and ".join(
        f"{value} on {', '.join(names[value])}" for value in sorted(names, key=lambda v: -len(names[v]))
    )


def _ask(nodes: Mapping[str, Mapping[str, Any]], store: Location) -> tuple[list[NodeReport], dict[str, str]]:
    """One report from every node that answers, the reason for every other. Three rounds: write, look, delete."""
    names = _short_names(nodes)
    nonce = uuid.uuid4().hex
    probes = {node: f"cluster-check-{nonce}-{node}" for node in nodes}
    sent = time.time()
    answers, lost = _on_each(list(nodes), report, lambda node: (store, probes[node]))
    alive = list(answers)
    try:
        written = {node: probes[node] for node in alive if not answers[node][0].store_problem}
        seen, silent = _on_each(list(written), unseen_files, lambda _: (store, list(written.values())))
    finally:
        _on_each(alive, delete_file, lambda node: (store, probes[node]))
    owner = {probe: names[node] for node, probe in probes.items()}
    reports = []
    for node in alive:
        about, received = answers[node]
        clock = about.clock_s[0]
        reports.append(
            replace(
                about,
                name=names[node],
                ip=nodes[node]["NodeManagerAddress"],
                gpus_of_ray=nodes[node]["Resources"].get("GPU", 0.0),
                clock_s=(clock - received, clock - sent),
                store_problem=about.store_problem or silent.get(node, ""),
                unseen=tuple(owner[probe] for probe in (seen[node][0] if node in seen else ())),
            )
        )
    return reports, {names[node]: reason for node, reason in lost.items()}


def _short_names(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Host names; where two nodes share one, with the start of the node's identifier."""
    hosts = {node: str(facts["NodeManagerHostname"]) for node, facts in nodes.items()}
    taken = list(hosts.values())
    return {node: host if taken.count(host) == 1 else f"{host} {node[:6]}" for node, host in hosts.items()}


def _on_each(
    nodes: Sequence[str], function: Callable[..., Any], arguments: Callable[[str], tuple[Any, ...]]
) -> tuple[dict[str, tuple[Any, float]], dict[str, str]]:
    """Call a function on every node at once: node -> its answer and when it came, and node -> why none came."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(function)
    pending = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            *arguments(node)
        ): node
        for node in nodes
    }
    answers: dict[str, tuple[Any, float]] = {}
    lost: dict[str, str] = {}
    deadline = time.monotonic() + ANSWER_S
    while pending:
        ready, _ = ray.wait(list(pending), timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            lost |= dict.fromkeys(pending.values(), f"nothing came within {ANSWER_S:.0f} s")
            break
        node = pending.pop(ready[0])
        try:
            answers[node] = (ray.get(ready[0]), time.time())
        except RayError as error:
            lost[node] = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return {node: answers[node] for node in nodes if node in answers}, lost


def report(store: Location, probe: str) -> NodeReport:
    """Report of this node, without what Ray knows of it; writes the probe into the store."""
    import torch
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    problem = ""
    try:
        store.create()
        store.put(probe, probe.encode())
        if store.get(probe) != probe.encode():
            problem = f"{store.shown} gives back something else than was written"
    except (StoreError, FileNotFoundError) as error:
        problem = str(error)
    folders = {}
    for variable, folder in (("MIDEF_DATA", data_folder()), ("MIDEF_WEIGHTS", weights_folder())):
        names = tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else None
        folders[variable] = (str(folder), names)
    return NodeReport(
        name=socket.gethostname(),
        ip="",
        versions={
            "python": platform.python_version(),
            "midef": midef.__version__,
            "torch": torch.__version__,
            "ray": version("ray"),
            **{package.name: package.version for package in component_packages()},
        },
        gpus=torch.cuda.device_count(),
        token=is_token_auth_enabled(),
        named_interfaces={name: os.environ.get(name) for name in (GLOO, NCCL)},
        interfaces=tuple(name for _, name in socket.if_nameindex()),
        folders=folders,
        store_problem=problem,
        clock_s=(time.time(), 0.0),
    )


def unseen_files(store: Location, probes: Sequence[str]) -> list[str]:
    """Files of these that this node cannot read."""
    unseen = []
    for probe in probes:
        try:
            if store.get(probe) != probe.encode():
                unseen.append(probe)
        except (StoreError, FileNotFoundError):
            unseen.append(probe)
    return unseen


def delete_file(store: Location, probe: str) -> None:
    """Remove this node's file; a store that cannot be written has none."""
    try:
        store.delete(probe)
    except StoreError:
        return
