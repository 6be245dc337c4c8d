"""KedMI's discriminator, which sees an image and its neighbours in the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from midef.nn.doubling import KERNEL_DIMS, KERNELS, minibatch_channels


class MinibatchDiscriminator(nn.Module):
    """Images [B, 3, R, R] -> features [B, F] and one logit per class [B, K]; "not real" has no logit, it counts as 0.

    Strided convolutions k5, the last k3, each with InstanceNorm and LeakyReLU 0.2, down to 4 px; channels double from
    width to 4 * width, and stay there: F = 4096 from 64 px on at width 64. The head also sees how near each image is to
    the others of its batch, see `nearness`. 18,888,936 parameters at 64 px, width 64, 1000 classes; 22,167,272 at 256.

    As with BatchNorm, images depend on each other in train mode only; in eval mode each is judged as if it were alone,
    with a nearness of 0. The projection starts so large that different images are never near: it is 0 anyway.
    """

    def __init__(self, n_classes: int, resolution_px: int, width: int) -> None:
        super().__init__()
        channels = minibatch_channels(resolution_px, width)
        layers: list[nn.Module] = []
        c_in = 3
        for i, c_out in enumerate(channels, 1):
            kernel = 3 if i == len(channels) else 5
            layers += [
                nn.Conv2d(c_in, c_out, kernel, 2, kernel // 2),
                nn.InstanceNorm2d(c_out, affine=True),
                nn.LeakyReLU(0.2),
            ]
            c_in = c_out
        self.trunk = nn.Sequential(*layers)
        self.projection = nn.Parameter(torch.randn(c_in * 16, KERNELS * KERNEL_DIMS))
        self.head = nn.Linear(c_in * 16 + KERNELS, n_classes)

    @override
    def forward(self, images: Tensor, groups: int = 1) -> tuple[Tensor, Tensor]:
        """Features and logits of the images.

        Args:
            groups: the images are so many batches of equal size, one after the other, that do not see each other.
        """
        features = self.trunk(images).flatten(1)
        if self.training:
            projected = (features @ self.projection).view(groups, len(images) // groups, KERNELS, KERNEL_DIMS)
            near = nearness(projected).flatten(0, 1)
        else:
            near = features.new_zeros(len(images), KERNELS)
        return features, self.head(torch.cat([features, near], dim=1))


def nearness(projected: Tensor) -> Tensor:
    """How near each row is to the other rows, in each kernel b: o_ib = sum over j != i of exp(-|M_ib - M_jb|_1).

    Args:
        projected: M [..., B, kernels, dims]; batches along the leading dimensions do not see each other.

    Returns:
        [..., B, kernels], between 0 (far from all, or alone) and B - 1 (all rows are the same).
    """
    by_kernel = projected.transpose(-3, -2).contiguous()
    # cdist holds B x B numbers per kernel, the differences themselves would be `dims` times as many
    near: Tensor = torch.cdist(by_kernel, by_kernel, p=1).neg().exp().sum(dim=-1) - 1
    return near.transpose(-2, -1)
