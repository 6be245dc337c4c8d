"""MIRROR, black box: a genetic search of styles that sees scores alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.latent_search.memory import images_at_once, in_parts
from midef.attacks.latent_search.rows import known_traits, not_finite_rows
from midef.attacks.priors.base import PublicPrior, style_generator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core.lazy import torch
from midef.core.position import share, steps
from midef.core.seeds import derive_seed
from midef.core.traces import Traces

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from midef.attacks.latent_search.styles import NormalSpace
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe
    from midef.core.setup import Protocol

Fitness = Callable[["Tensor"], "Tensor"]
"""Log probability [N] of the attacked identity in images of genes [N, Z]."""


@ATTACKS.add("mirror_black_box")
@dataclass(frozen=True, kw_only=True)
class MirrorBlackBox(Attack):
    """Breed styles from those of a pool that score best: crossover, mutation and clipping in P space.

    A style has one gene for each coordinate of w, where that is about normal (see `mirror`); fitness is the logarithm
    of the served probability. In each generation the best survives, and all others are children of two parents drawn in
    proportion to their probabilities. The reconstructions of an identity are the best different styles of its last
    population; it ends early once all of them have `enough`.

    Args:
        pool: latents that are scored once for all identities, >= population; as many queries.
        population: styles of a generation, the best of the pool at first, >= 2 and at least
            `protocol.images_per_identity`; as many queries in each generation, less one.
        generations: >= 1.
        crossover: how likely a gene is the first parent's: `code`, f1 / (f1 + f2) of log probabilities as released,
            which prefers the worse parent, as they are negative; `fixed`, p1 / (p1 + p2).
        mutation: probability that a gene is moved, 0 to 1, by up to `mutation_size` standard deviations, >= 0.
        clip_std: > 0, children are clipped to the pool's mean +- so many standard deviations.
        enough: served probability at which a search ends, (0, 1].
        psi, cutoff: of the truncation with which styles are drawn: the first `cutoff` rows, w_avg + psi (w - w_avg).
        prior: `style_gan2`, or one whose latents may be searched in place of styles, clipped as they are.

    Source: An et al., NDSS 2022, black-box attack, and released code. MIBench's port maps genes back with another slope
    and draws mutations from a normal distribution; we follow the authors. We differ: the generator is a StyleGAN2; what
    survived is not asked about again; more than one image may be kept.
    """

    paper: ClassVar[str] = "An et al., NDSS 2022"
    access: ClassVar[AccessLevel] = AccessLevel.SCORES
    strength: ClassVar[int] = 3
    records: ClassVar[str] = "loss (minus the best log probability) and confidence of the best, for each identity"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mirror": {}}

    pool: int = 100_000
    population: int = 1000
    generations: int = 100
    crossover: Literal["code", "fixed"] = "code"
    mutation: float = 0.1
    mutation_size: float = 0.1
    clip_std: float = 1.0
    enough: float = 0.95
    psi: float = 0.7
    cutoff: int = 8
    prior: PublicPrior = field(default_factory=StyleGan2, metadata=style_generator(StyleGan2))

    def __post_init__(self) -> None:
        if not 2 <= self.population <= self.pool or self.generations < 1:
            given = f"{self.population}, {self.pool}, {self.generations}"
            raise ValueError(f"needs 2 <= population <= pool and generations >= 1, got {given}")
        if not 0 <= self.mutation <= 1 or self.mutation_size < 0 or self.clip_std <= 0 or not 0 < self.enough <= 1:
            raise ValueError("needs 0 <= mutation <= 1, mutation_size >= 0, clip_std > 0 and 0 < enough <= 1")
        if not 0 <= self.psi <= 1 or self.cutoff < 1:
            raise ValueError(f"needs 0 <= psi <= 1 and cutoff >= 1, got {self.psi}, {self.cutoff}")

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {
            "pool": 5 * budget.search,
            "population": max(6, budget.search // 5),
            "generations": max(2, budget.search // 10),
            "prior": StyleGan2.small(budget),
        }

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return self.prior.problems(resolution_px)

    @override
    def problems_with(self, protocol: Protocol) -> list[str]:
        kept = protocol.images_per_identity
        if kept <= self.population:
            return []
        return [f"a population of {self.population} has no {kept} images to keep; raise population to {kept} or more"]

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {"prior": self.prior.recipe(public=public, target=target)}

    @override
    def drawn_px(self, resolution_px: int) -> int:
        return self.prior.drawn_px(resolution_px)

    @override
    def images_drawn(self, *, reconstructions: int, identities: int) -> int:
        return self.pool + identities * self.generations * (self.population - 1)

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        from midef.attacks.latent_search.styles import NormalSpace, has_styles, judged, pool_latents

        networks = self.prior.load(inputs.path("prior"), task.resolution_px, handle.n_classes, task.device)
        generator: Any = networks["generator"].to(memory_format=torch.channels_last)
        latents = pool_latents(derive_seed("pool", task.seed), self.pool, int(generator.latent_dim)).to(task.device)
        labels = sorted(set(task.labels.tolist()))
        at_once, space = images_at_once(task.device, generator), NormalSpace(is_styled=has_styles(generator))
        first = self.pool / self.images_drawn(reconstructions=0, identities=len(labels))
        with torch.no_grad():
            with share(0.0, first):
                rows = lambda w: generator.styles(w, self.psi, self.cutoff)  # noqa: E731
                scores = judged(generator, latents, rows, handle.scores, handle, at_once)[:, labels]
            w = generator.mapping(latents) if space.is_styled else latents
            bred, courses = {}, []
            with share(first, 1.0):
                for place, label in enumerate(steps(labels)):
                    surest = self._surest(scores[:, place], derive_seed("ties", task.seed, label))
                    begin = (space.of(w[surest.to(task.device)]), _log(scores[surest, place].to(task.device)))
                    kept = 1 + int(task.restarts[task.labels == label].max())
                    asked = self._fitness(handle, generator, space, label, at_once)
                    genes, traces = self._breed(begin, space.spread(w), asked, label, kept, task)
                    shown = generator if task.kept_px is None else generator.showing(task.kept_px)
                    drawn = self._draw(shown, space, genes).float().cpu()
                    drawn = torch.where(not_finite_rows([genes]).cpu()[:, None, None, None], torch.nan, drawn)
                    bred[label] = (drawn.clamp(0, 1), known_traits(generator, space.back(genes)))
                    courses.append(traces)
        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        traits = [known[restart] for label, restart in pairs if (known := bred[label][1]) is not None]
        return Reconstructions(
            torch.stack([bred[label][0][restart] for label, restart in pairs]),
            task.labels,
            task.restarts,
            torch.ones_like(task.labels).bool(),
            torch.stack(traits) if traits else None,
            Traces.joined(courses),
        )

    def _surest(self, scores: Tensor, seed: int) -> Tensor:
        """The first population: places in the pool [P], the surest first. Ties, as of scores that are all 0, are broken
        for each identity on its own."""
        mixed = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
        return mixed[scores[mixed].sort(descending=True, stable=True).indices[: self.population]]

    def _draw(self, generator: Any, space: NormalSpace, genes: Tensor) -> Tensor:
        from midef.attacks.latent_search.styles import shown

        w = space.back(genes)
        if not space.is_styled:
            images: Tensor = generator(w)
            return images
        return shown(generator, generator.synthesis(generator.styles(w, self.psi, self.cutoff)), clip=True)

    def _fitness(self, handle: TargetHandle, generator: Any, space: NormalSpace, label: int, at_once: int) -> Fitness:
        def of(genes: Tensor) -> Tensor:
            def part(begin: int, end: int) -> Tensor:
                return handle.scores(self._draw(generator, space, genes[begin:end]))[:, label]

            return _log(torch.cat(in_parts(len(genes), at_once, handle, part)))

        return of

    def _breed(
        self,
        begin: tuple[Tensor, Tensor],
        spread: tuple[Tensor, Tensor],
        fitness_of: Fitness,
        label: int,
        kept: int,
        task: Task,
    ) -> tuple[Tensor, Traces | None]:
        """The best different genes [kept, Z] of the last population, and the course of the best.

        Args:
            begin: genes [P, Z] of the first population, the best first, and their fitness [P].
            spread: mean and standard deviation of genes [Z].
        """
        from midef.attacks.latent_search.recording import Recorder

        rng = torch.Generator().manual_seed(derive_seed("genes", task.seed, label))
        recorder = Recorder([(label, -1)])
        genes, fitness = begin
        best = different(genes, kept)
        for generation in steps(range(self.generations)):
            recorder.record(generation, loss=-fitness[:1], confidence=fitness[:1].exp())
            if float(fitness[best[-1]]) >= math.log(self.enough):
                break
            children = self.children(genes, fitness, spread, rng)
            genes, fitness = torch.cat([genes[:1], children]), torch.cat([fitness[:1], fitness_of(children)])
            falling = fitness.sort(descending=True, stable=True).indices
            genes, fitness = genes[falling], fitness[falling]
            best = different(genes, kept)
        else:
            recorder.record(self.generations, loss=-fitness[:1], confidence=fitness[:1].exp())
        return genes[best], recorder.traces()

    def children(self, genes: Tensor, fitness: Tensor, spread: tuple[Tensor, Tensor], rng: Generator) -> Tensor:
        """One child fewer than there are genes [P, Z]: [P - 1, Z]."""
        count, device = len(genes) - 1, genes.device
        chosen = torch.multinomial(fitness.softmax(dim=0).cpu(), 2 * count, replacement=True, generator=rng)
        one, other = chosen.to(device).split(count)
        draws = torch.rand(3, count, genes.shape[1], generator=rng).to(device)
        children = torch.where(
            draws[0] < self.share_of_first(fitness[one], fitness[other])[:, None], genes[one], genes[other]
        )
        moved = (2 * draws[2] - 1) * self.mutation_size * spread[1]
        children = torch.where(draws[1] < self.mutation, children + moved, children)
        reach = self.clip_std * spread[1]
        return children.clamp(spread[0] - reach, spread[0] + reach)

    def share_of_first(self, one: Tensor, other: Tensor) -> Tensor:
        """Probability [N] that a gene is the first parent's, of both log probabilities [N]."""
        if self.crossover == "fixed":
            return (one - other).sigmoid()
        both = one + other
        return torch.where(both < 0, one / both, 0.5)


def different(genes: Tensor, count: int) -> list[int]:
    """Positions of the first `count` different rows [P, Z]; from the first on again where there are too few."""
    known: dict[tuple[float, ...], int] = {}
    for place, row in enumerate(genes.tolist()):
        if len(known) < count:
            known.setdefault(tuple(row), place)
    places = list(known.values())
    return (places * count)[:count]


def _log(probabilities: Tensor) -> Tensor:
    """Logarithm, in double precision, of probabilities that may be 0."""
    return probabilities.double().clamp(min=1e-30).log()
