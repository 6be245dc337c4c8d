"""The prior `style_gan2` with published weights: what it reads, what it refuses, and what its key holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from midef.attacks.priors.networks.style_gan2 import StyleGenerator
from midef.attacks.priors.published.convert import convert
from midef.attacks.priors.published.files import PUBLISHED, file_of, read
from midef.attacks.priors.published.shape import StyleShape, shape_of_discriminator, shape_of_generator
from midef.attacks.priors.style_gan2 import StyleGan2
from midef.core import Inputs, Recipe
from midef.core.errors import DataError, PreflightError
from midef.stages import BuildContext
from midef.stages import prior as stage
from midef.storage import Store

Write = Callable[..., Path]
FFHQ = StyleGan2(weights="ffhq")
PUBLIC = Recipe("split", "synthetic_faces", {"resolution_px": 20})
TARGET = Recipe("target", "classifier", {"seed": 0})


@pytest.fixture
def folder(nvidia: Write, tmp_path: Path) -> Path:
    convert(nvidia(), tmp_path / "weights")
    return tmp_path / "weights"


def recipe() -> Recipe:
    return FFHQ.recipe(public=PUBLIC, target=TARGET)


def built(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """The artifact, built by the stage; it has no public images to look at."""
    made = tmp_path / "artifact"
    made.mkdir()

    def nothing(recipe: Recipe) -> Path:
        raise AssertionError("it looked at an input")

    return made, stage.build(
        recipe(), Inputs({}, nothing), BuildContext(store=Store.open(str(tmp_path / "store"))), made
    )


def test_the_artifact_draws_what_the_published_network_draws(
    folder: Path, networks: dict[str, nn.Module], tmp_path: Path
) -> None:
    made, facts = built(tmp_path)
    assert facts["queries"] == 0 and facts["weights"] == "ffhq" and "non-commercial" in facts["licence"]
    (folder / file_of("ffhq", "generator")).unlink()  # the artifact is enough
    loaded = FFHQ.load(made, 20, 0, "cpu")
    generator, original = loaded["generator"], networks["generator"]
    assert isinstance(generator, StyleGenerator) and isinstance(original, StyleGenerator)
    assert not any(p.requires_grad or n.training for n in loaded.values() for p in n.parameters())
    latents = torch.randn(2, 8)
    ws = original.styles(original.mapping(latents), 0.5, 4)
    assert torch.equal(
        generator.synthesis(generator.styles(generator.mapping(latents), 0.5, 4)), original.synthesis(ws)
    )
    images = original.synthesis(ws)
    assert torch.equal(loaded["discriminator"](images), networks["discriminator"](images))
    # 16 px of which 800/1024 are shown, 12.5: 12, and then 20
    assert generator(latents).shape == (2, 3, 20, 20)
    assert torch.equal(generator.view(images, 12), images[:, :, 2:14, 2:14])


def test_the_key_holds_the_files_and_no_public_images(folder: Path) -> None:
    first = recipe()
    assert first.inputs == {} and set(first.params["sha256"]) == {"generator", "discriminator"}
    other = FFHQ.recipe(public=Recipe("split", "celeba", {"resolution_px": 64}), target=TARGET)
    assert other.key == first.key
    assert StyleGan2(weights="ffhq", steps=7).recipe(public=PUBLIC, target=TARGET).key == first.key, "unused fields"
    path = folder / file_of("ffhq", "generator")
    state = load_file(path)
    save_file({**state, "mapping.w_avg": state["mapping.w_avg"] + 1}, path)
    assert recipe().key != first.key


def test_a_file_that_changed_after_the_plan_is_refused(folder: Path, tmp_path: Path) -> None:
    planned = recipe()
    path = folder / file_of("ffhq", "discriminator")
    save_file(load_file(path), path, metadata={"kind": "discriminator"})
    with pytest.raises(DataError, match="another file than the one the plan was made with; plan again"):
        FFHQ.given(planned, tmp_path)


def test_a_file_of_another_generator_under_this_name_is_refused(nvidia: Write, folder: Path, tmp_path: Path) -> None:
    convert(nvidia(), tmp_path / "other", "metfaces")
    for kind in ("generator", "discriminator"):
        (tmp_path / "other" / file_of("metfaces", kind)).rename(folder / file_of("ffhq", kind))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="holds metfaces, expected ffhq; give each file the name"):
        FFHQ.given(recipe(), tmp_path)


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (text,) = FFHQ.lacking()
    assert f"no file {file_of('ffhq', 'generator')} and {file_of('ffhq', 'discriminator')} in {tmp_path}" in text
    assert f"`midef convert ffhq.pkl {tmp_path / 'weights'}`" in text and "https://" in text and "License" in text
    assert StyleGan2().lacking() == []
    with pytest.raises(PreflightError, match="no file"):
        FFHQ.given(recipe(), tmp_path)


def test_no_file_is_missing_once_it_is_converted(folder: Path) -> None:
    assert folder.is_dir() and FFHQ.lacking() == []


def test_files_that_do_not_fit_are_refused(folder: Path) -> None:
    path = folder / file_of("ffhq", "generator")
    with pytest.raises(DataError, match="holds generator, expected a discriminator"):
        read(path, "discriminator")
    state, judged = load_file(path), folder / file_of("ffhq", "discriminator")
    save_file(state, path)
    with pytest.raises(DataError, match="holds no network we converted, expected a generator"):
        read(path, "generator")
    path.write_bytes(judged.read_bytes()[:100])
    with pytest.raises(DataError, match="was not written by `midef convert`, or is damaged"):
        read(path, "generator")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("mapping.fc1.bias"), "it misses mapping.fc1.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "it has extra"),
        (lambda s: s.update({"mapping.w_avg": torch.zeros(9)}), r"mapping.w_avg \(9 in place of 8\)"),
        (lambda s: s.update({"mapping.w_avg": torch.full((8,), torch.inf)}), "not finite"),
    ],
)
def test_every_name_and_shape_is_asked_for(folder: Path, change: Callable[[Any], None], words: str) -> None:
    from safetensors import safe_open

    path = folder / file_of("ffhq", "generator")
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, metadata=about)
    with pytest.raises(DataError, match=words):
        read(path, "generator")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("resolution_px", "0", "it draws 0 px, no power of two"),
        ("resolution_px", "-8", "it draws -8 px, no power of two"),
        ("resolution_px", "1048576", "it draws 1048576 px, more than 4096"),
        ("channel_base", "0", "its channel_base is 0, at least 16 is expected"),
        ("channel_max", "0", "its channel_max is 0, at least 1 is expected"),
        ("mapping_layers", "0", "its mapping_layers is 0, at least 1 is expected"),
        ("latent_dim", "none", "was not written by `midef convert`, or is damaged"),
        ("latent_dim", "9", "another shape of"),
    ],
)
def test_a_damaged_description_of_a_file_is_an_error_that_names_it(
    folder: Path, field: str, value: str, words: str
) -> None:
    from safetensors import safe_open

    path = folder / file_of("ffhq", "generator")
    with safe_open(path, framework="pt") as file:
        about = {**file.metadata(), field: value}
    save_file(load_file(path), path, metadata=about)
    with pytest.raises(DataError, match=words) as caught:
        read(path, "generator")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["mapping.w_avg", "synthesis.b8.torgb.weight"])
def test_a_tensor_without_sides_is_an_error(folder: Path, name: str) -> None:
    state = load_file(folder / file_of("ffhq", "generator"))
    state[name] = torch.tensor(1.0)
    with pytest.raises(DataError, match=rf"another shape is expected of {name} \(one number\); fetch the file again"):
        shape_of_generator(state, None)
    judged = load_file(folder / file_of("ffhq", "discriminator"))
    judged["b4.conv.weight"] = torch.tensor(1.0)
    with pytest.raises(DataError, match=r"another shape is expected of b4\.conv\.weight \(one number\)"):
        shape_of_discriminator(judged, None, 4)


def test_filters_in_a_file_are_left_out(folder: Path) -> None:
    from safetensors import safe_open

    path = folder / file_of("ffhq", "generator")
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    extra = {"synthesis.b8.resample_filter": taps[:, None] * taps / 64}
    save_file({**load_file(path), **extra}, path, metadata=about)
    assert "synthesis.b8.resample_filter" not in read(path, "generator")[1]


def test_a_published_one_has_a_shape_of_its_own() -> None:
    assert StyleGan2(weights="ffhq", latent_dim=64, steps=3).latent_dim == 512, "a small profile gives 64"
    assert FFHQ.problems(224) == [] and FFHQ.images_trained_on(1000) == 0
    with pytest.raises(DataError, match="no fresh networks"):
        FFHQ.networks(224, 0)


def test_every_published_one_is_a_preset() -> None:
    for name in PUBLISHED:
        assert StyleGan2.presets[name] == {"weights": name}


def test_the_shape_in_the_metadata_of_a_file_is_exact() -> None:
    for shape in (
        StyleShape(resolution_px=1024, channel_base=1_048_577, channel_max=1024, conv_clamp=256.0, latent_dim=512),
        StyleShape(resolution_px=8, channel_base=64, channel_max=8, conv_clamp=1 / 3, group=4),
        StyleShape(resolution_px=8, channel_base=64, channel_max=8),
    ):
        assert StyleShape.of_metadata(shape.metadata()) == shape
    old = {**StyleShape(resolution_px=8, channel_base=64, channel_max=8).metadata(), "conv_clamp": "256"}
    assert StyleShape.of_metadata(old).conv_clamp == 256
