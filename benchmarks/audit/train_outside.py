"""A ResNet-18 trained without midef, as somebody else would: torchvision's, plain PyTorch, photographs or digits.

    python benchmarks/audit/train_outside.py --images lfw_private.zip --train lfw_private_train.txt --out outside
    python benchmarks/audit/train_outside.py --digits MNIST/raw --epochs 3 --out digits

Writes `checkpoint.pt` (an epoch, an optimizer, and tensors under the names that DataParallel gives them) and
`classes.txt`. The network of digits tells 0 to 4 apart, takes grey images and learns 1,000 of each.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import zipfile
from collections import Counter
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PX, LEAST, MOST = 64, 20, 60
"""Sides of the images; people with at least so many photographs; at most so many of each are learned."""
DIGITS, DIGITS_PX, OF_EACH = 5, 32, 1000


def photographs(archive: Path, listed: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Images [N, 3, 64, 64] in [0, 1] of the list, labels [N], and the people in the order of the labels."""
    with zipfile.ZipFile(archive) as files:
        everything = [name for name in files.namelist() if name.lower().endswith((".jpg", ".png"))]
        counts = Counter(Path(name).parent.name for name in everything)
        people = sorted(person for person, count in counts.items() if count >= LEAST)
        place = {f"{Path(name).parent.name}/{Path(name).name}": name for name in everything}
        wanted: dict[str, list[str]] = {person: [] for person in people}
        for line in listed.read_text().splitlines():
            name = line.split()[0]
            person = name.split("/")[0]
            if person in wanted and len(wanted[person]) < MOST:
                wanted[person].append(place[name])
        read = v2.Compose([v2.ToImage(), v2.Resize(PX), v2.CenterCrop(PX), v2.ToDtype(torch.float32, scale=True)])
        images, labels = [], []
        for label, person in enumerate(people):
            for name in wanted[person]:
                images.append(read(Image.open(io.BytesIO(files.read(name))).convert("RGB")))
                labels.append(label)
    return torch.stack(images), torch.tensor(labels), people


def digits(folder: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Images [N, 1, 32, 32] in [0, 1] of the digits 0 to 4, the first 1,000 of each, labels [N], and their names."""
    pixels = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    known = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    labels = torch.frombuffer(bytearray(known), dtype=torch.uint8)
    rows = torch.cat([torch.nonzero(labels == digit)[:OF_EACH, 0] for digit in range(DIGITS)])
    images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(-1, 1, 28, 28)[rows]
    larger = v2.Compose([v2.Resize(DIGITS_PX), v2.ToDtype(torch.float32, scale=True)])
    return larger(images), labels[rows].long(), [str(digit) for digit in range(DIGITS)]


def network_for(classes: int, channels: int) -> nn.Module:
    """A fresh ResNet-18; of grey images where there is one channel."""
    network = torchvision.models.resnet18(num_classes=classes)
    if channels == 1:
        network.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return network


def train(images: Tensor, labels: Tensor, classes: int, epochs: int, seed: int) -> tuple[nn.Module, dict[str, object]]:
    """The network, and the state of its optimizer. Photographs are flipped, digits not."""
    torch.manual_seed(seed)
    random.seed(seed)
    channels, px = images.shape[1:3]
    network = network_for(classes, channels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    batches = len(images) // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, epochs=epochs, steps_per_epoch=batches)
    change = v2.Compose(
        [v2.RandomHorizontalFlip(0.5 * (channels == 3)), v2.RandomResizedCrop(px, (0.7, 1.0), (0.9, 1.1))]
    )
    normalise = v2.Normalize(MEAN, STD) if channels == 3 else v2.Normalize((0.5,), (0.5,))
    for epoch in range(epochs):
        network.train()
        loss_sum, order = 0.0, torch.randperm(len(images))
        for rows in order.split(64)[:batches]:
            batch = torch.stack([change(image) for image in images[rows]])
            loss = nn.functional.cross_entropy(network(normalise(batch)), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += float(loss.detach())
        print(f"epoch {epoch + 1} of {epochs}: loss {loss_sum / batches:.3f}", flush=True)
    return network, optimizer.state_dict()


def main() -> None:
    """Read, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--images", type=Path, help="an archive with a folder for each person")
    which.add_argument("--digits", type=Path, help="the folder with the four files of MNIST, gzipped")
    parser.add_argument("--train", type=Path, help="with --images: a list of those to learn, one a line")
    parser.add_argument("--out", type=Path, default=Path("outside"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.images and not args.train:
        parser.error("--images needs --train")
    images, labels, people = digits(args.digits) if args.digits else photographs(args.images, args.train)
    print(f"{len(images)} images of {len(people)} classes", flush=True)
    network, optimizer = train(images, labels, len(people), args.epochs, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": args.epochs, "state_dict": tensors, "optimizer": optimizer}, args.out / "checkpoint.pt")
    (args.out / "classes.txt").write_text("\n".join(people) + "\n")


if __name__ == "__main__":
    main()
