"""GPU-hours of work that no GPU did yet: operations, at rates that published trainings reached, or at this GPU's.

No torch, but for the probe.
"""

from __future__ import annotations

from dataclasses import dataclass

from midef.sweep.planning.estimate import NODE_S, Work


@dataclass(frozen=True)
class GpuRates:
    """Billion operations a second.

    Args:
        low: at which hours are the fewest.
        expected: in between.
        worst: at which hours are the most.
        what: the GPU and where the rates come from, for a person.
    """

    low: float
    expected: float
    worst: float
    what: str

    def seconds(self, work: Work) -> tuple[float, float, float]:
        """Seconds of a node, (low, expected, worst)."""
        low, expected, worst = (NODE_S + work.other_s + work.gflop / rate for rate in self._each)
        return low, expected, worst

    @property
    def _each(self) -> tuple[float, float, float]:
        return self.low, self.expected, self.worst

    def scaled(self, probed: float, what: str) -> GpuRates:
        """The same range around the rate of a probe, which does what the fastest of the reference did.

        Args:
            probed: billion operations a second.
        """
        factor = probed / self.low
        return GpuRates(self.low * factor, self.expected * factor, self.worst * factor, what)


# The TL-DMI paper's seconds on an RTX A5000: 200 epochs of 27,018 images through VGG16 in 2,122 s, 100 through IR152 in
# 6,019 s, 200 through FaceNet64 in batches of 8 in 16,344 s; three passes of 2.51, 8.04 and 4.12 billion operations.
REFERENCE = GpuRates(
    19_200.0,
    10_800.0,
    4_100.0,
    "an NVIDIA RTX A5000 (fastest, middle and slowest of three published trainings)",
)


@dataclass(frozen=True)
class Probe:
    """What a few seconds of a network on a device showed.

    Args:
        gflop_s: billion operations a second.
        device: by name.
        on_gpu: whether that is a GPU.
    """

    gflop_s: float
    device: str
    on_gpu: bool

    @property
    def text(self) -> str:
        return f"{self.gflop_s:,.0f} GFLOP/s in training steps of VGG16 at 64 px on {self.device}"

    def rates(self) -> GpuRates:
        """Rates of this GPU; the reference's where there is none."""
        return REFERENCE.scaled(self.gflop_s, f"{self.device}, probed: {self.text}") if self.on_gpu else REFERENCE


def probe(seconds: float = 2.0, device: str = "") -> Probe:
    """Measure training steps of VGG16 at 64 px, in batches of 64 on a GPU and of 4 without.

    Args:
        seconds: of steps that are timed, after two that warm up; one step at least.
        device: `cuda` where there is a GPU unless another one is given.
    """
    import time

    import torch

    from midef.models import ARCHITECTURES
    from midef.stages.build import device_name

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.startswith("cuda")
    architecture, batch = ARCHITECTURES.make("vgg16"), 64 if on_gpu else 4
    model = architecture.build(100, 64).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = torch.rand(batch, 3, 64, 64, device=device), torch.arange(batch, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images).logits, labels).backward()
        optimizer.step()

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize(device)
        return time.monotonic() if on_gpu else time.process_time()

    for _ in range(2):
        step()
    start, steps = now(), 0
    while not steps or now() - start < seconds:
        step()
        steps += 1
    operations = 3 * architecture.gflop(64) * batch * steps
    return Probe(operations / max(1e-9, now() - start), device_name(device), on_gpu)
