"""RLB-MI: reinforcement learning in latent space, from served scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from typing_extensions import override

from midef.attacks.access import AccessLevel
from midef.attacks.base import ATTACKS, Attack, Reconstructions, SmallBudget, Task
from midef.attacks.latent_search.memory import DRAWN, at_once_in_free_memory, drawn_at_once, in_parts
from midef.attacks.latent_search.precision import Precision, autocast
from midef.attacks.latent_search.rows import known_traits, nan_where, not_finite_rows
from midef.attacks.priors.base import PublicPrior, any_generator
from midef.attacks.priors.wgan_gp import WganGp
from midef.core.canonical import ADDED_LATER
from midef.core.lazy import torch
from midef.core.position import share, steps
from midef.core.seeds import derive_seed
from midef.core.traces import Traces

if TYPE_CHECKING:
    from torch import Tensor, nn

    from midef.attacks.target_handle import TargetHandle
    from midef.core.recipe import Inputs, Recipe

CHUNK = 128
"""Agents that learn together on a CPU. Changes memory and speed, not results."""
LEARNED, BOTH_WAYS = 4, 3
"""Numbers that an agent holds for each of its weights (slope, two moments of Adam) and for each number of a forward."""

SMALLEST_MARGIN = 1e-7

SMALLEST_SCORE = 2.0**-126
"""The smallest normal float32: a defense may serve an exact 0, whose logarithm no agent could learn from."""


@ATTACKS.add("rlb_mi")
@dataclass(frozen=True, kw_only=True)
class RlbMi(Attack):
    """One agent per reconstruction learns which latents the target is sure of; the surest image it ever showed is kept.

    In each episode the agent sees a random state, answers with a latent in (-1, 1) and is paid score_weight * log p_y +
    margin_weight * log max(1e-7, p_y - largest other p) for the image drawn from it, p being the served scores: at most
    0, and -128.9 and less where the target sees somebody else. After its update it draws one more latent, and this
    image is kept if p_y is no smaller than that of the image kept before.

    Args:
        episodes: >= 1, the number of updates is about the same.
        batch_size: transitions of an update.
        replay: most transitions remembered.
        start_after: updates begin when more transitions than this are remembered.
        learning_rate: of actor, critic and temperature.
        hidden: units of each of their two hidden layers.
        score_weight, margin_weight: >= 0, weights of the reward.
        noise: `shared_scalar` explores with one random number for all coordinates, as the released code does by
            what is likely a slip, `per_dim` with one for each (many more numbers: slow for many agents).
        precision: of generator and target, `bfloat16` is autocast around them, for GPUs, and changes roundings only;
            agents learn in float32.

    An image costs two queries per episode, 80,000 at 40,000 episodes. `found` is False where the target labels the kept
    image as somebody else.

    Source: Han et al., CVPR 2023, released code HanGyojin/RLB-MI@3a113bd2, and `Agents` for the learning itself.
    We differ: built are the published settings alpha = 0 and one step per episode, where the next state is the action.
    So the two log p_y of the paper, 2 for the next state and 2 for the action, are one query of weight 4 here (the code
    asks twice, 120,000 in all), and discount, target critics and second critic have no effect and are left out.
    Transitions are sampled with replacement. Several restarts are independent agents.
    MIBench's copy learns for 4,000 episodes, gives the margin term the opposite sign, which rewards images of others,
    and never updates the image it keeps; we follow the authors.
    """

    paper: ClassVar[str] = "Han et al., CVPR 2023 (arXiv 2304.04625)"
    access: ClassVar[AccessLevel] = AccessLevel.SCORES
    strength: ClassVar[int] = 3
    records: ClassVar[str] = "loss (minus the reward) and confidence, as served, of the image tested in the episode"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"orig": {"episodes": 40_000}}

    episodes: int = 40_000
    batch_size: int = 256
    replay: int = 1_000_000
    start_after: int = 256
    learning_rate: float = 5e-4
    hidden: int = 256
    score_weight: float = 4.0
    margin_weight: float = 8.0
    noise: Literal["shared_scalar", "per_dim"] = "shared_scalar"
    prior: PublicPrior = field(default_factory=WganGp, metadata=any_generator(WganGp))
    precision: Precision = field(default="float32", metadata=ADDED_LATER)

    @override
    @classmethod
    def small(cls, budget: SmallBudget) -> Mapping[str, Any]:
        return {  # with so few episodes agents must explore every dimension for itself, and learn ten times as fast
            "episodes": 2 * budget.search,
            "batch_size": 2 * budget.batch_size,
            "hidden": 4 * budget.width,
            "start_after": min(64, budget.search),
            "learning_rate": 5e-3,
            "noise": "per_dim",
            "prior": WganGp.small(budget),
        }

    def __post_init__(self) -> None:
        if min(self.episodes, self.batch_size, self.replay, self.start_after, self.hidden) < 1:
            raise ValueError("needs episodes, batch_size, replay, start_after and hidden >= 1")
        if self.start_after >= self.replay:
            raise ValueError(f"needs start_after < replay, or no agent ever learns: {self.start_after}, {self.replay}")
        if self.learning_rate <= 0 or min(self.score_weight, self.margin_weight) < 0:
            raise ValueError("needs learning_rate > 0, score_weight >= 0 and margin_weight >= 0")

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
    def queries(self, *, reconstructions: int, identities: int) -> int:
        return 2 * self.episodes * reconstructions

    @override
    def reconstruct(self, handle: TargetHandle, inputs: Inputs, task: Task) -> Reconstructions:
        networks = self.prior.load(inputs.path("prior"), task.resolution_px, handle.n_classes, task.device)
        generator = networks["generator"].to(memory_format=torch.channels_last)
        pairs = list(zip(task.labels.tolist(), task.restarts.tolist(), strict=True))

        def part_of(begin: int, end: int) -> tuple[Tensor, Tensor, Tensor, Traces | None]:
            with share(begin / len(pairs), end / len(pairs)):
                return self._learn(handle, generator, pairs[begin:end], task)

        parts = in_parts(len(pairs), self.agents_at_once(generator, handle.n_classes, task), handle, part_of)
        images, found, latents = (torch.cat(each).cpu() for each in zip(*(part[:3] for part in parts), strict=True))
        if task.kept_px is not None:
            images = _larger(images, generator.showing(task.kept_px), latents, task.device)  # type: ignore[operator]
        traits, traces = known_traits(generator, latents), Traces.joined(part[3] for part in parts)
        return Reconstructions(images, task.labels, task.restarts, found, traits, traces)

    def agents_at_once(self, generator: nn.Module, n_classes: int, task: Task) -> int:
        """Agents that learn together: `CHUNK` on a CPU, on a GPU as many as its free memory holds."""
        if task.device == "cpu":
            return CHUNK
        dim = int(generator.latent_dim)  # type: ignore[arg-type]
        remembered = min(self.episodes, self.replay) * (2 * dim + 1)
        weights = 2 * self.hidden * (self.hidden + 2) + (5 * self.hidden + 2) * dim + self.hidden + 1
        seen = self.batch_size * (4 * self.hidden + 8 * dim)
        asked = 2 * (DRAWN * int(getattr(generator, "largest_feature", 0)) + 3 * task.resolution_px**2 + n_classes)
        return at_once_in_free_memory(4 * (remembered + LEARNED * weights + BOTH_WAYS * seen + asked), task.device)

    def _learn(
        self, handle: TargetHandle, generator: nn.Module, pairs: Sequence[tuple[int, int]], task: Task
    ) -> tuple[Tensor, Tensor, Tensor, Traces | None]:
        """The surest image of each pair [A, 3, R, R], whether the target labels it right [A], its latent [A, Z], and
        the course."""
        from midef.attacks.latent_search.recording import Recorder
        from midef.attacks.latent_search.streams import RowStreams
        from midef.attacks.rl.sac import Agents, Replay

        seeds = [derive_seed("rlb", task.seed, *pair) for pair in pairs]
        labels = torch.tensor([label for label, _ in pairs], device=task.device)
        dim, rows = int(generator.latent_dim), len(pairs)  # type: ignore[arg-type]
        streams = RowStreams(seeds, task.device)
        agents = Agents(
            seeds,
            streams,
            dim=dim,
            hidden=self.hidden,
            learning_rate=self.learning_rate,
            noise=self.noise,
            device=task.device,
        )
        recorder = Recorder(pairs, self.episodes, first=1)
        replay = Replay(rows, min(self.episodes, self.replay), dim, task.device)

        states = streams.normal(dim)
        actions = agents.act(states)
        _, scores = self._ask(handle, generator, actions, task)
        best = torch.zeros(rows, 3, task.resolution_px, task.resolution_px, device=task.device)
        latents = torch.zeros_like(actions)
        surest = torch.zeros(rows, device=task.device)
        found = torch.zeros(rows, dtype=torch.bool, device=task.device)
        for episode in steps(range(1, self.episodes + 1)):  # in step
            replay.add(states, actions, self.reward(scores, labels))
            if len(replay) > self.start_after:
                agents.update(*replay.sample(streams.uniform(self.batch_size)))
            # The actor stays as it is until the next action is paid: one question serves this test and that action.
            asked = [agents.act(streams.normal(dim))]
            if episode < self.episodes:
                states = streams.normal(dim)
                actions = agents.act(states)
                asked.append(actions)
            images, answers = self._ask(handle, generator, torch.cat(asked), task)
            tests, scores = answers[:rows], answers[rows:]
            of_label = tests.gather(1, labels[:, None]).squeeze(1)
            recorder.gather(loss=-self.reward(tests, labels), confidence=of_label)
            if recorder.wants(episode):
                recorder.record(episode, **recorder.gathered())
            surer = of_label >= surest
            surest = torch.where(surer, of_label, surest)
            best = torch.where(surer[:, None, None, None], images[:rows], best)
            latents = torch.where(surer[:, None], asked[0], latents)
            found = torch.where(surer, tests.argmax(dim=1) == labels, found)
        lost = ~torch.isfinite(of_label)  # an agent whose networks diverged; what it found before would hide it
        return torch.where(lost[:, None, None, None], torch.nan, best), found, latents, recorder.traces()

    def _ask(self, handle: TargetHandle, generator: nn.Module, latents: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        """Images [N, 3, R, R] of latents [N, Z], and their served scores [N, K], both float32."""
        at_once = drawn_at_once(2 * CHUNK if task.device == "cpu" else len(latents), generator)
        with torch.no_grad(), autocast(self.precision, task.device):
            images = torch.cat([generator(part) for part in latents.split(at_once)]).float()
            return images, handle.scores(images)

    def reward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Reward of each agent [A] for the served scores [A, K] of its image; larger is better, 0 the most."""
        of_label = scores.gather(1, labels[:, None])
        others = scores.scatter(1, labels[:, None], 0.0).amax(dim=1, keepdim=True)
        margin = (of_label - others).clamp(min=SMALLEST_MARGIN)
        paid = self.score_weight * of_label.clamp(min=SMALLEST_SCORE).log() + self.margin_weight * margin.log()
        return paid.squeeze(1)


def _larger(images: Tensor, generator: nn.Module, latents: Tensor, device: str) -> Tensor:
    """Images of latents as this generator shows them; NaN those that are it among `images`, of the same latents."""
    with torch.no_grad():
        parts = latents.split(drawn_at_once(CHUNK, generator))
        drawn = torch.cat([generator(part.to(device)).cpu() for part in parts])
    return nan_where(not_finite_rows([images]), drawn)
