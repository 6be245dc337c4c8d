"""The files of cluster/: valid where they go, closed to strangers, and true to what the code reads."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config
from reliability.runs import wait_for

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHED = ("on_prem.yaml", "aws.yaml", "gcp.yaml")
KUBERNETES = ("kuberay.yaml", "kuberay_job.yaml")
FILES = (*LAUNCHED, *KUBERNETES, "slurm.sh")


def text_of(name: str) -> str:
    return (CLUSTER / name).read_text(encoding="utf-8")


def settings_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of(name))
    return found


def documents(name: str) -> dict[str, dict[str, Any]]:
    """kind -> document."""
    return {document["kind"]: document for document in yaml.safe_load_all(text_of(name))}


def commands(name: str) -> list[str]:
    """Everything a launcher file runs on nodes."""
    kinds = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    starts = ("head_start_ray_commands", "worker_start_ray_commands")
    return [command for key in (*kinds, *starts) for command in settings_of(name).get(key, [])]


def cluster_spec(name: str) -> dict[str, Any]:
    found: dict[str, Any] = (
        documents(name)["RayCluster"]["spec"]
        if name == "kuberay.yaml"
        else documents(name)["RayJob"]["spec"]["rayClusterSpec"]
    )
    return found


def pods(name: str) -> list[dict[str, Any]]:
    spec = cluster_spec(name)
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def containers(name: str) -> Iterator[dict[str, Any]]:
    for pod in pods(name):
        yield from pod["spec"]["containers"]
    if name == "kuberay_job.yaml":
        yield from documents(name)["RayJob"]["spec"]["submitterPodTemplate"]["spec"]["containers"]


def environment_of(container: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_every_file_is_looked_at() -> None:
    assert {path.name for path in CLUSTER.iterdir()} == {*FILES, "README.md"}


def test_the_command_of_the_readme_finds_the_on_prem_file() -> None:
    link = ROOT / "cluster.yaml"
    assert link.is_symlink()
    assert link.readlink() == Path("cluster/on_prem.yaml")


# ray up


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_takes_the_file(name: str) -> None:
    validate_config(prepare_config(settings_of(name)))


def test_the_schema_notices_a_wrong_key() -> None:
    with pytest.raises(jsonschema.ValidationError, match="setup_command"):
        validate_config(prepare_config({**settings_of("on_prem.yaml"), "setup_command": []}))


def test_every_worker_of_the_on_prem_file_is_started() -> None:
    settings = prepare_config(settings_of("on_prem.yaml"))
    assert settings["max_workers"] == len(settings["provider"]["worker_ips"])
    assert [t["min_workers"] for t in settings["available_node_types"].values()] == [settings["max_workers"]]


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_command_is_a_shell_command(name: str) -> None:
    for command in commands(name):
        done = subprocess.run(["bash", "-n", "-c", f"({command})"], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_starts_with_a_token_and_with_a_private_dashboard(name: str) -> None:
    settings = settings_of(name)
    (head,) = [c for c in settings["head_start_ray_commands"] if "ray start" in c]
    (worker,) = [c for c in settings["worker_start_ray_commands"] if "ray start" in c]
    for command in (head, worker):
        assert "RAY_AUTH_MODE=token ray start" in command
        assert command.startswith("ulimit -n 65536; unset OMP_NUM_THREADS RAY_ADDRESS;")
        assert "client-server-port" not in command
    assert "--head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml" in head
    assert "--address=$RAY_HEAD_IP:6379" in worker


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_is_only_stopped_before_it_is_started(name: str) -> None:
    settings = settings_of(name)
    assert settings["head_start_ray_commands"][0] == settings["worker_start_ray_commands"][0] == "ray stop"
    assert sum("ray stop" in command for command in commands(name)) == 2
    assert not any("shutdown" in command or "teardown" in command for command in commands(name))


@pytest.mark.parametrize("name", LAUNCHED)
def test_code_and_token_reach_the_nodes(name: str) -> None:
    mounts = settings_of(name)["file_mounts"]
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert {str(Path(there).relative_to("~/midef_src")) for there in mounts} == set(mounts.values())
    assert all((ROOT / here).exists() for here in mounts.values())
    assert {"midef", "sweep", "dashboards", "pyproject.toml"} <= set(mounts.values())
    named = re.search(r'readme = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert named is not None
    assert named[1] in mounts.values(), "pip reads it while it installs"


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_node_environment(name: str, tmp_path: Path) -> None:
    """What the setup commands write, as a shell of a node reads it: in a home of its own, without the installs."""
    (tmp_path / ".ray").mkdir(mode=0o755)
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("0" * 64)
    token.chmod(0o644)
    (tmp_path / ".bashrc").write_text("# mine\n")
    node = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    wanted = [c for c in commands(name)[:3] if "venv/bin/" not in c]
    assert len(wanted) == 3
    for _ in range(2):  # every `ray up` runs them again
        for command in wanted:
            subprocess.run(["bash", "-c", f"({command})"], env=node, check=True)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".ray").stat().st_mode) == 0o700
    assert (tmp_path / ".bashrc").read_text() == "# mine\n. ~/.midef_env\n"
    shown = subprocess.run(
        ["bash", "-c", ". ~/.bashrc; env"], env={**node, "PYTHONPATH": ""}, capture_output=True, text=True, check=True
    )
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_ADDRESS"] == "auto"
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"
    assert found["PYTHONPATH"] == f"{tmp_path}/midef_src"
    assert found["PATH"].startswith(f"{tmp_path}/midef_venv/bin:")
    assert found["GLOO_SOCKET_IFNAME"] == found["NCCL_SOCKET_IFNAME"]
    scheme = {"on_prem.yaml": "/", "aws.yaml": "s3://", "gcp.yaml": "gs://"}[name]
    assert found["MIDEF_RESULTS"].startswith(scheme)
    assert {"MIDEF_DATA", "MIDEF_WEIGHTS"} <= set(found)


def test_ec2_takes_the_nodes_and_none_is_public() -> None:
    data = Loader().load_service_model("ec2", "service-2")
    shape = ServiceModel(data, "ec2").operation_model("RunInstances").input_shape
    settings = settings_of("aws.yaml")
    for node in settings["available_node_types"].values():
        instance = {k: v for k, v in node["node_config"].items() if k != "SubnetIds"}  # Ray's word for SubnetId
        found = ParamValidator().validate({**instance, "MinCount": 1, "MaxCount": 1}, shape)
        assert not found.has_errors(), found.generate_report()
        assert node["node_config"]["SecurityGroupIds"], "else Ray makes one that lets everybody try ssh"
        assert node["node_config"]["SubnetIds"]
        assert "NetworkInterfaces" not in instance
    assert settings["provider"]["use_internal_ips"] is True


def test_gcp_nodes_are_not_public() -> None:
    settings = settings_of("gcp.yaml")
    assert settings["provider"]["use_internal_ips"] is True
    for node in settings["available_node_types"].values():
        assert node["node_config"]["tags"] == {"items": ["midef-ray"]}
        assert not any("accessConfigs" in interface for interface in node["node_config"]["networkInterfaces"])


# Kubernetes


@pytest.mark.parametrize("name", KUBERNETES)
def test_kuberay_has_what_the_operator_needs(name: str) -> None:
    kinds = {"kuberay.yaml": {"NetworkPolicy", "RayCluster"}, "kuberay_job.yaml": {"RayJob"}}[name]
    assert set(documents(name)) == kinds
    for kind, document in documents(name).items():
        if kind.startswith("Ray"):
            assert document["apiVersion"] == "ray.io/v1"
        assert document["metadata"].keys() & {"name", "generateName"}
    spec = cluster_spec(name)
    assert spec["rayVersion"] == "2.60.0"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["groupName"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "the operator takes text only"
    for pod in pods(name):
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("name", KUBERNETES)
def test_every_container_has_the_token_from_the_secret(name: str) -> None:
    secret = {"name": "midef-ray-token", "key": "auth_token"}
    assert cluster_spec(name)["authOptions"] == {"mode": "token", "secretName": secret["name"]}
    for container in containers(name):
        found = environment_of(container)
        assert found["RAY_AUTH_MODE"] == "token"
        assert found["RAY_AUTH_TOKEN"] == {"secretKeyRef": secret}
        assert found["RAY_USAGE_STATS_ENABLED"] == "0"
        assert {"MIDEF_RESULTS", "MIDEF_DATA", "MIDEF_WEIGHTS", "GLOO_SOCKET_IFNAME"} <= set(found)
    assert f"create secret generic {secret['name']} --from-file={secret['key']}=/dev/stdin" in text_of("README.md")


def test_both_kubernetes_files_describe_the_same_pods() -> None:
    assert pods("kuberay.yaml") == pods("kuberay_job.yaml")


def test_the_policy_covers_every_pod_and_the_dashboard_stays_in_it() -> None:
    policy = documents("kuberay.yaml")["NetworkPolicy"]["spec"]
    label = policy["podSelector"]["matchLabels"]
    assert policy["policyTypes"] == ["Ingress"]
    submitter = documents("kuberay_job.yaml")["RayJob"]["spec"]["submitterPodTemplate"]
    for pod in (*pods("kuberay.yaml"), *pods("kuberay_job.yaml"), submitter):
        assert label.items() <= pod["metadata"]["labels"].items()
    inside, operator = policy["ingress"]
    assert inside == {"from": [{"podSelector": {"matchLabels": label}}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    head = cluster_spec("kuberay.yaml")["headGroupSpec"]
    assert head["rayStartParams"]["dashboard-host"] == "127.0.0.1"


# Slurm


def test_the_slurm_script_is_a_shell_script() -> None:
    done = subprocess.run(["bash", "-n", str(CLUSTER / "slurm.sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


STAND_INS = {
    "scontrol": "printf 'n1\\nn2\\nn3\\n'",
    "ip": "echo '2: ib0 inet 10.9.0.1/16 scope global ib0'",
    "ray": """
        [ "$1" = health-check ] && exit 0
        file=$RAY_AUTH_TOKEN_PATH
        trap 'echo stopped >> log; exit 0' TERM
        echo "ray $* mode=$RAY_AUTH_MODE token=$(stat -c %a "$file"):$(wc -c < "$file")" >> log
        while :; do sleep 0.1; done""",
    "srun": """
        where=""
        while [ "${1#--}" != "$1" ]; do where="$where $1"; shift; done
        echo "srun$where -- $1" >> log
        exec "$@" """,
    "python": """
        [ "$2" = midef ] || trap 'echo interrupted >> log; sleep 0.3; exit 130' INT
        echo "python $* address=$RAY_ADDRESS results=$MIDEF_RESULTS" >> log  # who reads it may interrupt
        if [ "$2" = midef ]; then                  # a busy machine starts the workers late
            for _ in $(seq 1200); do [ "$(grep -c '^ray start' log)" = 2 ] && exit 0; sleep 0.1; done
            exit 1
        fi
        for _ in $(seq "${SWEEP_TENTHS:-3}"); do sleep 0.1; done
        exit "${SWEEP_CODE:-0}" """,
}


@pytest.fixture
def slurm_node(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on three nodes; Slurm's and Ray's commands only write down how they were called."""
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    for name, body in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{textwrap.dedent(body)}\n")
        (programs / name).chmod(0o755)
    return {
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "venv": str(tmp_path / "venv"),
        "SLURM_JOB_ID": "41",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_CPUS_ON_NODE": "16",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_SUBMIT_DIR": str(tmp_path),
    }


