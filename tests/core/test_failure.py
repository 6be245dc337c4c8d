"""Every error stands for one kind of failure, and says what it was."""

from __future__ import annotations

import pytest
import torch
from ray import cloudpickle
from ray import exceptions as of_ray

from midef.core import Failure, errors
from midef.core.errors import FAILURE_KINDS, FailureKind, MidefError, TrainingDiverged
from midef.core.failure import kind_of

KINDS: dict[FailureKind, list[BaseException]] = {
    "oom": [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), of_ray.OutOfMemoryError("the node ran out")],
    "died": [of_ray.WorkerCrashedError(), of_ray.ActorDiedError(), of_ray.NodeDiedError("gone")],
    "diverged": [TrainingDiverged("the loss became nan"), MidefError("gmi diverged", failure="diverged")],
    "refused": [errors.NotApplicable("no"), errors.TooFewSamples("0"), errors.SpecError("a batch of 3")],
    "data": [errors.DataError("no image"), errors.PreflightError("no weights"), errors.DamagedArtifact("bits")],
    "store": [errors.StoreError("full"), errors.StoreSchemaError("newer")],
    "ray": [of_ray.RaySystemError(RuntimeError("redis"))],
    "bug": [KeyError("a"), RuntimeError("size mismatch"), errors.ShapeError("4 x 4"), MidefError("anything")],
}


@pytest.mark.parametrize(
    ("kind", "error"),
    [pytest.param(kind, e, id=f"{kind} {type(e).__name__}") for kind, some in KINDS.items() for e in some],
)
def test_the_kind_of_an_error(kind: FailureKind, error: BaseException) -> None:
    assert kind_of(error) == kind


def test_every_kind_but_one_is_an_error_s() -> None:
    """Of what hangs only its driver knows."""
    assert set(FAILURE_KINDS) - set(KINDS) == {"hung"}


def test_an_error_keeps_its_kind_when_a_worker_sends_it() -> None:
    sent = cloudpickle.loads(cloudpickle.dumps(MidefError("worker 1 of the training: it ended", failure="died")))
    assert kind_of(sent) == "died" and str(sent) == "worker 1 of the training: it ended"


def test_memory_counts_before_what_it_became() -> None:
    error = errors.StoreError("cannot be written")
    error.__cause__ = MemoryError()
    assert kind_of(error) == "oom"


def test_what_was_expected_is_told_without_a_place_and_what_was_not_with_one() -> None:
    assert Failure.of(errors.DataError("no image in a.zip")) == Failure("data", "DataError: no image in a.zip")
    try:
        {}["missing"]
    except KeyError as error:
        failure = Failure.of(error)
    assert failure.kind == "bug" and failure.message.startswith("KeyError at test_failure.py:")
    assert failure.message.endswith(": 'missing'")


def test_an_error_whose_text_cannot_be_read_is_a_failure_all_the_same() -> None:
    class Speechless(RuntimeError):
        def __str__(self) -> str:
            raise ValueError

    assert Failure.of(Speechless()) == Failure("bug", "Speechless: its text cannot be read (ValueError)")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"a failure is one of oom, hung, died, .*, got 'memory'"):
        Failure("memory", "x")  # type: ignore[arg-type]
