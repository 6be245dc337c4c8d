"""The hooks a defense may override. Every hook starts as "no change"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from midef.core.choice import Choice
from midef.core.in_step import in_step
from midef.core.recipe import Recipe
from midef.core.registry import Registry
from midef.defenses.tuning import NotTuned, Tuning

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from midef.core.recipe import Inputs
    from midef.defenses.serving import Query, Served
    from midef.defenses.training_state import TrainingFacts, TrainingState
    from midef.models.base import ModelFacts
    from midef.nn.network import Forward, TargetModel

DEFENSES: Registry[Defense] = Registry("defense", "midef.defenses")

OWNED_SLOTS: Mapping[str, str] = {
    "criterion": "the criterion",
    "prepare_head": "the head",
    "training_state": "the training step",
}
"""Hooks only one defense of a stack may override, and what a person calls them."""

TRAINING_HOOKS = (
    *("prepare_model", "prepare_head", "training_state", "images_of_epoch", "transform_batch"),
    *("criterion", "penalties", "requires", "training_overrides", "ends_at"),
)
"""Hooks that change the trained network; a defense that overrides none of them acts on answers alone."""

STACK = "stack"
"""The name of a choice that is made of several defenses."""

PHASE_ONE = "phase_one"
"""Role of the target whose trained network a defense starts from, structure included."""


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Args:
        images: [B, 3, H, W] float32 in [0, 1].
        labels: [B] int64.
        indices: [B] positions in the train split, the same in every epoch, for defenses that remember an image.
        mixed_labels: [B] int64, of what was mixed into each image; None where nothing is mixed.
        mixed_share: [B] in [0, 1], its share of the pixels.
        train_images: size of the train split, above all indices; None where nobody said it.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    mixed_labels: Tensor | None = None
    mixed_share: Tensor | None = None
    train_images: int | None = None

    def with_images(self, images: Tensor) -> Batch:
        return replace(self, images=images)


@dataclass(frozen=True, kw_only=True)
class Defense:
    """Base of all defenses: a frozen dataclass that overrides only what its paper changes.

    Hooks get `progress`, the fraction of training done (0 to below 1), so that a short run still runs the method.
    Learnable parts live in the model, so they are saved with it; what only the training needs lives in a
    `TrainingState`.

    Args:
        small: parameters it needs to act on a small fresh network in a short training, where its defaults do not.
        tuning: the strength that accuracy matching searches, or why there is none.
        couples_images: whether the loss of an image depends on the others of its batch, so that it has no gradient
            of its own (DP-SGD needs one).
        training_work: of a training step, where an undefended one is 1; only for estimates of how long work takes.
        scales_skips: whether it changes skip connections, which one defense of a stack may.
        prepares_last: whether its surgery must see that of all others.
        has_phase_one: whether it always starts from a network that private images have trained.
        needs_unseen: why it means nothing on such a network, "" if it does.
        takes_gradients: whether it differentiates to answer, so that its answers cannot be compiled.
        is_of_the_data: whether its changes of a batch are part of the data that the others of its stack are given, so
            that they come before theirs.
        published_ms: milliseconds to answer a query that its paper gives, by data set; ours are measured elsewhere.
    """

    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    acts_on: ClassVar[str] = ""
    small: ClassVar[Mapping[str, Any]] = {}
    tuning: ClassVar[Tuning | NotTuned] = NotTuned("it declares none")
    couples_images: ClassVar[bool] = False
    training_work: ClassVar[float] = 1.0
    scales_skips: ClassVar[bool] = False
    prepares_last: ClassVar[bool] = False
    has_phase_one: ClassVar[bool] = False
    needs_unseen: ClassVar[str] = ""
    takes_gradients: ClassVar[bool] = False
    is_of_the_data: ClassVar[bool] = False
    published_ms: ClassVar[Mapping[str, float]] = {}

    @property
    def images_per_identity(self) -> int:
        """Above 0, training batches hold this many images of each drawn identity (the sampler BiDO needs)."""
        return 0

    @property
    def starts_from_private(self) -> bool:
        """Whether, with these parameters, it starts from a network that private images have trained."""
        return self.has_phase_one

    @property
    def ends_at(self) -> float:
        """Fraction of training after which it ends, above 0, at most 1; schedules run as if it went on."""
        return 1.0

    @property
    def trains(self) -> bool:
        """Whether the network is trained after its surgery; otherwise it stays as the surgery leaves it."""
        return True

    def tuned_by(self) -> Tuning | NotTuned:
        """The strength to search given the other parameters, or why there is none."""
        return self.tuning

    def tuned_on(self, facts: ModelFacts) -> Tuning | NotTuned:
        """The strength to search on this network, where its range depends on it."""
        return self.tuned_by()

    def parts(self) -> tuple[Defense, ...]:
        """The defenses it is made of; itself, unless it is a stack."""
        return (self,)

    def facts_after(self, facts: ModelFacts) -> ModelFacts:
        """The facts of the network once this defense has prepared it."""
        return facts

    def taps(self, facts: ModelFacts) -> tuple[str, ...]:
        """Blocks whose outputs `criterion` and `penalties` want to see (`CODE` is what the head computes inside).

        Args:
            facts: of the network as the others of its stack prepare it.
        """
        return ()

    def requires(self, undefended: Recipe) -> Mapping[str, Recipe]:
        """Recipes it starts from, by role. `undefended` is the same target, same seed, without this defense.

        In a stack it is the target under the others: they defend its first phase too.
        """
        return {}

    def second_phase(self) -> Defense:
        """The defense whose surgery is still to be done on the network of phase one."""
        return self

    def problems(self, facts: ModelFacts) -> list[str]:
        """Why it cannot work on this architecture; each a sentence with what to do.

        Args:
            facts: of the network as the others of its stack prepare it.
        """
        return []

    def training_overrides(self, training: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fields of the training recipe this defense's paper sets itself, given the recipe as it would be."""
        return {}

    def prepare_model(self, model: TargetModel, inputs: Inputs) -> TargetModel:
        """Surgery and freezing. Called once before training and once before loading stored weights."""
        return model

    def prepare_head(self, head: nn.Module) -> nn.Module:
        """Another head on the same features; called after every `prepare_model`."""
        return head

    def draws_in_layers(self) -> bool:
        """Whether layers that it adds, or its loss, draw random numbers while training, as dropout does.

        Several processes would then draw other numbers than one: they do not train it together. `transform_batch` has a
        generator that is alike in all of them. A defense that changes the network is taken to draw until it says
        otherwise.
        """
        mine = type(self)
        return (mine.prepare_model, mine.prepare_head) != (Defense.prepare_model, Defense.prepare_head)

    def training_state(self, model: TargetModel, facts: TrainingFacts) -> TrainingState | None:
        """State of the training beside the network: an optimizer, batches, networks that learn too."""
        return None

    def images_of_epoch(self, labels: Tensor, rng: Generator) -> Tensor | None:
        """Positions among `labels` [N] that this epoch trains on; None keeps all."""
        return None

    @in_step
    def transform_batch(self, batch: Batch, progress: float, rng: Generator) -> Batch:
        """Change images or labels of a training batch, after augmentation. Keeps shapes and the range [0, 1]."""
        return batch

    @in_step
    def criterion(self, forward: Forward, batch: Batch, progress: float) -> Tensor | None:
        """Replaces cross entropy (a scalar); None keeps it."""
        return None

    @in_step
    def penalties(self, forward: Forward, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named scalars that are added to the loss."""
        return {}

    # What an attacker planted in the training data.

    @property
    def planted_label(self) -> int | None:
        """The class that training images with a trigger were labelled as; None where there is no trigger."""
        return None

    def triggered(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] with that trigger; as they are where there is none."""
        return images

    # Answers to queries. White-box attackers never see them.

    @property
    def changes_answers(self) -> bool:
        """Whether it overrides `answer`."""
        return type(self).answer is not Defense.answer

    @property
    def acts_on_training(self) -> bool:
        """Whether it overrides a hook that changes the trained network."""
        return any(getattr(type(self), hook) is not getattr(Defense, hook) for hook in TRAINING_HOOKS)

    @property
    def keeps_labels(self) -> bool:
        """True where the largest of each answer is the class the network predicts, exactly: accuracy is the network's.

        Otherwise the accuracy of the target is measured through its answers.
        """
        return not self.changes_answers

    @property
    def answers_jointly(self) -> bool:
        """True where an answer depends on the images asked about in the same call."""
        return False

    @property
    def answer_budget(self) -> float | None:
        """Largest L2 distance of an answer from what it was given; None where it has no bound of its own."""
        return None

    def serving(self, behind: Recipe, public: Recipe | None) -> Mapping[str, Recipe]:
        """Recipes that its answers need, by role. A defense with some changes nothing of the training.

        Args:
            behind: the target whose answers it changes: under the others of its stack that train, and those that answer
                before it.
            public: images that the defender may take his own data from; None where none are known.
        """
        return {}

    def answer_state(self, served: Served) -> Any:
        """What `answer` needs beside the query, such as networks; made once, when the first query comes."""
        return None

    def answer(self, query: Query, state: Any) -> Tensor:
        """Served probabilities [B, K] for those of the query; rows are at least 0 and sum to 1.

        It is called without gradients and may take some (`torch.enable_grad`). What it draws it draws from the streams
        of the query, so that the same image gets the same answer.

        Args:
            state: from `answer_state`.
        """
        return query.probabilities

    def off(self) -> Self:
        """This defense at a strength that changes nothing: training equals the undefended training."""
        raise NotImplementedError

    @classmethod
    def owned_slots(cls) -> frozenset[str]:
        """The exclusive hooks it overrides."""
        return frozenset(s for s in OWNED_SLOTS if getattr(cls, s) is not getattr(Defense, s))

    @classmethod
    def clash_with(cls, other: type[Defense]) -> str | None:
        """Why the two cannot be in one stack, whatever their parameters; None if they can."""
        if cls is not other and cls.scales_skips and other.scales_skips:
            return "both scale the same skip connections"
        if cls.needs_unseen and other.has_phase_one:
            return cls.needs_unseen
        shared = sorted(cls.owned_slots() & other.owned_slots())
        return f"both replace {' and '.join(OWNED_SLOTS[s] for s in shared)}" if shared else None


def defended_as(target: Recipe, *defenses: Defense) -> Recipe:
    """The same target under these registered defenses, on top of the one it has."""
    earlier = Choice.from_plain(target.params["defense"])
    members = [] if earlier.name == "none" else earlier.params["members"] if earlier.name == STACK else [earlier.keyed]
    members = [*members, *(DEFENSES.describe(defense).keyed for defense in defenses)]
    chosen = members[0] if len(members) == 1 else Choice(STACK, {"members": members}).keyed
    inputs = dict(target.inputs)
    for defense in defenses:
        inputs |= defense.requires(target)
    return Recipe(target.kind, target.component, {**target.params, "defense": chosen}, inputs, target.version)