def test_a_slurm_job_starts_ray_runs_the_sweep_and_stops(slurm_node: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(CLUSTER / "slurm.sh"), "mine.yaml", "--profile", "mini"],
        env={**slurm_node, "SWEEP_CODE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    log = (tmp_path / "log").read_text().splitlines()
    assert done.returncode == 1, f"the sweep's own code\n{done.stderr}"
    starts = [line for line in log if line.startswith("ray start")]
    head, worker = sorted(starts, key=lambda line: "--head" not in line)
    common = "ray start --block --num-cpus=16 --num-gpus=4"
    secured = "mode=token token=600:64"
    assert head == f"{common} --head --node-ip-address=10.9.0.1 --port=20041 --dashboard-host=127.0.0.1 {secured}"
    assert worker == f"{common} --address=10.9.0.1:20041 {secured}"
    assert "srun --overlap --nodes=2 --ntasks-per-node=1 --exclude=n1 -- ray" in log
    results = f"results={tmp_path}/midef/results"
    assert f"python -m midef doctor --cluster address=10.9.0.1:20041 {results}" in log
    assert f"python sweep/full_matrix.py mine.yaml --profile mini address=10.9.0.1:20041 {results}" in log
    assert log[-2:] == ["stopped", "stopped"]
    assert list((tmp_path / ".ray").iterdir()) == [], "the token of the job outlived it"


def test_the_time_limit_of_slurm_interrupts_the_sweep_once(slurm_node: dict[str, str], tmp_path: Path) -> None:
    job = subprocess.Popen(
        ["bash", str(CLUSTER / "slurm.sh")], env={**slurm_node, "SWEEP_TENTHS": "1200"}, stderr=subprocess.PIPE
    )
    log = tmp_path / "log"
    at_work = wait_for(lambda: log.exists() and "full_matrix" in log.read_text(), at_most_s=120)
    job.send_signal(2)
    _, errors = job.communicate(timeout=120)
    assert at_work, f"the sweep did not begin within 120 s\n{errors!r}"
    assert job.returncode == 130, errors
    assert log.read_text().splitlines()[-3:] == ["interrupted", "stopped", "stopped"]


# all of them


@pytest.mark.parametrize("name", FILES)
def test_nothing_listens_everywhere_and_no_secret_lies_in_it(name: str) -> None:
    text = text_of(name)
    assert "0.0.0.0" not in text.replace("10.0.0.", "")
    assert not re.search(r"auth_token=[0-9a-f]{16}|BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}", text)


@pytest.mark.parametrize("name", [*FILES, "README.md"])
def test_named_variables_are_those_the_code_reads(name: str) -> None:
    sources = [p.read_text(encoding="utf-8") for folder in ("midef", "sweep") for p in (ROOT / folder).rglob("*.py")]
    read = {found for source in sources for found in re.findall(r'"(MIDEF_[A-Z]+)"', source)}
    assert {"MIDEF_RESULTS", "MIDEF_DATA", "MIDEF_WEIGHTS", "MIDEF_SWEEP", "MIDEF_PROFILE"} <= read
    assert set(re.findall(r"\bMIDEF_[A-Z]+\b", text_of(name))) <= read


@pytest.mark.parametrize("name", FILES)
def test_the_readme_names_the_file(name: str) -> None:
    assert f"`{name}`" in text_of("README.md")


def test_the_readme_has_the_commands_in_order() -> None:
    text = text_of("README.md")
    steps = [
        "ray get-auth-token --generate",
        "chmod 600 ~/.ray/auth_token",
        "RAY_UP_enable_autoscaler_v2=0 ray up cluster.yaml",
        "midef doctor --cluster",
        "ray submit cluster.yaml sweep/full_matrix.py",
        "--screen",
        "ray job submit",
        "midef status",
        "ray dashboard cluster.yaml",
        "pkill -INT",
        "ray down cluster.yaml",
    ]
    place = 0
    for step in steps:
        place = text.find(step, place)
        assert place != -1, f"{step!r} does not follow the step before it"
