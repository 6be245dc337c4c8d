"""Attacks on single latents with another generator than their papers'."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from midef.attacks import ATTACKS, PRIORS
from midef.attacks.base import small_budget
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.renderer import Renderer
from midef.attacks.priors.wgan_gp import WganGp
from midef.attacks.target_handle import TargetHandle
from midef.core import Choice, Inputs, Recipe, SpecError
from midef.core.canonical import plain
from midef.defenses import Defense
from midef.nn.network import TargetModel
from midef.testing.attacks import PUBLIC, TARGET, TINY, public_set, public_splits, task_of, toy_target

ON_LATENTS = ("brep_mi", "gmi", "pool_search", "rlb_mi")


@pytest.fixture
def target() -> TargetModel:
    return toy_target()


def stored(requirements: dict[str, Recipe], folder: Path) -> Inputs:
    """What they name, made as the stage makes it."""

    def fetch(recipe: Recipe) -> Path:
        prior = PRIORS.remake(Choice(recipe.component, recipe.params["params"], recipe.version))
        torch.manual_seed(1)
        networks = prior.networks(32, 5)
        if isinstance(prior, Renderer):
            prior.fit(networks, public_splits(), FitContext(inputs=Inputs({}, fetch), public=public_set))
        (folder / recipe.component).mkdir(exist_ok=True)
        prior.store(networks, folder / recipe.component)
        return folder / recipe.component

    return Inputs(requirements, fetch)


@pytest.mark.parametrize("name", ON_LATENTS)
def test_the_papers_prior_is_keyed_and_labelled_as_where_no_other_could_stand_there(name: str) -> None:
    """The parameters of the WGAN-GP without a name, and a label without the prior: keys of stored results stay."""
    forms = [f"{name}(prior={{steps: 10}})", f"{name}(prior=wgan_gp(steps=10))", {"name": name, "prior": {"steps": 10}}]
    for choice in map(ATTACKS.choose, forms):  # type: ignore[arg-type]
        assert choice.params["prior"] == plain(WganGp(steps=10)) and "name" not in choice.params["prior"]
        assert choice.label == name
        recipe = ATTACKS.remake(choice).requires(target=TARGET, public=PUBLIC)["prior"]
        assert recipe == WganGp(steps=10).recipe(public=PUBLIC, target=TARGET)


@pytest.mark.parametrize("name", [*ON_LATENTS, "lomma_gmi"])
def test_the_renderer_is_taken_in_every_written_form(name: str) -> None:
    forms = [f"{name}(prior=renderer)", f"{name}(prior={{name: renderer}})", {"name": name, "prior": "renderer"},
             {"name": name, "prior": {"name": "renderer"}}]  # fmt: skip
    choices = [ATTACKS.choose(form) for form in forms]  # type: ignore[arg-type]
    for choice in choices:
        assert choice == choices[0] and choice.params["prior"] == {"name": "renderer"}
        assert choice.label == f"{name}(prior=renderer)" and ATTACKS.choose(choice.label) == choice
        assert ATTACKS.remake(Choice.from_plain(choice.keyed)).requires(target=TARGET, public=PUBLIC)[
            "prior"
        ] == Renderer().recipe(public=PUBLIC, target=TARGET)
    assert ATTACKS.choose(name) != choices[0]


@pytest.mark.parametrize("preset", ["gmi:kedmi", "gmi:orig", "lomma_gmi:lomma"])
def test_a_papers_setting_with_the_renderer_keeps_all_but_the_prior(preset: str) -> None:
    papers, other = ATTACKS.choose(preset), ATTACKS.choose(f"{preset}(prior=renderer)")
    assert other.params["prior"] == {"name": "renderer"}
    assert {**other.params, "prior": None} == {**papers.params, "prior": None}


def test_a_small_profile_gives_each_prior_its_own_budget() -> None:
    def budget(form: str) -> object:
        name, _, params = ATTACKS.parse(form)
        return small_budget(name, params, TINY)["prior"]

    assert budget("gmi") == budget("gmi(prior={seed: 3})") == budget("gmi(prior=wgan_gp)") == WganGp.small(TINY)
    assert budget("gmi(prior=renderer)") == {"name": "renderer"}


@pytest.mark.parametrize("name", ON_LATENTS)
@pytest.mark.parametrize("prior", ["students", "style_gan2", "plg_gan"])
def test_priors_without_single_latents_are_refused(name: str, prior: str) -> None:
    expected = f"prior '{prior}' cannot stand here: the attack searches single latents of a generator; give one of "
    with pytest.raises(SpecError, match=expected):
        ATTACKS.choose(f"{name}(prior={prior})")


@pytest.mark.parametrize("prior", ["renderer", {"name": "renderer"}], ids=str)
@pytest.mark.parametrize(("name", "word", "usual"), [("kedmi", "prior", "kedmi_gan"), ("vmi", "prior", "style_gan2"),
                                                     ("lokt", "surrogates", "lokt_surrogates")])  # fmt: skip
def test_an_attack_that_needs_its_own_prior_says_so(name: str, word: str, usual: str, prior: object) -> None:
    with pytest.raises(SpecError) as refused:
        ATTACKS.choose({"name": name, word: prior})
    (problem,) = refused.value.problems
    assert str(problem) == (
        f"attack '{name}', {word}: it cannot be exchanged by name, got {prior!r}; "
        f"give parameters of {usual} as a mapping"
    )


@pytest.mark.parametrize("name", ON_LATENTS)
def test_attacks_work_through_the_renderer_and_know_the_traits(name: str, target: TargetModel, tmp_path: Path) -> None:
    params = {**ATTACKS.get(name).small(TINY), "prior": "renderer"}
    attack = ATTACKS.make(name, params)
    inputs = stored(dict(attack.requires(target=TARGET, public=PUBLIC)), tmp_path)
    task = task_of([0, 3])
    found = attack.reconstruct(TargetHandle(target, Defense(), attack.access), inputs, task)
    assert found.images.shape == (4, 3, 32, 32) and found.images.isfinite().all()
    assert found.traits is not None and found.traits.shape == (4, 24)
    formation = public_set().formation()
    assert formation is not None
    latents = torch.zeros(4, formation.latent_dim)
    latents[:, :24] = found.traits
    geometry, colours = formation.images(latents, 32), found.images
    others = geometry.roll(1, dims=0)
    assert (geometry - colours).square().mean() < (others - colours).square().mean(), "traits of other images"


def test_gmi_without_a_critic_is_led_by_the_target_alone(target: TargetModel, tmp_path: Path) -> None:
    """The term of the critic is left out."""
    attack = ATTACKS.make("gmi", {"iterations": 1, "prior": "renderer"})
    inputs = stored(dict(attack.requires(target=TARGET, public=PUBLIC)), tmp_path)
    networks = attack.priors["prior"].load(inputs.path("prior"), 32, 5, "cpu")  # type: ignore[attr-defined]
    images = torch.rand(2, 3, 32, 32)
    assert attack.prior_loss(networks, images) is None  # type: ignore[attr-defined]
    critic = WganGp(width=4).networks(32, 0)
    assert attack.prior_loss(critic, images).shape == (2,)  # type: ignore[attr-defined]
