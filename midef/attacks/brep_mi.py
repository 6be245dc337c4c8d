"""BREP-MI: boundary repulsion with labels only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.latent_search.memory import drawn_at_once
from midef.attacks.latent_search.rows import known_traits
from midef.attacks.priors.base import PublicPrior, any_generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.lazy import torch
from midef.core.position import share, tell
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.attacks.latent_search.recording import Recorder
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe

CHUNK = 1024
"""Images drawn and asked at once. Changes memory and speed, not results."""

LARGEST_RADIUS = 1e6
"""A row whose sphere is larger is done: the target gives this label everywhere, and growing on would never end."""


Ask = Callable[["Tensor"], "Tensor"]
"""Labels [N] the target gives the images of latents [N, Z]."""

Pool = Callable[[], "Iterator[tuple[Tensor, Tensor]]"]
"""Goes through random latents [256, Z] and their labels [256], from the first batch on."""


@ATTACKS.add("brep_mi")
@dataclass(frozen=True, kw_only=True)
class BrepMi(Attack):
    """Move a latent away from where the label changes, on spheres that grow as long as nearly all of them is inside.

    Args:
        patience: iterations without a larger radius before an identity is done.
        sphere_points: directions per iteration.
        radius: of the first sphere.
        growth: of the radius.
        inside_share: more than this mean of the signs (+1 inside, -1 outside) grows it, 0.75 of 32 needs 29 inside.
        largest_step: bound on the step (radius / 3 below it).
        clamp: bound on each latent coordinate.
        pool_batches: batches of 256 random latents searched for a start.
        redraws: rejected moves in a row before the iteration counts anyway.
        targets: `given` attacks the identities asked for; `first_seen`, as many, but those whose label random
            latents get first, the authors' default: easier ones.

    The result is the latent at the last growth of the radius. An identity no random latent falls into, or whose radius
    never grew, is returned with `found` False and its start (or a random image): see the metric `coverage`.

    Source: Kahla et al., CVPR 2022, released code. MIBench's copy omits clamp and rejection and grows from 25 inside
    (the preset `mibench` takes the threshold only); we follow the authors. We differ: several restarts are independent
    starts; all identities run in one batch, each with its own random stream; the loss query the code makes for its log
    is left out; `redraws` and `LARGEST_RADIUS` guard loops the code leaves endless; an identity whose radius never
    grew is evaluated by its start, where the code counts a failure.
    """

    paper: ClassVar[str] = "Kahla et al., CVPR 2022 (arXiv 2203.01925)"
    access: ClassVar[AccessLevel] = AccessLevel.LABELS
    strength: ClassVar[int] = 3
    records: ClassVar[str] = "radius of the sphere"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "orig": {"targets": "first_seen"},
        "mibench": {"inside_share": 0.5},
    }

    patience: int = 1000
    sphere_points: int = 32
    radius: float = 2.0
    growth: float = 1.3
    inside_share: float = 0.75
    largest_step: float = 3.0
    clamp: float = 1.5
    pool_batches: int = 400
    redraws: int = 50
    targets: Literal["given", "first_seen"] = "given"
    prior: PublicPrior = field(default_factory=WganGp, metadata=any_generator(WganGp))

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "patience": min(20, budget.search),
            "pool_batches": min(100, budget.search),
            "prior": WganGp.small(budget),
        }

    def __post_init__(self) -> None:
        if min(self.patience, self.sphere_points, self.pool_batches, self.redraws) < 1:
            raise ValueError("needs patience, sphere_points, pool_batches and redraws >= 1")
        if self.radius <= 0 or self.growth <= 1 or self.clamp <= 0 or not -1 <= self.inside_share < 1:
            raise ValueError("needs radius > 0, growth > 1, clamp > 0 and -1 <= inside_share < 1")
        if self.largest_step <= 0:
            raise ValueError(f"needs largest_step > 0, got {self.largest_step}")

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return self.prior.problems(resolution_px)

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {"prior": self.prior.recipe(public=public, target=target)}

    @override
    def drawn_px(self, resolution_px: int) -> int:
        return self.prior.drawn_px(resolution_px)

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        return 256 * self.pool_batches + self._least_repelled(reconstructions)

    def _least_repelled(self, rows: int) -> int:
        """Images that the repulsion of so many rows asks about, at least."""
        return rows * self.patience * (self.sphere_points + 1)

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        from midef.attacks.latent_search.recording import Recorder

        networks = self.prior.load(inputs.path("prior"), task.resolution_px, handle.n_classes, task.device)
        generator = networks["generator"].to(memory_format=torch.channels_last)

        at_once = drawn_at_once(CHUNK, generator)

        def ask(latents: Tensor) -> Tensor:
            return torch.cat(
                [handle.labels(_draw(generator, part, task.device)) for part in latents.split(at_once)]
            ).cpu()

        latent_dim = int(generator.latent_dim)  # type: ignore[arg-type]
        pool = self.pool(ask, task, latent_dim)
        drawn = 256 * self.pool_batches
        pooled = drawn / (drawn + self._least_repelled(len(task.labels)))
        with share(0.0, pooled):
            if self.targets == "first_seen":
                task = replace(task, labels=self.first_seen(pool, handle.n_classes, task)[task.labels])
            latents, started = self.starts(pool, task, latent_dim)
        recorder = Recorder(list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True)))
        with share(pooled, 1.0):
            best, grew = self.repel(ask, latents, started, task, recorder)
        shown: Any = generator if task.kept_px is None else generator.showing(task.kept_px)  # type: ignore[operator]
        images = torch.cat([_draw(shown, part, task.device).cpu() for part in best.split(at_once)])
        traits = known_traits(generator, best)
        return Reconstructions(images, task.labels, task.restarts, grew, traits, recorder.traces())

    def pool(self, ask: Ask, task: Task, latent_dim: int) -> Pool:
        """Random latents [256, Z] and their labels, batch by batch; a batch is asked about once, when first wanted."""
        rng = torch.Generator().manual_seed(derive_seed("brep_pool", task.seed))
        asked: list[tuple[Tensor, Tensor]] = []

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for i in range(self.pool_batches):
                if i == len(asked):
                    tell(i / self.pool_batches)
                    latents = torch.randn(256, latent_dim, generator=rng).clamp(-self.clamp, self.clamp)
                    asked.append((latents, ask(latents)))
                yield asked[i]

        return batches

    def first_seen(self, pool: Pool, n_classes: int, task: Task) -> Tensor:
        """Every label [K], in the order in which random latents get it; labels never got stand last."""
        count = int(task.labels.max()) + 1
        order: dict[int, None] = {}
        for _, labels in pool():
            order |= dict.fromkeys(labels.tolist())
            if len(order) >= count:
                break
        return torch.tensor([*order, *(label for label in range(n_classes) if label not in order)])

    def starts(self, pool: Pool, task: Task, latent_dim: int) -> tuple[Tensor, Tensor]:
        """A latent the target labels right, for each (label, restart): the r-th such draw serves restart r.

        Returns:
            latents [N, Z] and whether one was found [N].
        """
        from midef.attacks.priors.networks.dcgan import standard_latents

        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        row_of = {pair: row for row, pair in enumerate(pairs)}
        # the guess where no start is found has a stream of its own: the pool must not depend on how many are attacked
        guesses = standard_latents([derive_seed("brep_guess", task.seed, *pair) for pair in pairs], latent_dim)
        latents = guesses.clamp(-self.clamp, self.clamp)
        found = torch.zeros(len(task.labels), dtype=torch.bool)
        hits: dict[int, int] = {}
        for drawn, labels in pool():
            for latent, label in zip(drawn, labels.tolist(), strict=True):
                row = row_of.get((label, hits.get(label, 0)))
                hits[label] = hits.get(label, 0) + 1
                if row is not None:
                    latents[row] = latent
                    found[row] = True
            if bool(found.all()):
                break
        return latents, found

    def repel(
        self, ask: Ask, latents: Tensor, started: Tensor, task: Task, recorder: Recorder | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the repulsion for all rows [N, Z] at once; a row leaves when its patience is used up.

        Args:
            recorder: of these rows; an iteration is a step.

        Returns:
            the latents at the last growth of each row's radius [N, Z] and whether it ever grew [N].
        """
        n = len(latents)
        pairs = zip(task.labels.tolist(), task.restarts.tolist(), strict=True)
        streams = [torch.Generator().manual_seed(derive_seed("brep", task.seed, *pair)) for pair in pairs]
        labels = task.labels.cpu()
        current, best = latents.clone(), latents.clone()
        radius = torch.full((n,), self.radius)
        fruitless = torch.zeros(n, dtype=torch.long)
        rejected = torch.zeros(n, dtype=torch.long)
        grew = torch.zeros(n, dtype=torch.bool)
        active = started.clone()
        for iteration in itertools.count():
            if recorder is not None:
                recorder.record(iteration, radius=radius.clone())
            if not bool(active.any()):
                break
            tell(1 - float((active * (1 - fruitless / self.patience)).mean()))
            rows = torch.nonzero(active).squeeze(1)
            row_labels = labels[rows]
            old = radius[rows]
            directions = torch.stack(
                [sphere_points(streams[i], self.sphere_points, latents.shape[1]) for i in rows.tolist()]
            )
            offsets = directions * old[:, None, None]
            answers = ask((current[rows][:, None] + offsets).flatten(0, 1)).view(len(rows), -1)
            signs = torch.where(answers == row_labels[:, None], 1.0, -1.0)
            grows = signs.mean(dim=1) > self.inside_share
            new = torch.where(grows, old * self.growth, old)
            push = repulsion(signs, offsets, new)
            step = (old / 3).clamp(max=self.largest_step)
            moved = (current[rows] + step[:, None] * push).clamp(-self.clamp, self.clamp)
            stays = ask(moved) == row_labels
            radius[rows] = new
            current[rows] = torch.where(stays[:, None], moved, current[rows])
            record = stays & grows
            best[rows[record]] = moved[record]
            grew[rows[record]] = True
            rejected[rows] = torch.where(stays, 0, rejected[rows] + 1)
            counts = stays | (rejected[rows] >= self.redraws)
            rejected[rows[counts]] = 0
            fruitless[rows] = torch.where(grows, 0, fruitless[rows] + counts.long())
            active[rows] = (fruitless[rows] < self.patience) & (new <= LARGEST_RADIUS)
        return best, grew


def sphere_points(rng: Generator, count: int, dim: int) -> Tensor:
    """Points [count, dim] uniform on the unit sphere."""
    points = torch.randn(count, dim, generator=rng)
    on_sphere: Tensor = points / points.norm(dim=1, keepdim=True)
    return on_sphere


def repulsion(signs: Tensor, offsets: Tensor, radius: Tensor) -> Tensor:
    """Mean push away from the outside points: mean_j(w_j u_j) / R with w = -1 outside and 0 inside.

    Args:
        signs: [N, S], +1 inside and -1 outside; offsets: [N, S, Z] of length the radius before growth; radius: [N].
    """
    weights = (signs - 1) / 2
    push: Tensor = (weights[:, :, None] * offsets).mean(dim=1) / radius[:, None]
    return push


def _draw(generator: nn.Module, latents: Tensor, device: str) -> Tensor:
    with torch.no_grad():
        images: Tensor = generator(latents.to(device))
    return images
