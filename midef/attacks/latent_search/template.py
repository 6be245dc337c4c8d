"""The latent search shared by GAN attacks: one loop with open steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.base import Attack, Reconstructions, Task
from midef.attacks.latent_search.candidates import Keeper, Searched
from midef.attacks.latent_search.lowest_loss import LowestLoss
from midef.attacks.latent_search.memory import in_parts, one_by_one
from midef.core.errors import SpecError
from midef.core.lazy import torch
from midef.core.position import share, steps
from midef.core.seeds import derive_seed
from midef.core.traces import Traces
from midef.defenses.midre import IMAGENET_MEAN

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.latent_search.recording import StepRecorder
    from midef.attacks.latent_search.streams import RowStreams
    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe
    from midef.core.setup import Protocol
    from midef.nn.network import Forward

CHUNK = 40
"""Images searched together on a CPU. Changes memory and speed, not results."""
GPU_CHUNK = 2048
"""The same on a GPU, where it is halved as long as memory is short; the papers' 300 x 5 go at once."""
CPU_BYTES = 4 * 2**30
"""Memory for what a generator keeps of images that are searched together on a CPU."""

memory_share: ContextVar[float] = ContextVar("memory_share", default=1.0)
"""Share of these numbers that is searched together: 0.5 after memory ran out."""

Networks = Mapping[str, "nn.Module"]


@dataclass(frozen=True)
class Rows:
    """Rows that are searched together.

    Args:
        labels: [N].
        noise: a random stream for each row.
        chosen: latents [N, Z] that were chosen to start from; None where nothing was.
        recorder: writes down what the target answers while they are searched.
        stage: of the search, from 0.
        begun: the searched values at the start of this stage, where the attack `remembers_start`.
    """

    labels: Tensor
    seeds: Sequence[int]
    noise: RowStreams
    chosen: Tensor | None = None
    recorder: StepRecorder | None = None
    stage: int = 0
    begun: Sequence[Tensor] = ()


