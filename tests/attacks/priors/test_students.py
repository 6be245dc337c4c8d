"""Students: their shapes, what they are taught, the target's statistics, and published weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from typing_extensions import override

from midef.attacks import AccessLevel
from midef.attacks.priors.base import FitContext
from midef.attacks.priors.families.classifiers import family_problems
from midef.attacks.priors.networks.students import FeatureStatistics, TinyStudent, build_student, start_from_
from midef.attacks.priors.students import Students
from midef.attacks.target_handle import TargetHandle
from midef.core import AccessError, DataError, Inputs, PreflightError, SpecError
from midef.datasets import Images, Splits
from midef.defenses import Defense
from midef.defenses.serving import Query
from midef.nn.network import TargetModel
from midef.training.generative.loop import TrainingRun

MACS = Path(__file__).parents[2] / "models" / "macs.py"
count_macs: Callable[..., int] = run_path(str(MACS))["count_macs"]

PX, CLASSES, FEATURES = 16, 5, 12
TINY: dict[str, Any] = {"family": "cnn_tiny", "weights": "none", "epochs": 1, "batch_size": 4}

# Mult-adds of one 64 px image in units of 1e9, from the layers' shapes alone; numbers the DenseNets' heads see.
PUBLISHED = [
    ("efficientnet", 0, "efficientnet_b0", 0.03, 1280, 1),
    ("efficientnet", 1, "efficientnet_b1", 0.05, 1280, 1),
    ("efficientnet", 2, "efficientnet_b2", 0.06, 1408, 1),
    ("densenet", 0, "densenet121", 0.23, 1024, 4),
    ("densenet", 1, "densenet161", 0.64, 2208, 4),
    ("densenet", 2, "densenet169", 0.28, 1664, 4),
]
every_published = pytest.mark.parametrize(
    ("family", "index", "name", "giga", "features", "places"), PUBLISHED, ids=[row[2] for row in PUBLISHED]
)


# ---------------------------------------------------------------- the networks


@every_published
def test_a_student_is_torchvision_s_trunk_and_a_new_head(
    family: str, index: int, name: str, giga: float, features: int, places: int
) -> None:
    with torch.device("meta"):
        student = build_student(family, index, 64, 1000)
    assert head_of(student).shape == (1000, features * places)
    published = get_model_weights(name)["IMAGENET1K_V1"].meta["num_params"]
    trunk, head = published - 1000 * (features + 1), 1000 * (features * places + 1)
    assert sum(p.numel() for p in student.parameters()) == trunk + head
    assert count_macs(student, torch.zeros(1, 3, 64, 64, device="meta")) / 1e9 == pytest.approx(giga, abs=0.0065)


def head_of(student: nn.Module) -> Tensor:
    return student.get_parameter("head.weight").detach()


def seen_by_the_head(student: nn.Module, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    student.get_submodule("head").register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        student.eval()(images)
    return seen[0]


def test_a_densenet_s_head_sees_the_flat_map_without_relu() -> None:
    torch.manual_seed(0)
    student, images = build_student("densenet", 0, 64, CLASSES), torch.rand(2, 3, 64, 64)
    seen = seen_by_the_head(student, images)
    with torch.no_grad():
        assert torch.equal(seen, student.get_submodule("features")(images).flatten(1))
    assert seen.shape == (2, 4096) and seen.min() < 0


def test_an_efficientnet_s_head_sees_the_mean_of_the_map_without_dropout() -> None:
    torch.manual_seed(0)
    student, images = build_student("efficientnet", 0, 64, CLASSES), torch.rand(2, 3, 64, 64)
    seen = seen_by_the_head(student, images)
    with torch.no_grad():
        assert torch.allclose(seen, student.get_submodule("features")(images).mean(dim=(2, 3)))
    assert not any(isinstance(module, nn.Dropout) for module in student.modules())


def test_tiny_students_are_three_different_networks() -> None:
    shapes = set()
    for index in range(3):
        student = build_student("cnn_tiny", index, PX, CLASSES)
        assert isinstance(student, TinyStudent)
        assert student(torch.rand(4, 3, PX, PX)).shape == (4, CLASSES)
        shapes.add(tuple(p.shape for p in student.parameters()))
    assert len(shapes) == 3


# ---------------------------------------------------------------- statistics


def test_statistics_are_those_of_each_feature_over_the_images() -> None:
    features = torch.randn(30, FEATURES, generator=torch.Generator().manual_seed(0)) * 3 + 1
    statistics = FeatureStatistics()
    statistics.measure_(features)
    for d, column in enumerate(features.T.tolist()):
        mean = sum(column) / 30
        assert statistics.mean[d].item() == pytest.approx(mean, abs=1e-5)
        assert statistics.std[d].item() == pytest.approx((sum((v - mean) ** 2 for v in column) / 30) ** 0.5, rel=1e-4)


def test_loaded_statistics_take_their_length_from_the_file(tmp_path: Path) -> None:
    measured = FeatureStatistics()
    measured.measure_(torch.randn(30, FEATURES))
    prior = Students(**TINY, count=1)
    networks = {**prior.networks(PX, CLASSES), "statistics": measured}
    for name, network in networks.items():
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / f"{name}.safetensors")
    loaded = prior.load(tmp_path, PX, CLASSES, "cpu")
    assert set(loaded) == {"student0", "statistics"}
    for name, value in measured.state_dict().items():
        assert value.shape == (FEATURES,) and torch.equal(loaded["statistics"].get_buffer(name), value)
    within = nn.ModuleDict({"inner": FeatureStatistics()})  # the name it has in a larger network does not matter
    within.load_state_dict({f"inner.{k}": v for k, v in measured.state_dict().items()})
    assert torch.equal(within.get_buffer("inner.mean"), measured.mean)


def test_loading_statistics_is_strict() -> None:
    with pytest.raises(RuntimeError, match=r"Missing key.*std"):
        FeatureStatistics().load_state_dict({"mean": torch.zeros(3)})


def test_fresh_statistics_fit_features_of_every_length() -> None:
    fresh, features = FeatureStatistics(), torch.randn(4, FEATURES)
    assert torch.equal((features - fresh.mean) / fresh.std, features)


# ---------------------------------------------------------------- what they are taught


class Deaf(Defense):
    """Serves the same to everybody: a white-box attacker does not ask through it."""

    @override
    def answer(self, query: Query, state: None) -> Tensor:
        return torch.full_like(query.probabilities, 1 / CLASSES)


@pytest.fixture
def target() -> TargetModel:
    torch.manual_seed(0)
    pixels = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX**2, FEATURES), nn.BatchNorm1d(FEATURES), nn.Dropout(0.5))
    model = TargetModel([("pixels", pixels)], nn.Linear(FEATURES, CLASSES), feature_dim=FEATURES, n_classes=CLASSES)
    return model.train()


def public() -> Splits:
    def part(n: int, seed: int) -> Images:
        rng = torch.Generator().manual_seed(seed)
        return Images(torch.randint(0, 256, (n, 3, PX, PX), generator=rng, dtype=torch.uint8), torch.full((n,), -1))

    return Splits(part(8, 0), part(3, 1), part(4, 2), ())


NO_INPUTS = Inputs({}, lambda recipe: Path())


@pytest.mark.parametrize("measured", [6, 15, 5050])
def test_students_learn_the_logits_of_all_public_images_asked_once(
    measured: int, target: TargetModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midef.attacks.target_handle.CHUNK", 4)
    taught: list[tuple[Tensor, Tensor]] = []
    seeds: list[int] = []

    prior = Students(**TINY, statistics_images=measured)

    def spy(student: nn.Module, images: Tensor, teacher: Tensor, settings: Any, run: TrainingRun) -> dict[str, float]:
        assert settings is prior
        taught.append((images, teacher))
        seeds.append(run.seed)
        return {"loss": 0.0}

    monkeypatch.setattr("midef.attacks.priors.students.fit_student", spy)
    handle = TargetHandle(target, Deaf(), AccessLevel.WHITE_BOX)
    networks = prior.networks(PX, CLASSES)
    facts = prior.fit(networks, public(), handle, FitContext(inputs=NO_INPUTS))
    images = torch.cat([part.images for part in public().parts.values()])
    with torch.no_grad():
        answer = target.eval()(images.float() / 255)
    assert handle.queries == 15 and len(taught) == 3 and len(set(seeds)) == 3
    for shown, logits in taught:
        assert torch.equal(shown, images) and torch.allclose(logits, answer.logits, atol=1e-5)
    features = answer.features[:measured]
    measured_there = networks["statistics"].state_dict()
    assert torch.allclose(measured_there["mean"], features.mean(0), atol=1e-5)
    assert torch.allclose(measured_there["std"], features.std(0, unbiased=False), atol=1e-5)
    assert set(facts) == {"student0_loss", "student1_loss", "student2_loss"}


def test_every_student_is_trained_and_says_so(target: TargetModel) -> None:
    prior = Students(**TINY, count=2)
    torch.manual_seed(0)
    networks = prior.networks(PX, CLASSES)
    before = {name: head_of(networks[name]).clone() for name in ("student0", "student1")}
    told: list[dict[str, Any]] = []
    handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
    prior.fit(networks, public(), handle, FitContext(inputs=NO_INPUTS, report=told.append))
    for name, weight in before.items():
        assert not torch.equal(head_of(networks[name]), weight)
    assert [fact["network"] for fact in told] == ["student0", "student1"]


def test_labels_alone_teach_no_student(target: TargetModel) -> None:
    handle = TargetHandle(target, Defense(), AccessLevel.SCORES)
    prior = Students(**TINY)
    with pytest.raises(AccessError, match="asked for 'run'"):
        prior.fit(prior.networks(PX, CLASSES), public(), handle, FitContext(inputs=NO_INPUTS))


# ---------------------------------------------------------------- published weights


def test_a_missing_file_is_an_error_before_the_target_is_asked(
    target: TargetModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    handle = TargetHandle(target, Defense(), AccessLevel.WHITE_BOX)
    prior = Students(count=1)
    with pytest.raises(PreflightError, match=r"no file efficientnet_b0\S+\.pth in .* or choose weights=none"):
        prior.fit(prior.networks(32, CLASSES), public(), handle, FitContext(inputs=NO_INPUTS))
    assert handle.queries == 0


@pytest.mark.parametrize(("family", "name"), [("efficientnet", "efficientnet_b0"), ("densenet", "densenet121")])
def test_a_published_file_gives_the_trunk_and_leaves_the_head(
    family: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is stood in for by random numbers under the names that torchvision's old files have."""
    monkeypatch.setenv("MIDEF_WEIGHTS", str(tmp_path))
    file = tmp_path / str(get_model_weights(name)["IMAGENET1K_V1"].url).rpartition("/")[2]
    with torch.device("meta"):
        shapes = get_model(name, weights=None).state_dict()
        student = build_student(family, 0, 32, CLASSES)
    trunk = {k: torch.rand(v.shape).to(v.dtype) for k, v in shapes.items()}
    stored = {k: v for k, v in trunk.items() if family != "densenet" or "num_batches" not in k}
    if family == "densenet":
        for old in ("norm1", "norm2", "conv1", "conv2"):
            stored = {
                k.replace(f".{old}.", f".{old[:4]}.{old[4]}.") if "denselayer" in k else k: v for k, v in stored.items()
            }
        assert "features.denseblock1.denselayer1.norm.1.weight" in stored
    torch.save(stored, file)
    student.to_empty(device="cpu")
    nn.init.constant_(student.get_parameter("head.weight"), 7)
    with pytest.raises(DataError, match="is damaged or another file"):
        start_from_(student, family, 0, "imagenet")
    monkeypatch.setattr("midef.nn.named_file.sha256_of", lambda path: path.stem.rpartition("-")[2] + "00")
    start_from_(student, family, 0, "imagenet")
    for key, value in student.get_submodule("features").state_dict().items():
        assert "num_batches" in key or torch.equal(value, trunk[f"features.{key}"]), key
    assert (head_of(student) == 7).all()

    first = next(iter(stored))
    torch.save({**stored, first: torch.zeros(3), "features.more": torch.zeros(1)}, file)
    with pytest.raises(DataError, match=rf"does not hold the imagenet weights of {name}: it") as caught:
        start_from_(student, family, 0, "imagenet")
    own = first.removeprefix("features.").replace("norm.1", "norm1")
    assert f"has {own} with 3, " in str(caught.value) and "has more, which this network has not" in str(caught.value)


