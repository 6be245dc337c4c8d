"""A classifier of torch behind the contract of docs/audit_endpoint.md, on this machine alone: to try an audit with.

    python benchmarks/audit/serve.py --model my.pt --arch resnet18 --classes 100 --resolution 64 [--port 8000]
        [--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225] [--answers labels] [--fail-every 7] [--digits 3]

`--arch` is a name of torchvision's; the file holds its state dict (`weights_only=True`), alone or in a checkpoint. No
midef is imported: what it answers with is what any server of somebody else would. It listens on 127.0.0.1 and nowhere
else, has no users and no encryption: never put it on a network.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

LARGEST_REQUEST = 256 * 2**20


class Wrong(ValueError):
    """A request that is not of the contract."""


def images_of(request: Any, resolution_px: int | None) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] of a request."""
    if not isinstance(request, dict) or not isinstance(request.get("images"), list) or not request["images"]:
        raise Wrong("expected an object with 'images', a list of PNGs in base64")
    decoded = []
    for text in request["images"]:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            decoded.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    if len({image.shape for image in decoded}) > 1 or (resolution_px and decoded[0].shape[1] != resolution_px):
        raise Wrong(f"expected images of {resolution_px or 'one size'} px")
    return torch.stack(decoded).float() / 255


def answer_of(
    model: Callable[[Tensor], Tensor], request: Any, *, answers: str, resolution_px: int | None, digits: int | None
) -> dict[str, Any]:
    """The response to a request.

    Args:
        model: images [B, 3, H, W] in [0, 1] to logits [B, K].
        digits: of scores, behind the point; None gives all.
    """
    if isinstance(request, dict) and request.get("answer", answers) != answers:
        raise Wrong(f"this server answers with {answers}")
    with torch.no_grad():
        scores = model(images_of(request, resolution_px)).double().softmax(dim=1)
    ids = {"ids": request["ids"]} if "ids" in request else {}
    if answers == "labels":
        return {"labels": scores.argmax(dim=1).tolist(), "classes": scores.shape[1], **ids}
    rounded = scores if digits is None else scores.round(decimals=digits)
    return {"scores": rounded.tolist(), "classes": scores.shape[1], **ids}


def server_of(
    model: Callable[[Tensor], Tensor],
    *,
    port: int = 0,
    answers: str = "scores",
    resolution_px: int | None = None,
    digits: int | None = None,
    fail_every: int = 0,
) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that answers `POST /predict`; call its `serve_forever`.

    Args:
        port: 0 takes a free one.
        fail_every: every so many requests are answered with 503, to see that nothing is lost; 0 for none.
    """
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            if self.path != "/predict":
                return self.say(404, {"error": "POST /predict"})
            if not size.isdigit() or int(size) > LARGEST_REQUEST:
                return self.say(413, {"error": "too large"})
            body = self.rfile.read(int(size))
            if fail_every and next(numbers) % fail_every == 0:
                return self.say(503, {"error": "busy"}, {"Retry-After": "0"})
            try:
                told = answer_of(model, json.loads(body), answers=answers, resolution_px=resolution_px, digits=digits)
            except (ValueError, TypeError, OSError) as error:
                return self.say(400, {"error": str(error)})
            return self.say(200, told)

        def say(self, status: int, told: dict[str, Any], headers: dict[str, str] | None = None) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def torchvision_model(arch: str, path: str, classes: int, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """A network of torchvision's with the weights of a file, which normalises for itself."""
    from torchvision.models import get_model
    from torchvision.transforms import Normalize

    network = get_model(arch, weights=None, num_classes=classes)
    held = torch.load(path, map_location="cpu", weights_only=True)
    tensors = held.get("state_dict", held)
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in tensors.items()})
    return nn.Sequential(Normalize(mean, std), network).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="a classifier behind the contract of docs/audit_endpoint.md")
    parser.add_argument("--model", required=True, help="state dict, or a checkpoint that holds one")
    parser.add_argument("--arch", required=True, help="of torchvision")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--resolution", type=int, help="pixels a side; others are answered with 400")
    parser.add_argument("--mean", type=float, nargs=3, default=[0.0, 0.0, 0.0])
    parser.add_argument("--std", type=float, nargs=3, default=[1.0, 1.0, 1.0])
    parser.add_argument("--answers", choices=["scores", "labels"], default="scores")
    parser.add_argument("--digits", type=int, help="of scores, behind the point")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fail-every", type=int, default=0, help="answer every so many requests with 503")
    given = parser.parse_args()
    model = torchvision_model(given.arch, given.model, given.classes, given.mean, given.std)
    server = server_of(
        model,
        port=given.port,
        answers=given.answers,
        resolution_px=given.resolution,
        digits=given.digits,
        fail_every=given.fail_every,
    )
    print(f"http://127.0.0.1:{server.server_port}/predict answers with {given.answers}; Ctrl-C ends it", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
