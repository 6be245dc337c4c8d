"""`midef run` as a user types it: killed, started again, with cells that fail, and with nothing left to do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from midef.core import ArtifactKey
from midef.datasets.files import survey
from midef.datasets.files.folders import ImageFile
from midef.datasets.image_folder import ImageFolder
from midef.metrics import standard_metrics
from midef.storage import Store

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

PROGRAM = [sys.executable, "-m", "midef"]


@dataclass(frozen=True)
class Ended:
    """code, out, err of a command."""

    code: int
    out: str
    err: str


def midef(*arguments: str, cwd: Path, env: dict[str, str]) -> Ended:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, cwd=cwd, timeout=600, env=env)
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Story:
    """One store through a kill, the same command again, and a third time.

    Args:
        listening: addresses at which processes of the run listened before the kill.
    """

    folder: Path
    finished_before: dict[ArtifactKey, float]
    listening: dict[str, list[str]]
    resumed: Ended
    again: Ended

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store", create=False)


def meta(store: Store, key: ArtifactKey) -> Path:
    assert store.location.local is not None
    return store.location.local / "artifacts" / key.kind / key.digest / "META.json"


def listening(session: int) -> dict[str, list[str]]:
    """Addresses at which processes of a session accept connections, as the kernel writes them, by process."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    address_of = {f"socket:[{row[9]}]": row[1].rpartition(":")[0] for row in rows if row[3] == "0A"}
    found: dict[str, list[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (process / "stat").read_text().rpartition(")")
            if int(rest.split()[3]) == session:
                sockets = [address_of.get(str(link.readlink())) for link in (process / "fd").iterdir()]
                found[name] = [address for address in sockets if address is not None]
    return found


def finish_group(group: int) -> None:
    """Give Ray a moment to clean up after its driver, then end what is left: nothing may write into the store later."""
    deadline = time.monotonic() + 3
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.2)
        os.killpg(group, signal.SIGKILL)


def kill_once_a_target_is_stored(
    folder: Path, env: dict[str, str]
) -> tuple[dict[ArtifactKey, float], dict[str, list[str]]]:
    """Start the sweep, kill -9 its driver as soon as a target is stored; what was finished, when, and who listened."""
    log = (folder / "killed.log").open("w")
    driver = subprocess.Popen(
        [*PROGRAM, "run", "micro.yaml", "--store", "store", "--cpus", "1"],
        cwd=folder,
        stdout=log,
        stderr=log,
        env=env,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not list(folder.glob("store/artifacts/target/*/META.json")):
            assert driver.poll() is None, f"the sweep ended by itself:\n{(folder / 'killed.log').read_text()}"
            assert time.monotonic() < deadline, "no target after 300 s"
            time.sleep(0.05)
        listened = listening(driver.pid)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        log.close()
    finish_group(driver.pid)
    store = Store.open(folder / "store", create=False)
    finished = {key: meta(store, key).stat().st_mtime_ns for key in store.artifacts.keys()}  # noqa: SIM118  # a method
    return finished, listened


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, micro: dict[str, Any], environment: dict[str, str]
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("run")
    (folder / "micro.yaml").write_text(yaml.safe_dump(micro))
    finished, listened = kill_once_a_target_is_stored(folder, environment)
    resumed = midef("run", "micro.yaml", "--store", "store", "--cpus", "2", cwd=folder, env=environment)
    again = midef("run", "micro.yaml", "--store", "store", cwd=folder, env=environment)
    yield Story(folder, finished, listened, resumed, again)


def test_the_sweep_was_killed_in_the_middle(story: Story) -> None:
    kinds = Counter(key.kind for key in story.finished_before)
    assert kinds["target"] >= 1 and kinds["scores"] < 2


def test_ray_listens_on_loopback_alone(story: Story) -> None:
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert any("gcs_server" in name for name in story.listening) and any("raylet" in name for name in story.listening)
    reachable = {name: addresses for name, addresses in story.listening.items() if not set(addresses) <= loopback}
    assert reachable == {} and sum(map(len, story.listening.values())) >= 5


def test_the_same_command_finishes_what_was_left(story: Story) -> None:
    assert story.resumed.code == 0, story.resumed.err
    assert story.resumed.out.startswith("resuming sweep micro: ")
    built = re.search(r"^built (\d+) artifacts?, wrote \d cells?$", story.resumed.out, re.M)
    assert built and int(built[1]) == len(story.store.artifacts.keys()) - len(story.finished_before)


def test_nothing_finished_is_built_again(story: Story) -> None:
    assert story.finished_before
    for key, written in story.finished_before.items():
        assert meta(story.store, key).stat().st_mtime_ns == written, f"{key.short} was built again"


def test_every_cell_has_its_rows(story: Story) -> None:
    rows = story.store.results.read()
    pairs = sum("compares pairs" in r.reason for r in rows if r.defense == "none")
    each = {"ok": len(standard_metrics()) - pairs, "refused": pairs}
    states = {(defense, status): number for defense in ("none", "midre") for status, number in each.items()}
    assert Counter((r.defense, r.status) for r in rows) == states and pairs == 4
    assert set(story.store.results.cells().values()) == {"ok"}
    accuracy = next(r for r in rows if r.metric == "attack_accuracy_at_1" and r.defense == "midre")
    assert (accuracy.n, accuracy.groups, accuracy.queries) == (8, 4, 24)
    assert story.store.artifacts.has(ArtifactKey.parse(accuracy.target_key))


def test_the_table_is_printed(story: Story) -> None:
    assert re.search(r"^. +none +\d", story.resumed.out, re.M) and re.search(r"^. +midre +\d", story.resumed.out, re.M)
    assert "test acc %" in story.resumed.out and "att@1 %" in story.resumed.out


def test_the_progress_lines_can_be_read(story: Story) -> None:
    lines = [line for line in story.resumed.err.splitlines() if line.startswith("done ")]
    assert lines and "  100 %" in lines[-1] and "running 0  waiting 0  failed 0" in lines[-1]
    assert "\x1b" not in story.resumed.err and "\r" not in story.resumed.err
    noise = [line for line in story.resumed.err.splitlines() if line.strip() and not line.startswith("done ")]
    first = "planning sweep micro, profile smoke"
    assert noise == [first, "targets and evaluators train in the node's own process"], "Ray speaks"


def test_nothing_is_left_behind(story: Story) -> None:
    folder = story.folder / "store"
    records = [p.name for p in (folder / "ray").iterdir() if p.name.startswith("sweep-")]
    assert len(records) <= 1, "only the killed run could not remove Ray's record of it"
    assert not list((folder / "checkpoints").rglob("state.pt"))


def test_a_third_time_there_is_nothing_to_do(story: Story) -> None:
    assert story.again.code == 0, story.again.err
    assert story.again.out.startswith("nothing to do: all 2 cells of sweep micro are done\n")
    assert "midre" in story.again.out, "the table is printed again"
    assert story.again.err == "planning sweep micro, profile smoke\n"


def test_nothing_to_do_starts_no_ray(story: Story, environment: dict[str, str]) -> None:
    program = (
        "import sys\nfrom midef.sweep.cli import main\ncode = main(sys.argv[1:])\n"
        "print(code, 'ray' in sys.modules, 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "run", "micro.yaml", "--store", "store"],
        capture_output=True, text=True, cwd=story.folder, env=environment, timeout=60,
    )  # fmt: skip
    assert found.stdout.splitlines()[-1] == "0 False False", found.stderr


def test_a_moved_store_is_the_same_store(story: Story, environment: dict[str, str], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(story.folder / "store", tmp_path / "elsewhere")
    found = midef("run", str(story.folder / "micro.yaml"), "--store", "elsewhere", cwd=tmp_path, env=environment)
    assert found.code == 0 and found.out.startswith("nothing to do")


# --- cells that fail --------------------------------------------------------------------------------------------------

DIVERGES = "nls(alpha=-3e38,ramp_from=0,ramp_to=0)"


@dataclass(frozen=True)
class Failing:
    """A sweep with a defense that diverges and a data set with an image that was damaged after it was looked at."""

    folder: Path
    first: Ended
    again: Ended
    retried: Ended
    rows_written: tuple[dict[str, int], dict[str, int]]

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store", create=False)


def row_files(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (folder / "store" / "results").glob("*.parquet")}


def looked_at_before(root: Path, files: Sequence[ImageFile]) -> tuple[dict[str, survey.Seen], list[str]]:
    """Every image decodes and is another one."""
    return {file.name: survey.Seen(f"image {i}", f"{i:032x}", (32, 32)) for i, file in enumerate(files)}, []


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory, micro: dict[str, Any], joining: dict[str, str]) -> Failing:
    folder = tmp_path_factory.mktemp("failing")
    people, joining = folder / "people.zip", {**joining, "HOME": str(folder)}
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(people, "w") as archive:
        for who, i in product(("ada", "bob", "cyd"), range(6)):
            stream = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(stream, "PNG")
            archive.writestr(f"{who}/{i}.png", stream.getvalue())
        at = archive.getinfo("bob/2.png").header_offset
    damaged = bytearray(people.read_bytes())
    damaged[at + 200] ^= 1  # the archive's own list of sizes and checksums stays
    people.write_bytes(damaged)
    with pytest.MonkeyPatch.context() as patch:  # what the plan remembers of it: a disk that went bad later
        patch.setenv("HOME", str(folder))
        patch.setattr(survey, "WORTH_KEEPING_PX", 0)
        patch.setattr(survey, "SETTLED_S", -1.0)
        patch.setattr(survey, "_look_at_files", looked_at_before)
        assert ImageFolder(path=str(people)).examine().problems == ()
    faces = micro["setups"][0]
    own = {
        **faces,
        "id": "own",
        "private": {"name": "image_folder", "path": str(people)},
        "protocol": {"identities": 3},
    }
    data = {**micro, "setups": [faces, own], "defenses": ["none", DIVERGES]}
    (folder / "failing.yaml").write_text(yaml.safe_dump(data))
    command = ("run", "failing.yaml", "--store", "store")
    first = midef(*command, cwd=folder, env=joining)
    before = row_files(folder)
    again = midef(*command, cwd=folder, env=joining)
    retried = midef(*command, "--retry-failed", cwd=folder, env=joining)
    return Failing(folder, first, again, retried, (before, row_files(folder)))


def test_failures_end_with_exit_code_1(failing: Failing) -> None:
    assert failing.first.code == 1, failing.first.err
    assert "\nfailed:\n" in failing.first.out and "nodes were blocked by these" in failing.first.out


def test_what_could_be_measured_is(failing: Failing) -> None:
    states = {(r.setup, r.defense): r.status for r in failing.store.results.read()}
    label = next(defense for _, defense in states if defense.startswith("nls"))
    assert states == {
        ("faces", "none"): "ok",
        ("faces", label): "failed",
        ("own", "none"): "failed",
        ("own", label): "failed",
    }


def test_a_training_that_diverged_says_so_in_every_row(failing: Failing) -> None:
    rows = [r for r in failing.store.results.read() if r.setup == "faces" and r.status == "failed"]
    assert len(rows) == len(standard_metrics())
    for row in rows:
        assert re.fullmatch(
            r"target/\w{10} failed: TrainingDiverged: the loss became (nan|-?inf) in epoch 1 of 1; .*", row.reason
        )
        assert row.value is None


def test_an_unreadable_image_is_named(failing: Failing) -> None:
    (reason,) = {r.reason for r in failing.store.results.read() if r.setup == "own"}
    assert reason.startswith("split/")
    assert (
        "1 of 18 images cannot be read: bob/2.png: Bad CRC-32" in reason and "replace them or take them out" in reason
    )
    assert "bob/2.png" in failing.first.out, "the person who started it reads it too"


def test_failed_cells_are_left_alone_unless_asked(failing: Failing) -> None:
    assert failing.again.code == 1
    assert failing.again.out.startswith(
        "nothing to do: 1 cell of sweep micro is done, 3 failed before (--retry-failed tries them again)\n"
    )


def test_failed_cells_are_tried_again_when_asked(failing: Failing) -> None:
    assert failing.retried.code == 1
    assert failing.retried.out.startswith("resuming sweep micro: 1 cell done, 3 to do\n")
    before, after = failing.rows_written
    done = {name for name, state in failing.store.results.cells().items() if state == "ok"}
    rewritten = {Path(name).stem for name in before if before[name] != after[name]}
    assert len(rewritten) == 3 and not rewritten & done


def test_the_status_names_the_reasons(failing: Failing, environment: dict[str, str]) -> None:
    found = midef("status", "--store", "store", "--json", cwd=failing.folder, env=environment)
    status = json.loads(found.out)
    assert status["sweeps"][0]["cells"] == {"ok": 1, "failed": 3}
    causes = status["sweeps"][0]["causes"]
    assert [cause["cells"] for cause in causes] == [2, 1] and "TrainingDiverged" in causes[1]["example"]
    text = midef("status", "--store", "store", cwd=failing.folder, env=environment).out
    assert "next: midef retry micro@" in text and " --store " in text
