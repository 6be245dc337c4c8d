"""No step of a loop waits for the device: what the source tells. What a GPU tells is in test_steps_on_gpu.py."""

from __future__ import annotations

import inspect
from pathlib import Path
from textwrap import dedent, indent

import pytest

from midef.attacks import PRIORS
from midef.defenses import DEFENSES, Defense
from midef.defenses.training_state import TrainingState
from midef.testing.steps import Steps

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("midef.training", "midef.defenses", "midef.attacks", "midef.nn", "midef.models", "midef.datasets")
"""Where steps are checked."""
IN_STEP = ("transform_batch", "criterion", "penalties")


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps(ROOT / "midef", "midef")


def test_no_step_waits_for_the_device(steps: Steps) -> None:
    assert steps.waits(*ROOMS) == []


def test_the_hooks_of_every_defense_are_looked_at(steps: Steps) -> None:
    looked_at = {(part.module.name, part.name) for part in steps.parts(*ROOMS)}
    hooks = [
        (cls.__module__, f"{cls.__qualname__}.{hook}")
        for cls in DEFENSES
        for hook in IN_STEP
        if hook in vars(cls) and issubclass(cls, Defense)
    ]
    assert len(hooks) > 10
    assert [hook for hook in hooks if hook not in looked_at] == []


def test_the_training_of_every_prior_is_looked_at(steps: Steps) -> None:
    """Each prior that is trained imports its loop from midef.training.generative; that has a step there."""
    stepped = {part.module.name for part in steps.parts("midef.training.generative")}
    for cls in PRIORS:
        source = inspect.getsource(inspect.getmodule(cls))  # type: ignore[arg-type]
        loops = {
            f"midef.training.generative.{line.split()[1].rpartition('.')[2]}"
            for line in map(str.strip, source.splitlines())
            if line.startswith("from midef.training.generative.") and "import fit_" in line.replace("Settings, ", "")
        }
        assert loops <= stepped, cls


def test_states_of_trainings_are_looked_at(steps: Steps) -> None:
    from midef.defenses.families.dp import DPTrainingState
    from midef.defenses.families.trapdoors import TrapTrainingState

    looked_at = {(part.module.name, part.name) for part in steps.parts("midef.defenses")}
    for cls in (TrainingState, DPTrainingState, TrapTrainingState):
        assert (cls.__module__, f"{cls.__name__}.before_step") in looked_at
    assert (TrapTrainingState.__module__, "TrapTrainingState.move_triggers") in looked_at, "before_step calls it"


WAITS = {
    "item": "return x.sum().item()",
    "tolist": "return (x + 1).tolist()",
    "cpu": "return x.cpu()",
    "numpy": "y = x.detach()\nreturn y.numpy()",
    "nonzero": "return torch.nonzero(x)",
    "float": "return float(x.mean())",
    "bool": "return bool((x > 0).any())",
    "int of an index": "return int(x[0])",
    "if": "if x.sum() > 0:\n    return x\nreturn -x",
    "if not": "y = x.isnan()\nif not y.any():\n    return x",
    "while": "while (x > 1).all():\n    x = x / 2",
    "if expression": "return x if x.isfinite().all() else 0",
    "assert": "assert (x > 0).all()",
    "mask": "return x[x > 0]",
    "mask by name": "low = x < 0\nreturn x[~low & (x > -1)]",
    "store by mask": "x[x.isnan()] = 0",
    "mask among indices": "return x[:, x[0] > 0]",
    "tensor": "return x + torch.tensor([1.0, 2.0])",
    "new_tensor": "return x + x.new_tensor([1.0])",
    "as_tensor": "return torch.as_tensor([1.0])",
    "to device": "return torch.zeros(3).to(x.device)",
    "to named device": "return x.to(device=device)",
    "to other": "return torch.zeros(3).to(x)",
    "to cpu": "return x.to('cpu')",
    "cuda": "return torch.zeros(3).cuda()",
    "inv": "return torch.linalg.inv(x)",
    "multinomial": "return torch.multinomial(x, 2)",
    "one_hot": "return F.one_hot(x)",
    "unique": "return x.unique()",
}
WORKS = {
    "where": "return torch.where(x > 0, x, 0)",
    "dtype": "return x.to(torch.float32) + x.to(dtype=torch.float16)",
    "dtype of another": "return torch.zeros(3).to(x.dtype)",
    "layout": "return x.to(memory_format=torch.channels_last)",
    "not waited for": "return x.to(device, non_blocking=True)",
    "shape": "if x.shape[0] > 2 and len(x) > 1 and x.dim() == 2:\n    return x",
    "float of a shape": "return float(x.shape[0]) + int(x.numel())",
    "none": "if x is None:\n    return 0",
    "integers as an index": "order = torch.randperm(3, device=device)\nreturn x[order]",
    "drawn there": "return torch.rand(3, generator=rng, device=device) < 0.5",
    "filled there": "return torch.full((3,), 0.5, device=device) + torch.eye(3, device=device)",
    "one_hot": "return F.one_hot(x, 5)",
    "inv_ex": "return torch.linalg.inv_ex(x).inverse",
    "on purpose": "return x.tolist()  # waits: the list is what is asked for",
}


def package(folder: Path, body: str) -> Steps:
    """One module with a base class whose hook is marked, and a subclass with this body."""
    (folder / "toy").mkdir()
    source = (
        "class Base:\n    @in_step\n    def hook(self, x: Tensor) -> Tensor:\n        return x\n\n"
        "class Other(Base):\n    def hook(self, x: Tensor) -> Tensor:\n"
    )
    (folder / "toy" / "part.py").write_text(source + indent(dedent(body), " " * 8) + "\n")
    return Steps(folder / "toy", "toy")


@pytest.mark.parametrize("case", WAITS)
def test_what_waits_is_found(tmp_path: Path, case: str) -> None:
    waits = package(tmp_path, WAITS[case]).waits()
    assert len(waits) >= 1 and all("Other.hook" in said for said in waits)


@pytest.mark.parametrize("case", WORKS)
def test_what_does_not_wait_is_let_through(tmp_path: Path, case: str) -> None:
    assert package(tmp_path, WORKS[case]).waits() == []


def test_what_is_called_is_followed(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "deep.py").write_text("def read(x: Tensor) -> float:\n    return x.item()\n")
    (tmp_path / "toy" / "loops.py").write_text(
        dedent("""
            from toy.deep import read

            def fit(run, data):
                def changed(x: Tensor) -> Tensor:
                    return x.cpu()

                def step(number):
                    return changed(read(data))

                def never(number):
                    return data.item()

                return run.steps(3, step)

            def by_epochs(run, data):
                def epoch(number):
                    for index in steps(data):
                        index.tolist()
                    return data.item()

                run.epochs(3, epoch)

            def marked(data):
                for one in data:  # in step
                    one.nonzero()
                for one in data:
                    one.nonzero()
            """)
    )
    found = [said.partition(": ")[2].rpartition(": ")[0] for said in Steps(tmp_path / "toy", "toy").waits()]
    assert found == ["read", "by_epochs.epoch", "marked", "fit.changed"]