@dataclass(frozen=True, kw_only=True)
class LatentSearch(Attack):
    """Optimise latents of a generator until the target sees the identity.

    A subclass fills in `priors`, `identity_loss` and `optimizer`, and what else its paper changes: `choose`, `start`,
    `latents`, `draw`, `views`, `ask`, `prior_loss`, `constrain_`, `final_latents`. A search may have several stages,
    each with an optimiser and searched values of its own: `stage_steps` and `next_start`. A row is one reconstruction,
    or one identity where `per_identity` is set; its loss and its random numbers do not depend on the other rows.
    Where an identity has more candidates than reconstructions (`candidates_per_identity`), a row is a candidate, and
    `keep` says which are kept.

    Args:
        iterations: steps of the search, >= 1; of its first stage where it has several.
        erase_low, erase_high: the adaptive attacker that knows MIDRE erases a square of this share of the image, 0 <=
            low <= high < 1, from every image the target sees, anew in each step (0 erases nothing).
        precision: `bfloat16` is autocast around networks, for GPUs; changes roundings only.
        channels_last: memory layout of the networks, faster on most processors; changes roundings only.
    """

    per_identity: ClassVar[bool] = False
    n_views: ClassVar[int] = 1
    remembers_start: ClassVar[bool] = False
    keeps_best: ClassVar[bool] = False
    """True where each row ends a stage with the values of its lowest loss, and not with the last ones."""
    records: ClassVar[str] = "loss, confidence, gradient norm"

    iterations: int
    erase_low: float = 0.0
    erase_high: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"needs iterations >= 1, got {self.iterations}")
        if not 0 <= self.erase_low <= self.erase_high < 1:
            raise ValueError(f"needs 0 <= erase_low <= erase_high < 1, got {self.erase_low}, {self.erase_high}")

    @property
    def priors(self) -> Mapping[str, Prior]:
        """The priors it loads, by role. The role `prior` holds the network `generator`."""
        raise NotImplementedError

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return [problem for prior in self.priors.values() for problem in prior.problems(resolution_px)]

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {role: prior.recipe(public=public, target=target) for role, prior in self.priors.items()}

    @override
    def drawn_px(self, resolution_px: int) -> int:
        return self.priors["prior"].drawn_px(resolution_px)

    @override
    def queries(self, *, reconstructions: int, identities: int) -> int | None:
        rows = identities if self.per_identity else reconstructions
        rows = self.candidates_per_identity * identities or rows
        return sum(self.stage_steps) * self.n_views * self.images_per_row * rows

    @property
    def stage_steps(self) -> tuple[int, ...]:
        """Steps of each stage of the search, in turn; here there is one."""
        return (self.iterations,)

    @property
    def candidates_per_identity(self) -> int:
        """Rows that are searched for each identity, of which `keep` keeps as many as are asked for; 0 where a row is a
        reconstruction, or an identity."""
        return 0

    @property
    def erase_colour(self) -> tuple[float, float, float]:
        """RGB in [0, 1] that the adaptive attacker fills erased squares with."""
        return IMAGENET_MEAN

    @override
    def problems_with(self, protocol: Protocol) -> list[str]:
        return self._too_few_candidates(protocol.images_per_identity)

    def _too_few_candidates(self, kept: int) -> list[str]:
        searched = self.candidates_per_identity
        if not 0 < searched < kept:
            return []
        return [
            f"it searches {searched} candidates for each identity and cannot keep {kept} of them; raise candidates to "
            f"{kept} or more, or lower protocol.images_per_identity"
        ]

    def choosing_share(self, rows: int) -> float:
        """Share of the work, 0 to 1, that `choose` is; for progress only."""
        return 0.0

    @property
    def images_per_row(self) -> int:
        """Images drawn for each row in a step; those of a row stand together."""
        return 1

    # ------------------------------------------------------------ the open steps

    def choose(self, handle: TargetHandle, networks: Networks, task: Task) -> Mapping[tuple[int, int], Tensor]:
        """Latents [Z] to start from, by (label, restart), looked for before the search; empty where none are."""
        return {}

    def start(self, networks: Networks, rows: Rows) -> list[Tensor]:
        """Initial values of the search, each [N, ...].

        Here one latent per row: the one chosen, or else a standard normal one from the row's seed.
        """
        if rows.chosen is not None:
            return [rows.chosen]
        from midef.attacks.priors.networks.dcgan import standard_latents

        latent_dim = networks["generator"].latent_dim
        return [standard_latents(list(rows.seeds), int(latent_dim)).to(rows.labels.device)]  # type: ignore[arg-type]

    def next_start(self, networks: Networks, searched: list[Tensor], rows: Rows) -> list[Tensor]:
        """Initial values of stage `rows.stage` >= 1, each [N, ...], from those that the stage before ended with."""
        return searched

    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        """A new optimiser, at the start of each stage."""
        raise NotImplementedError

    def rate(self, progress: float) -> float:
        """Factor of the optimiser's learning rates in a step; `progress` is the share of the stage before it."""
        return 1.0

    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        """Images of a step."""
        return self.draw(networks, self.latents(searched, rows), rows)

    def latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        """Latents [N, Z] to draw in this step."""
        return searched[0]

    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        """Images [N, 3, R, R] in [0, 1] of latents."""
        images: Tensor = networks["generator"](latents)
        return images

    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        """Views of the images that the target is shown; the losses of several views are summed."""
        return [images]

    def ask(self, handle: TargetHandle, networks: Networks, view: Tensor) -> list[Forward]:
        """Answers to a view: the target's first, then those of other networks where an attack has them."""
        return [handle.run(view)]

    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        """[N], smaller the surer the networks are of the identity."""
        raise NotImplementedError

    def judges(self, seen: list[Forward]) -> list[Forward]:
        """The answers whose confidence is recorded: the target's, or those of all that stand in for it."""
        return seen[:1]

    def prior_loss(self, networks: Networks, images: Tensor) -> Tensor | None:
        """[N], smaller for images the prior finds more real; None where the attack has no such term."""
        return None

    def constrain_(self, searched: list[Tensor], rows: Rows) -> None:
        """Project the searched values onto what is allowed, in place, after every step.

        Args:
            rows: with the stage, and the values it `begun` from.
        """

    def final_latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        """Latents of the reconstructions; `rows` are those of the reconstructions, with streams of their own."""
        return searched[0]

    def final_images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> tuple[Tensor, Tensor]:
        """Latents of the reconstructions and their images; `rows` as for `final_latents`.

        Of an attack with candidates, `draw` of these latents has to give these images: those that are kept are drawn
        again where they are asked for larger than the target takes them.
        """
        latents = self.final_latents(searched, rows)
        return latents, self.draw(networks, latents, rows)

    def keep(
        self, handle: TargetHandle, networks: Networks, label: int, images: Tensor, count: int, task: Task
    ) -> Sequence[int]:
        """Which of an identity's candidates it keeps: `count` numbers, the best first.

        Args:
            images: of all candidates [N, 3, H, W], not clipped, on the CPU; NaN of those that left the numbers.
        """
        raise NotImplementedError

    # ------------------------------------------------------------ the loop

    def step_loss(self, handle: TargetHandle, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        """Loss [N] of a step of the search."""
        return self._loss(handle, networks, self.images(networks, searched, rows), rows)

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        return self.search(handle, self.loaded(handle, inputs, task), task)

    def loaded(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Networks:
        """The networks of all priors, frozen, in the memory layout of the search; the target in it, too."""
        networks: dict[str, nn.Module] = {}
        for role, prior in self.priors.items():
            networks |= prior.load(inputs.path(role), task.resolution_px, handle.n_classes, task.device)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        for network in networks.values():
            network.to(memory_format=layout)
        handle.lay_out(layout)
        return networks

    def search(self, handle: TargetHandle, networks: Networks, task: Task) -> Reconstructions:
        """Choose where to start, search, and draw what was found."""
        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        owners = sorted({self._owner(*pair) for pair in pairs}) if self.per_identity else pairs
        keeper = self._keeper(handle, networks, pairs, task) if self.candidates_per_identity else None
        owners = owners if keeper is None else keeper.rows
        with share(0.0, first := self.choosing_share(len(owners))):
            chosen = self.choose(handle, networks, task)
        chunk = max(1, images_at_once(task.device, networks.get("generator")) // self.images_per_row)

        def part_of(begin: int, end: int) -> Searched:
            with share(*(first + (1 - first) * rows / len(owners) for rows in (begin, end))):
                part = owners[begin:end]
                return self._search(handle, networks, part, pairs if self.per_identity else part, chosen, task)

        parts = one_by_one(len(owners), chunk, handle, part_of)
        larger = partial(self._larger, handle, networks, chunk, task)
        found = list(parts if keeper is None else map(larger, map(keeper.take, parts)))
        images = {pair: image for part in found for pair, image in part.images.items()}
        traits = {pair: known for part in found for pair, known in part.traits.items()}
        latents = {pair: latent for part in found for pair, latent in part.latents.items()}
        return Reconstructions(
            torch.stack([images[pair] for pair in pairs]).clamp(0, 1),
            task.labels,
            task.restarts,
            torch.ones_like(task.labels).bool(),
            torch.stack([traits[pair] for pair in pairs]) if traits else None,
            Traces.joined([part.traces for part in found]),
            torch.stack([latents[pair] for pair in pairs]),
        )

    def _keeper(self, handle: TargetHandle, networks: Networks, pairs: Sequence[tuple[int, int]], task: Task) -> Keeper:
        kept: dict[int, int] = {}
        for label, restart in pairs:
            kept[label] = max(kept.get(label, 0), restart + 1)
        if problems := self._too_few_candidates(max(kept.values(), default=0)):
            raise SpecError(problems)

        def keep(label: int, images: Tensor, count: int) -> Sequence[int]:
            return self.keep(handle, networks, label, images, count, task)

        return Keeper(kept, self.candidates_per_identity, keep)

    def _larger(self, handle: TargetHandle, networks: Networks, at_once: int, task: Task, kept: Searched) -> Searched:
        """What identities keep, whose images are those the target was shown: drawn again if larger ones are asked for.

        Args:
            at_once: images that are drawn together, as memory holds.
        """
        if task.kept_px is None or not kept.images:
            return kept
        pairs, larger = list(kept.images), shown_at(networks, task.kept_px)

        def part(begin: int, end: int) -> Tensor:
            rows = self._rows("sample", pairs[begin:end], task)
            latents = torch.stack([kept.latents[pair] for pair in pairs[begin:end]]).to(task.device)
            with torch.no_grad(), self._autocast(task):
                drawn = self.draw(larger, latents, rows).float().cpu()
            is_lost = not_finite_rows([torch.stack([kept.images[pair] for pair in pairs[begin:end]])])
            return torch.where(is_lost[:, None, None, None], torch.nan, drawn)

        images = torch.cat(in_parts(len(pairs), at_once, handle, part))
        return kept._replace(images=dict(zip(pairs, images, strict=True)))

    def _search(
        self,
        handle: TargetHandle,
        networks: Networks,
        owners: list[tuple[int, int]],
        pairs: list[tuple[int, int]],
        chosen: Mapping[tuple[int, int], Tensor],
        task: Task,
    ) -> Searched:
        """Search the rows of these owners together; give images of their pairs, and the course.

        Images of candidates are those the target is shown, by which they are chosen; others are as large as asked.
        """
        from midef.attacks.latent_search.recording import StepRecorder

        recorder = StepRecorder(owners, sum(self.stage_steps))
        begin = torch.stack([chosen[owner] for owner in owners]) if chosen else None
        rows = replace(self._rows("latent", owners, task), chosen=begin, recorder=recorder)
        lost = torch.zeros(len(owners), dtype=torch.bool, device=task.device)
        searched, done = self.start(networks, rows), 0
        for stage, count in enumerate(steps(self.stage_steps, weights=self.stage_steps)):
            rows = replace(rows, stage=stage)
            if stage:
                with torch.no_grad(), self._autocast(task):
                    searched = self.next_start(networks, searched, rows)
            searched = [tensor.detach().requires_grad_(True) for tensor in searched]
            if self.remembers_start:
                rows = replace(rows, begun=[tensor.detach().clone() for tensor in searched])
            lost |= self._stage(handle, networks, searched, rows, range(done, done + count), task)
            done += count
        shown = networks if self.candidates_per_identity else shown_at(networks, task.kept_px)
        row_of = {owner: i for i, owner in enumerate(owners)}
        waiting = [pair for pair in pairs if self._owner(*pair) in row_of]
        images: dict[tuple[int, int], Tensor] = {}
        traits: dict[tuple[int, int], Tensor] = {}
        drawn_from: dict[tuple[int, int], Tensor] = {}
        while waiting:
            part, waiting = waiting[: len(owners)], waiting[len(owners) :]  # no more at once than were searched: memory
            which = [row_of[self._owner(*pair)] for pair in part]
            final = replace(self._rows("sample", part, task), stage=rows.stage)
            with torch.no_grad(), self._autocast(task):
                latents, drawn = self.final_images(shown, [tensor.detach()[which] for tensor in searched], final)
                drawn = drawn.float()
                is_lost = lost[which] | not_finite_rows([latents])
                images |= zip(part, torch.where(is_lost[:, None, None, None], torch.nan, drawn).cpu(), strict=True)
                drawn_from |= zip(part, latents.cpu(), strict=True)
                if (known := known_traits(networks["generator"], latents)) is not None:
                    traits |= zip(part, known, strict=True)
        return Searched(images, traits, drawn_from, recorder.traces())

    def _stage(
        self,
        handle: TargetHandle,
        networks: Networks,
        searched: list[Tensor],
        rows: Rows,
        numbers: range,
        task: Task,
    ) -> Tensor:
        """Make the steps of these numbers, >= 1, in place; give [N], True for rows that have left the numbers."""
        assert rows.recorder is not None, "the rows of a search are recorded"
        optimizer = self.optimizer(searched)
        rates = [group["lr"] for group in optimizer.param_groups]
        best = LowestLoss() if self.keeps_best else None
        for step in steps(numbers):
            rows.recorder.begin(step)
            with self._autocast(task):
                loss = self.step_loss(handle, networks, searched, rows)
            slopes = torch.autograd.grad(loss.sum(), searched)
            rows.recorder.end(loss, slopes)
            if best is not None:
                best.see(loss, searched)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self.rate((step - numbers[0]) / len(numbers))
            for tensor, slope in zip(searched, slopes, strict=True):
                tensor.grad = slope
            optimizer.step()
            if step == numbers[-1]:
                lost = not_finite_rows(searched)  # before a bound makes a number of infinity
            self.constrain_(searched, rows)
        if best is not None:
            best.restore_(searched)
        return lost

    def _owner(self, label: int, restart: int) -> tuple[int, int]:
        """The row that a reconstruction is drawn from: its own, or the one of its identity."""
        return label, -1 if self.per_identity else restart

    def _loss(self, handle: TargetHandle, networks: Networks, images: Tensor, rows: Rows) -> Tensor:
        loss = self.prior_loss(networks, images)
        for view in self.views(images, rows):
            if self.erase_high:
                from midef.attacks.latent_search.views import erased

                area = (self.erase_low, self.erase_high)
                view = erased(view, rows.noise, area=area, fill=self.erase_colour)
            seen = self.ask(handle, networks, view)
            if rows.recorder is not None:
                rows.recorder.see(self.judges(seen), rows.labels)
            term = self.identity_loss(networks, seen, rows.labels)
            loss = term if loss is None else loss + term
        assert loss is not None, "an attack shows the target at least one view"
        return loss

    def _rows(self, purpose: str, owners: list[tuple[int, int]], task: Task) -> Rows:
        from midef.attacks.latent_search.streams import RowStreams

        seeds = [derive_seed(purpose, task.seed, label, restart) for label, restart in owners]
        labels = torch.tensor([label for label, _ in owners], device=task.device)
        return Rows(labels, seeds, RowStreams(seeds, task.device))

    def _autocast(self, task: Task) -> torch.autocast:
        kind = task.device.partition(":")[0]
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")


def images_at_once(device: str, generator: nn.Module | None = None) -> int:
    """Images that fit on a device together.

    Args:
        generator: that draws them; one that says `bytes_per_image` draws fewer together on a CPU. A GPU is tried.
    """
    most: float = CHUNK if device == "cpu" else GPU_CHUNK
    each = getattr(generator, "bytes_per_image", 0)
    if each and device == "cpu":
        most = min(most, CPU_BYTES / each)
    return max(1, int(most * memory_share.get()))


def shown_at(networks: Networks, px: int | None) -> Networks:
    """The same networks, with a generator whose images have so many px, see `Prior.drawn_px`; None changes nothing."""
    if px is None:
        return networks
    generator: Any = networks["generator"]
    return {**networks, "generator": generator.showing(px)}


def known_traits(generator: nn.Module, latents: Tensor) -> Tensor | None:
    """Traits [N, n_traits] of latents [N, Z], where the generator's first coordinates are the identity."""
    count = int(getattr(generator, "n_traits", 0))
    return latents[:, :count].float().cpu() if count else None


def not_finite_rows(values: Sequence[Tensor]) -> Tensor:
    """[N], True for the rows of tensors [N, ...] that hold an infinite value or none that is a number.

    Pictures of such rows must be NaN: bounds on latents, or a generator that ends in a sigmoid, make faces of infinity.
    """
    return torch.stack([~value.detach().isfinite().flatten(1).all(dim=1) for value in values]).any(dim=0)
