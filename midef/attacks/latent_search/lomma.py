"""LOMMA's identity loss, for attacks of the GMI line: logits of target and students, distance of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from midef.attacks.latent_search.template import LatentSearch, Networks
from midef.attacks.priors.students import Students
from midef.core.lazy import F

if TYPE_CHECKING:
    from torch import Tensor

    from midef.attacks.base import SmallBudget
    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.nn.network import Forward

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "lomma": {},
    "tldmi": {},
    "baseline": {"logit_loss": False, "ensemble": False, "feature_weight": 0.0},
    "augmentation": {"logit_loss": False, "feature_weight": 0.0},
    "logit": {"ensemble": False},
}
"""`lomma` and `tldmi` are the whole method, the others its ablation: without both parts, or with one of them."""


@dataclass(frozen=True, kw_only=True)
class Lomma(LatentSearch):
    """LOMMA's identity loss, put before the attack it improves: `class LommaGmi(Lomma, Gmi)`.

    The loss of a row is the mean over target and students of -logit_y, plus feature_weight times the mean over
    dimensions of (features of the target - their mean on public images)^2. Minus a logit has no lower bound; the second
    term keeps the features where the target's usual ones are.

    Args:
        iterations: of the search, >= 1.
        logit_loss: -logit_y, or the cross entropy where False.
        ensemble: students take part, or the target alone where False.
        feature_weight: of the second term, >= 0, larger keeps features nearer to the public mean.
        students: the prior that trains students and measures features, needed by either part.
    """

    iterations: int = 2400
    logit_loss: bool = True
    ensemble: bool = True
    feature_weight: float = 1.0
    students: Students = field(default_factory=Students, metadata={"shown": False})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feature_weight < 0:
            raise ValueError(f"needs feature_weight >= 0, got {self.feature_weight}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {**super().small(budget), "students": Students.small(budget)}

    @property
    def identity_scale(self) -> float:
        """Factor of the identity loss in the attack it improves."""
        raise NotImplementedError

    @property
    @override
    def priors(self) -> Mapping[str, Prior]:
        students = {"students": self.students} if self.ensemble or self.feature_weight else {}
        return {**super().priors, **students}

    @override
    def ask(self, handle: TargetHandle, networks: Networks, view: Tensor) -> list[Forward]:
        from midef.nn.network import Forward

        seen = super().ask(handle, networks, view)
        if self.ensemble:
            answers = [network(view) for name, network in networks.items() if name.startswith("student")]
            seen += [Forward(logits, logits.new_empty(len(logits), 0), {}) for logits in answers]
        return seen

    @override
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        loss = class_loss([one.logits for one in seen], labels, logit_loss=self.logit_loss)
        if self.feature_weight:
            public_mean: Tensor = networks["statistics"].mean  # type: ignore[assignment]
            loss = loss + self.feature_weight * feature_distance(seen[0].features, public_mean)
        return self.identity_scale * loss


def class_loss(logits: list[Tensor], labels: Tensor, *, logit_loss: bool) -> Tensor:
    """[N], the mean over networks of -logit_y, or of the cross entropy.

    Args:
        logits: [N, K] of each network.
        labels: [N].
    """
    if logit_loss:
        each = [-one.float().gather(1, labels[:, None]).squeeze(1) for one in logits]
    else:
        each = [F.cross_entropy(one, labels, reduction="none") for one in logits]
    return sum(each[1:], each[0]) / len(each)


def feature_distance(features: Tensor, public_mean: Tensor) -> Tensor:
    """[N], the mean over dimensions of (features [N, D] - public_mean [D])^2."""
    return (features.float() - public_mean).pow(2).mean(dim=1)
