"""The suite of data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from typing_extensions import override

from midef.core import DataError, Registry
from midef.datasets import DATASETS, Dataset, Images, Splits
from midef.testing.suite import Contract

PX = 16


def content(part: Images) -> list[bytes]:
    """The images of a split, to be compared."""
    return [image.numpy().tobytes() for image in part.images]


def same(a: Splits, b: Splits) -> bool:
    """Whether all images and labels are equal."""
    return a.class_names == b.class_names and all(
        torch.equal(part.images, b.parts[name].images) and torch.equal(part.labels, b.parts[name].labels)
        for name, part in a.parts.items()
    )


class DatasetContract(Contract):
    """What every data set answers.

    Args:
        samples: for each title, name and parameters of a small data set whose images can be read here; they are asked
            for their images. What lies in files comes from a fixture `place`, which the subclass makes: where a
            parameter is text, `{place}` in it is replaced by it.
    """

    registry: ClassVar[Registry[Any]] = DATASETS
    samples: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {}

    @classmethod
    @override
    def cases(cls) -> Mapping[str, Sequence[Any]]:
        return {**super().cases(), "sample": list(cls.samples)}

    @classmethod
    @override
    def needed(cls, name: str) -> dict[str, Any]:
        without = [f for f in fields(DATASETS.get(name)) if f.default is MISSING and f.default_factory is MISSING]
        return {f.name: "nowhere" for f in without}

    @pytest.fixture(scope="session")
    @classmethod
    def place(cls) -> Path:
        """Where files of the samples lie."""
        return Path("nowhere")

    def make(self, sample: str, place: Path, **overrides: Any) -> Dataset:
        name, params = self.samples[sample]
        placed = {k: v.format(place=place) if isinstance(v, str) else v for k, v in params.items()}
        return DATASETS.make(name, {**placed, **overrides})

    # ---------------------------------------------------------------- what it says about itself

    def test_only_fields_that_say_where_files_lie_have_no_default(self, name: str) -> None:
        places = {f.name for f in fields(DATASETS.get(name)) if f.metadata.get("location")}
        assert set(self.needed(name)) <= places

    def test_documents_its_parameters(self, name: str) -> None:
        cls = DATASETS.get(name)
        doc = "".join(base.__doc__ or "" for base in cls.__mro__ if base is not Dataset and base is not object)
        missing = [f.name for f in fields(cls) if f.name not in doc]
        assert not missing, f"{name} does not say what {missing} mean"

    def test_missing_files_are_a_problem_said_early(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        dataset = DATASETS.make(name, self.needed(name))
        if not self.needed(name) and not dataset.problems():
            assert dataset.fingerprint() == "", "a dataset without files has nothing to hash"
            return
        assert dataset.problems() and all(name.split("_")[0] in problem for problem in dataset.problems())
        with pytest.raises(DataError):
            dataset.load(PX)

    # ---------------------------------------------------------------- images

    def test_splits_are_not_empty_and_share_no_image(self, sample: str, place: Path) -> None:
        parts = {name: content(part) for name, part in self.make(sample, place).load(PX).parts.items()}
        everything = [image for images in parts.values() for image in images]
        assert parts.keys() == {"train", "select", "report"} and all(parts.values())
        assert len(set(everything)) == len(everything)

    def test_images_are_eight_bit_colour_of_the_size_asked_for(self, sample: str, place: Path) -> None:
        for px in (PX, 24):
            for part in self.make(sample, place).load(px).parts.values():
                assert part.images.shape == (len(part), 3, px, px) and part.images.dtype == torch.uint8
                assert part.labels.dtype == torch.int64
                assert part.images.float().std() > 10, "they show something"

    def test_labels_are_the_positions_of_the_class_names_or_minus_one(self, sample: str, place: Path) -> None:
        dataset = self.make(sample, place)
        splits = dataset.load(PX)
        assert dataset.n_identities() == len(splits.class_names)
        for part in splits.parts.values():
            expected = set(range(len(splits.class_names))) if dataset.is_labelled else {-1}
            assert set(part.labels.tolist()) == expected
        assert bool(splits.class_names) == dataset.is_labelled

    def test_loading_twice_gives_the_same_whatever_the_global_generators_say(self, sample: str, place: Path) -> None:
        first = self.make(sample, place).load(PX)
        torch.manual_seed(123)
        np.random.seed(123)
        assert same(first, self.make(sample, place).load(PX))

    def test_another_seed_gives_other_splits(self, sample: str, place: Path) -> None:
        if "seed" not in {f.name for f in fields(DATASETS.get(self.samples[sample][0]))}:
            pytest.skip("its splits are given")
        assert not same(self.make(sample, place).load(PX), self.make(sample, place, seed=1).load(PX))

    def test_the_fingerprint_is_stable(self, sample: str, place: Path) -> None:
        dataset = self.make(sample, place)
        assert dataset.fingerprint() == self.make(sample, place).fingerprint() == dataset.card().fingerprint
        assert dataset.problems() == []

    def test_every_image_decodes_and_is_told_by_its_pixels(self, sample: str, place: Path) -> None:
        dataset = self.make(sample, place)
        assert dataset.examine().problems == ()
        if dataset.fingerprint():
            images = sum(map(len, dataset.load(PX).parts.values()))
            assert len(dataset.pixel_ids()) >= images, "each image has an id, equal for equal pixels alone"
        assert dataset.pixel_ids() == self.make(sample, place).pixel_ids()

    def test_a_formation_makes_images_of_its_identities(self, sample: str, place: Path) -> None:
        dataset = self.make(sample, place)
        formation, identities = dataset.formation(), dataset.identity_latents()
        assert (formation is None) == (identities is None), "it gives both, or neither"
        if formation is None or identities is None:
            return
        assert identities.shape[1] == formation.n_traits <= formation.latent_dim and np.isfinite(identities).all()
        latents = torch.randn(4, formation.latent_dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
        images = formation.images(latents, PX)
        assert images.shape == (4, 3, PX, PX) and images.min() >= 0 and images.max() <= 1
        (slopes,) = torch.autograd.grad(images.square().sum(), latents)
        assert slopes.isfinite().all() and (slopes[:, : formation.n_traits] != 0).any(dim=0).all()

    def test_identity_latents_are_in_the_order_of_the_labels(self, sample: str, place: Path) -> None:
        """Drawn without anything else that changes, people resemble their own images more than those of others."""
        dataset = self.make(sample, place)
        formation, identities = dataset.formation(), dataset.identity_latents()
        if formation is None or identities is None or not dataset.is_labelled:
            return
        train, people = dataset.load(PX).train, range(dataset.n_identities())
        assert len(identities) == len(people)
        latents = torch.zeros(len(people), formation.latent_dim)
        latents[:, : formation.n_traits] = torch.from_numpy(identities)
        drawn = formation.images(latents, PX).flatten(1)
        seen = torch.stack([train.images[train.labels == i].float().mean(dim=0) for i in people]).flatten(1) / 255
        alike = (drawn - drawn.mean(dim=0)) @ (seen - seen.mean(dim=0)).T
        own = alike.diagonal()
        assert own.mean() > (alike.sum() - own.sum()) / (alike.numel() - len(own)), "identities in another order"

    def test_the_card_says_what_a_reader_must_know(self, sample: str, place: Path) -> None:
        card, splits = self.make(sample, place).card(), self.make(sample, place).load(PX)
        assert card.title and card.licence and card.consent
        counts = dict(card.counts)
        assert all(isinstance(count, int) for count in counts.values())
        images = counts.get("images", sum(counts.get(name, 0) for name in splits.parts))
        assert images == sum(len(part) for part in splits.parts.values())
        if splits.class_names:
            assert counts["identities"] == len(splits.class_names)
