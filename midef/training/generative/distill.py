"""Training of students on what a teacher answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midef.core.seeds import derive_seed


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
    student: nn.Module,
    images: Tensor,
    teacher: Tensor,
    *,
    temperature: float,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    seed: int,
    device: str,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, float]:
    """Train in place on images [N, 3, H, W] uint8 and the teacher's logits of them [N, K], by SGD at a constant rate.

    Every epoch is one shuffled pass; an incomplete last batch is dropped, unless it is the only one.

    Returns:
        loss: the mean of the last epoch; agreement: its share of images where both name the same class, while the
        student was still learning (batch statistics).
    """
    student.to(device).to(memory_format=torch.channels_last).train()
    data, answers = images.to(device), teacher.to(device)
    sgd = torch.optim.SGD(student.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    size = min(batch_size, len(data))
    steps = len(data) // size
    loss_sum = torch.zeros((), device=device)
    agreed = torch.zeros((), device=device)
    with torch.random.fork_rng(devices=[] if device == "cpu" else [device]):
        torch.manual_seed(derive_seed(seed, "noise"))  # for layers that draw: stochastic depth
        for epoch in range(epochs):
            rng = torch.Generator(device).manual_seed(derive_seed(seed, "distill", epoch))
            order = torch.randperm(len(data), generator=rng, device=device)
            loss_sum.zero_()
            agreed.zero_()
            for index in order[: steps * size].split(size):
                taught = student(data[index].float() / 255)
                loss = distillation_loss(taught, answers[index], temperature=temperature)
                sgd.zero_grad(set_to_none=True)
                loss.backward()
                sgd.step()
                loss_sum += loss.detach()
                agreed += (taught.argmax(dim=1) == answers[index].argmax(dim=1)).float().mean()
            if report is not None and (epoch + 1) % max(1, epochs // 20) == 0:
                report({"epoch": epoch + 1, "epochs": epochs})
    return {"loss": float(loss_sum) / steps, "agreement": float(agreed) / steps}
