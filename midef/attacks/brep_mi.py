"""BREP-MI: boundary repulsion with labels only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.latent_search.memory import drawn_at_once
from midef.attacks.latent_search.precision import Precision, autocast
from midef.attacks.latent_search.rows import known_traits
from midef.attacks.priors.base import PublicPrior, any_generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.canonical import ADDED_LATER
from midef.core.lazy import torch
from midef.core.position import share, tell
from midef.core.seeds import derive_seed
from midef.core.upload import uploaded

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.attacks.latent_search.recording import Recorder
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe

CHUNK = 1024
"""Images drawn and asked at once. Changes memory and speed, not results."""

LOOK = 8
"""Rounds between two looks at which rows are done, at most. Changes speed and how often it tells how far it is."""

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
        precision: `bfloat16` is autocast around networks, for GPUs; changes roundings only, and with them labels of
            images at a boundary.

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
    precision: Precision = field(default="float32", metadata=ADDED_LATER)

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
            with autocast(self.precision, task.device):
                return torch.cat([handle.labels(_draw(generator, part)) for part in latents.split(at_once)])

        def ask_pool(latents: Tensor) -> Tensor:
            return ask(latents.to(task.device)).cpu()

        latent_dim = int(generator.latent_dim)  # type: ignore[arg-type]
        pool = self.pool(ask_pool, task, latent_dim)
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
        with autocast(self.precision, task.device):
            images = torch.cat([_draw(shown, part.to(task.device)).cpu() for part in best.split(at_once)])
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
        n, device = len(latents), task.device
        pairs = zip(task.labels.tolist(), task.restarts.tolist(), strict=True)
        streams = [torch.Generator().manual_seed(derive_seed("brep", task.seed, *pair)) for pair in pairs]
        labels = task.labels.to(device)
        current, best = latents.to(device, copy=True), latents.to(device, copy=True)
        radius = torch.full((n,), self.radius, device=device)
        fruitless = torch.zeros(n, dtype=torch.long, device=device)
        rejected = torch.zeros_like(fruitless)
        grew = torch.zeros(n, dtype=torch.bool, device=device)
        active = started.to(device, copy=True)
        going, look = list[int](), 0
        for iteration in itertools.count():  # in step
            if recorder is not None:
                recorder.record(iteration, radius=radius.clone())
            if iteration == look:
                going, rounds = self._looked(active, fruitless, radius)  # waits: once in up to `LOOK` rounds
                if not going:
                    break
                look += rounds
                rows = uploaded(torch.tensor(going), device)  # waits: once in up to `LOOK` rounds
                row_labels = labels[rows]
            old = radius[rows]
            directions = sphere_points([streams[i] for i in going], self.sphere_points, latents.shape[1], device)
            offsets = directions * old[:, None, None]
            answers = ask((current[rows][:, None] + offsets).flatten(0, 1)).view(len(going), -1)
            signs = 2.0 * (answers == row_labels[:, None]) - 1
            grows = signs.mean(dim=1) > self.inside_share
            new = torch.where(grows, old * self.growth, old)
            push = repulsion(signs, offsets, new)
            step = (old / 3).clamp(max=self.largest_step)
            moved = (current[rows] + step[:, None] * push).clamp(-self.clamp, self.clamp)
            stays = ask(moved) == row_labels
            radius[rows] = new
            current[rows] = torch.where(stays[:, None], moved, current[rows])
            record = stays & grows
            best[rows] = torch.where(record[:, None], moved, best[rows])
            grew[rows] = grew[rows] | record
            in_a_row = (rejected[rows] + 1).masked_fill(stays, 0)
            counts = stays | (in_a_row >= self.redraws)
            rejected[rows] = in_a_row.masked_fill(counts, 0)
            fruitless[rows] = (fruitless[rows] + counts).masked_fill(grows, 0)
            active[rows] = (fruitless[rows] < self.patience) & (new <= LARGEST_RADIUS)
        return best.cpu(), grew.cpu()

    def _looked(self, active: Tensor, fruitless: Tensor, radius: Tensor) -> tuple[list[int], int]:
        """The rows that still go, and for how many rounds all of them will; tells how far the work is."""
        seen = torch.stack([active.double(), fruitless.double(), radius.double()]).cpu()
        going = [row for row, goes in enumerate(seen[0].tolist()) if goes]
        tell(1 - float((seen[0] * (1 - seen[1] / self.patience)).mean()))
        return going, self.rounds_that_end_no_row(seen[1, going], seen[2, going]) if going else 0

    def rounds_that_end_no_row(self, fruitless: Tensor, radius: Tensor) -> int:
        """Rounds, at least 1 and at most `LOOK`, before the end of which no row can be done.

        A round adds at most 1 to what is fruitless and one growth to a radius: a GPU need not be asked sooner.

        Args:
            fruitless, radius: of the rows that still go [M], on the CPU.
        """
        growths = math.log(LARGEST_RADIUS / float(radius.max())) / math.log(self.growth)
        return max(1, min(LOOK, self.patience - int(fruitless.max()), int(growths)))


def sphere_points(streams: Sequence[Generator], count: int, dim: int, device: str = "cpu") -> Tensor:
    """Points [N, count, dim] uniform on the unit sphere, those of a row from its own stream, moved together."""
    points = torch.empty(len(streams), count, dim)
    for row, rng in zip(points, streams, strict=True):
        torch.randn(count, dim, generator=rng, out=row)
    return uploaded(points / points.norm(dim=2, keepdim=True), device)


def repulsion(signs: Tensor, offsets: Tensor, radius: Tensor) -> Tensor:
    """Mean push away from the outside points: mean_j(w_j u_j) / R with w = -1 outside and 0 inside.

    Args:
        signs: [N, S], +1 inside and -1 outside; offsets: [N, S, Z] of length the radius before growth; radius: [N].
    """
    weights = (signs - 1) / 2
    push: Tensor = (weights[:, :, None] * offsets).mean(dim=1) / radius[:, None]
    return push


def _draw(generator: nn.Module, latents: Tensor) -> Tensor:
    """Images [N, 3, R, R] of latents [N, Z], float32 whatever the networks compute in."""
    with torch.no_grad():
        images: Tensor = generator(latents)
    return images.float()