def test_tiny_students_have_no_published_weights() -> None:
    with pytest.raises(SpecError, match="cnn_tiny has no imagenet weights; choose weights=none"):
        start_from_(build_student("cnn_tiny", 0, PX, CLASSES), "cnn_tiny", 0, "imagenet")


@pytest.mark.parametrize(
    ("family", "weights", "resolution_px", "said"),
    [
        ("efficientnet", "imagenet", 64, []),
        ("densenet", "none", 32, []),
        ("cnn_tiny", "none", 8, []),
        ("cnn_tiny", "imagenet", 64, ["cnn_tiny has no imagenet weights; choose weights=none"]),
        ("densenet", "none", 16, ["densenet needs at least 32 px, not 16; choose family=cnn_tiny"]),
    ],
)
def test_says_why_students_cannot_work(family: Any, weights: Any, resolution_px: int, said: list[str]) -> None:
    assert family_problems(family, weights, resolution_px) == said
    assert Students(family=family, weights=weights).problems(resolution_px) == said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "needs 1 <= count <= 3"),
        ({"count": 4}, "needs 1 <= count <= 3"),
        ({"batch_size": 1}, "batch_size >= 2"),
        ({"temperature": 0.0}, "temperature and learning_rate > 0"),
        ({"momentum": 1.0}, "momentum < 1"),
    ],
    ids=str,
)
def test_refuses_what_cannot_be_trained(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Students(**wrong)


def test_defaults_are_the_published_ones() -> None:
    prior = Students()
    assert (prior.family, prior.count, prior.weights, prior.temperature) == ("efficientnet", 3, "imagenet", 1.0)
    assert (prior.epochs, prior.batch_size, prior.learning_rate) == (20, 64, 0.02)
    assert (prior.momentum, prior.weight_decay, prior.statistics_images) == (0.9, 1e-4, 5050)
