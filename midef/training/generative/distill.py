"""Distillation: training of students on the answers of a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from midef.core.lazy import F, torch
from midef.core.position import steps
from midef.training.generative.loop import PROBED, Losses, TrainingRun, shuffled

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """The fields of `Students` that the training of one student reads."""

    temperature: float
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float


def distillation_loss(taught: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """KL(softmax(teacher / t) || softmax(taught / t)), the mean over rows, divided by t squared.

    Args:
        taught, teacher: logits [B, K] of the student and of the teacher.

    Returns:
        One number >= 0, 0 where both softmaxes are equal.

    Source: LOMMA's released code. It divides by t squared; the usual distillation multiplies by it. Equal at t = 1.
    """
    log_taught = F.log_softmax(taught / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_taught, log_teacher, reduction="batchmean", log_target=True) / temperature**2


def fit_student(
    student: nn.Module, images: Tensor, teacher: Tensor, settings: StudentSettings, run: TrainingRun
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8 and the teacher's logits of them [N, K], by SGD at a constant rate.

    Every epoch is one shuffled pass; an incomplete last batch is dropped, unless it is the only one.

    Returns:
        loss: the mean of the last epoch; agreement: its share of images where both name the same class, while the
        student was still learning (batch statistics).
    """
    run.prepare_(student)
    data, answers = images.to(run.device), teacher.to(run.device)
    sgd = run.optimizer(
        torch.optim.SGD,
        student,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    size = min(settings.batch_size, len(data))
    batches = len(data) // size

    def loss_of(index: Tensor) -> tuple[Tensor, ...]:
        taught = student(data[index].float() / 255).float()
        loss = distillation_loss(taught, answers[index], temperature=settings.temperature)
        return loss, (taught.argmax(dim=1) == answers[index].argmax(dim=1)).float().mean()

    teach = run.update(sgd, loss_of)

    def epoch(number: int) -> Losses:
        loss_sum, agreed = torch.zeros(2, device=run.device)
        order = shuffled(len(data), run.stream("distill", number))
        for index in steps(order[: batches * size].split(size)):
            loss, agreement = teach(index)
            loss_sum += loss
            agreed += agreement
        return {"loss": loss_sum / batches, "agreement": agreed / batches}

    with run.seeded_layers():
        return run.epochs(settings.epochs, epoch, probe=lambda: (student(data[:PROBED].float() / 255),))
