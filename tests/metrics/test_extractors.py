"""Published extractors: the networks against their libraries, and what is said where a file is missing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from midef.core.errors import DataError, MissingWeights, NotApplicable
from midef.metrics import METRICS
from midef.metrics.base import extractors_of
from midef.metrics.extractors import EXTRACTORS
from midef.models.inception_v1 import InceptionV1
from midef.models.mobilefacenet import MobileFaceNet
from midef.nn.inception_fid import InceptionFid, _trunk
from midef.stages.scores import measure
from midef.testing.metrics import evidence


@pytest.fixture(scope="module")
def inception() -> dict[str, torch.Tensor]:
    """Tensors as in the published file, at random, of a network whose answers are no noise."""
    with torch.device("meta"):
        names = {name: tensor.shape for name, tensor in _trunk().state_dict().items()}
    rng = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in names.items():
        if name.endswith("num_batches_tracked"):
            continue
        fan_in = max(1, int(np.prod(shape[1:])))
        drawn = torch.randn(shape, generator=rng) * (2 / fan_in) ** 0.5
        is_scale = name.endswith(("bn.weight", "running_var"))
        tensors[name] = torch.ones(shape) if is_scale else drawn if "conv" in name else torch.zeros(shape)
    return tensors | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


def test_the_network_of_fid_is_torch_fidelitys(inception: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path / "weights.pth"
    torch.save(inception, path)
    theirs = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(path))
    images = torch.randint(0, 256, (2, 3, 33, 33), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ours = InceptionFid(inception)
    with torch.no_grad():
        (expected,) = theirs(images)
        found = ours(images.float() / 255)
        stretched = InceptionFid(inception, range_of_ppa=True)(images.float() / 255)
    assert found.shape == (2, 2048) and expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (stretched - expected).abs().max() > 0.1 * expected.std(), "the range of PPA is another one"


def test_the_range_of_ppa_is_minus_three_to_one(inception: dict[str, torch.Tensor]) -> None:
    network = InceptionFid(inception, range_of_ppa=True)
    seen: list[torch.Tensor] = []
    network.trunk.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(torch.stack([torch.zeros(3, 20, 20), torch.ones(3, 20, 20)]))
    assert seen[0].shape[-1] == 299 and (
        seen[0][0].mean().item(),
        seen[0][1].mean().item(),
    ) == pytest.approx((-3, 1))


@pytest.mark.parametrize("missing", ["fc.bias", "Mixed_6a.branch3x3.conv.weight"])
def test_a_file_that_lacks_a_tensor_is_refused(inception: dict[str, torch.Tensor], missing: str) -> None:
    with pytest.raises(DataError, match=f"no weights of the Inception network of FID: .*{missing}"):
        InceptionFid({name: tensor for name, tensor in inception.items() if name != missing})


def test_a_file_of_another_network_is_refused_by_every_extractor() -> None:
    for extractor in EXTRACTORS:
        with pytest.raises(DataError, match="these are no weights of"):
            extractor().network({"layer.weight": torch.zeros(3)})


@pytest.mark.parametrize("name", [n for n in METRICS.names() if METRICS.get(n).extractors])
def test_a_metric_without_its_weights_is_refused_and_names_the_file(name: str) -> None:
    (entry,) = measure([name], replace(evidence(), extractors={}))
    (extractor,) = METRICS.get(name).extractors
    file = EXTRACTORS.get(extractor).file
    assert (entry["status"], entry["failure"], entry["value"]) == ("refused", "data", None)
    for words in (file.name, file.source, "$MIDEF_WEIGHTS"):
        assert words in entry["reason"]
    assert issubclass(MissingWeights, NotApplicable)


def test_the_standard_metrics_need_no_file() -> None:
    from midef.metrics import standard_metrics

    assert extractors_of(standard_metrics()) == []


def test_every_extractor_names_one_file_with_the_digits_that_are_published() -> None:
    for extractor in EXTRACTORS:
        digits = extractor.file.sha256
        assert len(digits) in (0, 8, 64) and set(digits) <= set(hashlib.sha256().hexdigest() + "0123456789abcdef")
        assert extractor.file.source.startswith(("https://", "github "))


def test_the_embedding_of_faces_is_that_of_the_judge() -> None:
    torch.manual_seed(0)
    model = MobileFaceNet().build(2, 112).eval()
    tensors = {MobileFaceNet.published.named(name): tensor for name, tensor in model.blocks.state_dict().items()}
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = EXTRACTORS.make("face_embedding").network(tensors)(images), model(images).features
    assert torch.equal(found, expected) and found.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_the_embedding_of_facenet_is_that_of_inception_v1_brought_to_length_one() -> None:
    torch.manual_seed(0)
    model = InceptionV1().build(2, 160).eval()
    for tensor in model.state_dict().values():
        if tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    tensors = {InceptionV1.published.named(name): tensor for name, tensor in model.blocks.state_dict().items()}
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    extractor = EXTRACTORS.make("facenet")
    network = extractor.network({**tensors, "logits.weight": torch.zeros(8631, 512)})
    with torch.no_grad():
        found, features = network(images), model(images).features
    torch.testing.assert_close(found, features / features.norm(dim=1, keepdim=True))
    assert extractor.resolution_px == 160 and not network.training
    assert extractor.gflop == pytest.approx(InceptionV1().gflop(160), rel=0.01)
