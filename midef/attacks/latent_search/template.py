"""The latent search shared by GAN attacks: its open steps. `loop` runs them, `owners` says for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from midef.attacks.base import Attack, Reconstructions, Task
from midef.attacks.latent_search.candidates import too_few
from midef.attacks.latent_search.owners import OwnedSearch
from midef.attacks.latent_search.precision import Precision, autocast
from midef.attacks.latent_search.rows import Networks, Rows
from midef.core.canonical import ADDED_LATER
from midef.core.in_step import in_step
from midef.core.lazy import torch
from midef.defenses.midre import IMAGENET_MEAN

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe
    from midef.core.setup import Protocol
    from midef.nn.network import Forward

__all__ = ["LatentSearch", "Networks", "Rows"]


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
        captured: a GPU records the kernels of a step once in a stage and repeats them by one call, which saves their
            launches; on a CPU it changes nothing.
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
    precision: Precision = "float32"
    channels_last: bool = True
    captured: bool = field(default=False, metadata=ADDED_LATER)

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
        return too_few(self.candidates_per_identity, protocol.images_per_identity)

    @property
    def latents_give_images(self) -> bool:
        """Whether `draw` of the final latents gives the images; False where something beside them was searched."""
        return True

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

    @in_step
    def images(self, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        """Images of a step; as large as its prior draws them where that judges them, see `with_drawn`."""
        return self.draw(networks, self.latents(searched, rows), rows)

    @in_step
    def latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        """Latents [N, Z] to draw in this step."""
        return searched[0]

    @in_step
    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        """Images [N, 3, R, R] in [0, 1] of latents."""
        images: Tensor = networks["generator"](latents)
        return images

    @in_step
    def looked_at(self, networks: Networks, images: Tensor) -> Tensor:
        """Images of a step as large as who is asked takes them: where they are as the prior draws them, resized."""
        from midef.nn.sized import as_shown

        return as_shown(networks, images)

    @in_step
    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        """Views of the images that the target is shown; the losses of several views are summed."""
        return [images]

    @in_step
    def ask(self, handle: TargetHandle, networks: Networks, view: Tensor) -> list[Forward]:
        """Answers to a view: the target's first, then those of other networks where an attack has them."""
        return [handle.run(view)]

    @in_step
    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        """[N], smaller the surer the networks are of the identity."""
        raise NotImplementedError

    @in_step
    def judges(self, seen: list[Forward]) -> list[Forward]:
        """The answers whose confidence is recorded: the target's, or those of all that stand in for it."""
        return seen[:1]

    @in_step
    def prior_loss(self, networks: Networks, images: Tensor) -> Tensor | None:
        """[N], smaller for images the prior finds more real; None where the attack has no such term."""
        return None

    @in_step
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

    # ------------------------------------------------------------ a step, and the whole

    @in_step
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
        return OwnedSearch(self, handle, networks, task).reconstructions()

    def _loss(self, handle: TargetHandle, networks: Networks, images: Tensor, rows: Rows) -> Tensor:
        loss = self.prior_loss(networks, images)
        for view in self.views(self.looked_at(networks, images), rows):
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

    def autocast(self, task: Task) -> torch.autocast:
        """The precision of the networks, as a context."""
        return autocast(self.precision, task.device)
