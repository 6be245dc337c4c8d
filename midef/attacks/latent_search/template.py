"""The latent search shared by GAN attacks: one loop with open steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from midef.attacks.base import Attack, Reconstructions, Task
from midef.core.lazy import torch
from midef.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.latent_search.streams import RowStreams
    from midef.attacks.priors import Prior
    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe
    from midef.nn.network import Forward

CHUNK = 120
"""Images searched together on a CPU. Changes memory and speed, not results."""
GPU_CHUNK = 2048
"""The same on a GPU, where it is halved as long as memory is short; the papers' 300 x 5 go at once."""

memory_share: ContextVar[float] = ContextVar("memory_share", default=1.0)
"""Of these numbers, how much is searched at once: 0.5 after memory ran out."""

Networks = Mapping[str, "nn.Module"]


@dataclass(frozen=True)
class Rows:
    """What is searched together: labels [N]; seeds of the rows; noise: a random stream for each row."""

    labels: Tensor
    seeds: Sequence[int]
    noise: RowStreams


@dataclass(frozen=True, kw_only=True)
class LatentSearch(Attack):
    """Optimise latents of a generator until the target sees the identity.

    A subclass fills in `priors`, `identity_loss` and `optimizer`, and what else its paper changes: `start`, `latents`,
    `draw`, `views`, `ask`, `prior_loss`, `constrain_`, `final_latents`. A row is one reconstruction, or one identity
    where `per_identity` is set; its loss and its random numbers do not depend on the other rows.

    iterations: steps of the search, >= 1; erase_low, erase_high: the adaptive attacker that knows MIDRE erases a square
    of this share of the image, 0 <= low <= high < 1, from every image the target sees, anew in each step (0 erases
    nothing); precision: `bfloat16` is autocast around networks, for GPUs; channels_last: how networks lie in memory,
    which most processors like better. Both change roundings only.
    """

    per_identity: ClassVar[bool] = False

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
        """What it loads, by role. The role `prior` holds the network `generator`."""
        raise NotImplementedError

    @override
    def problems(self, resolution_px: int) -> list[str]:
        return [problem for prior in self.priors.values() for problem in prior.problems(resolution_px)]

    @override
    def requires(self, *, target: Recipe, public: Recipe) -> Mapping[str, Recipe]:
        return {role: prior.recipe(public=public, target=target) for role, prior in self.priors.items()}

    @property
    def images_per_row(self) -> int:
        """Images drawn for each row in a step; those of a row stand together."""
        return 1

    # ------------------------------------------------------------ the open steps

    def start(self, networks: Networks, rows: Rows) -> list[Tensor]:
        """What is optimised, each [N, ...]: here one latent per row, standard normal, from the row's own seed."""
        from midef.attacks.priors.networks.dcgan import standard_latents

        latent_dim = networks["generator"].latent_dim
        return [standard_latents(list(rows.seeds), int(latent_dim)).to(rows.labels.device)]  # type: ignore[arg-type]

    def optimizer(self, searched: list[Tensor]) -> torch.optim.Optimizer:
        raise NotImplementedError

    def latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        """Latents [N, Z] to draw in this step."""
        return searched[0]

    def draw(self, networks: Networks, latents: Tensor, rows: Rows) -> Tensor:
        """Images [N, 3, R, R] in [0, 1] of latents."""
        images: Tensor = networks["generator"](latents)
        return images

    def views(self, images: Tensor, rows: Rows) -> list[Tensor]:
        """What the target is shown for each image; the losses of several views are summed."""
        return [images]

    def ask(self, handle: TargetHandle, networks: Networks, view: Tensor) -> list[Forward]:
        """What is seen in a view: by the target, first, and by others where an attack has them."""
        return [handle.run(view)]

    def identity_loss(self, networks: Networks, seen: list[Forward], labels: Tensor) -> Tensor:
        """[N], smaller when the identity is seen more surely."""
        raise NotImplementedError

    def prior_loss(self, networks: Networks, images: Tensor) -> Tensor | None:
        """[N], smaller for images the prior finds more real; None where the attack has no such term."""
        return None

    def constrain_(self, searched: list[Tensor]) -> None:
        """Put what is optimised back where it may be, in place, after every step."""

    def final_latents(self, searched: list[Tensor], rows: Rows) -> Tensor:
        """Latents of the reconstructions; `rows` are those of the reconstructions, with streams of their own."""
        return searched[0]

    # ------------------------------------------------------------ the loop

    def step_loss(self, handle: TargetHandle, networks: Networks, searched: list[Tensor], rows: Rows) -> Tensor:
        """[N], what a step of the search descends."""
        return self._loss(handle, networks, self.draw(networks, self.latents(searched, rows), rows), rows)

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        networks: dict[str, nn.Module] = {}
        for role, prior in self.priors.items():
            networks |= prior.load(inputs.path(role), task.resolution_px, handle.n_classes, task.device)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        for network in networks.values():
            network.to(memory_format=layout)
        handle.lay_out(layout)
        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))
        owners = [(label, -1) for label in sorted({label for label, _ in pairs})] if self.per_identity else pairs
        at_once = (CHUNK if task.device == "cpu" else GPU_CHUNK) * memory_share.get()
        chunk = max(1, int(at_once) // self.images_per_row)
        images: dict[tuple[int, int], Tensor] = {}
        done = 0
        while done < len(owners):
            part = owners[done : done + chunk]
            asked = handle.queries
            try:
                found_here = self._search(handle, networks, part, pairs, task)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                found_here = None  # out of the handler first: its traceback holds what takes the memory
            if found_here is None:
                chunk = (len(part) + 1) // 2  # rows do not depend on their batch: begin this part again, in halves
                handle.queries = asked
                torch.cuda.empty_cache()
                continue
            images |= found_here
            done += len(part)
        found = torch.stack([images[pair] for pair in pairs])
        return Reconstructions(found, task.labels, task.restarts, torch.ones_like(task.labels).bool())

    def _search(
        self,
        handle: TargetHandle,
        networks: Networks,
        owners: list[tuple[int, int]],
        pairs: list[tuple[int, int]],
        task: Task,
    ) -> dict[tuple[int, int], Tensor]:
        """Search the rows of these owners together; the images of their pairs."""
        rows = self._rows("latent", owners, task)
        searched = [tensor.detach().requires_grad_(True) for tensor in self.start(networks, rows)]
        optimizer = self.optimizer(searched)
        for _ in range(self.iterations):
            with self._autocast(task):
                loss = self.step_loss(handle, networks, searched, rows)
            for tensor, slope in zip(searched, torch.autograd.grad(loss.sum(), searched), strict=True):
                tensor.grad = slope
            optimizer.step()
            self.constrain_(searched)
        mine = [(label, restart) for label, restart in pairs if (label, -1 if self.per_identity else restart) in owners]
        row_of = {owner: i for i, owner in enumerate(owners)}
        found: dict[tuple[int, int], Tensor] = {}
        while len(found) < len(mine):
            part = mine[len(found) : len(found) + len(owners)]  # no more at once than were searched: memory
            which = [row_of[label, -1 if self.per_identity else restart] for label, restart in part]
            final = self._rows("sample", part, task)
            with torch.no_grad(), self._autocast(task):
                latents = self.final_latents([tensor.detach()[which] for tensor in searched], final)
                found |= zip(part, self.draw(networks, latents, final).float().clamp(0, 1).cpu(), strict=True)
        return found

    def _loss(self, handle: TargetHandle, networks: Networks, images: Tensor, rows: Rows) -> Tensor:
        loss = self.prior_loss(networks, images)
        for view in self.views(images, rows):
            if self.erase_high:
                from midef.attacks.latent_search.views import erased

                view = erased(view, rows.noise, area=(self.erase_low, self.erase_high))
            term = self.identity_loss(networks, self.ask(handle, networks, view), rows.labels)
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
