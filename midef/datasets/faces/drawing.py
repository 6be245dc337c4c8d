"""Drawing of procedural faces: shapes with soft edges, painted back to front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midef.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def render(face: dict[str, Tensor], resolution_px: int) -> Tensor:
    """Faces [B, 3, R, R] in about [0, 1] from traits and nuisances [B] each and colours [B, 3] each, by name.

    Shapes are level sets with edges one pixel soft, painted back to front. Gradients reach every parameter.
    """
    like = face["skin"]
    axis = (torch.arange(resolution_px, dtype=like.dtype, device=like.device) + 0.5) * (2 / resolution_px) - 1
    p = {name: value.view(-1, 1, 1) for name, value in face.items() if value.ndim == 1}
    soft = 2.0 / resolution_px

    def inside(distance: Tensor) -> Tensor:
        """1 inside (distance < 0), 0 outside, a ramp over about a pixel."""
        return torch.sigmoid(-3 * distance / soft)

    def ellipse(x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, rx: Tensor, ry: Tensor) -> Tensor:
        """Approximate signed distance to an ellipse."""
        dx, dy = (x - cx) / rx, (y - cy) / ry
        return ((dx * dx + dy * dy + 1e-9).sqrt() - 1) * torch.minimum(rx, ry)

    def bar(x: Tensor, y: Tensor, cx: Tensor, cy: Tensor, half: Tensor, thick: Tensor, tilt: Tensor) -> Tensor:
        """Approximate signed distance to a tilted bar with round ends."""
        along = (x - cx) * tilt.cos() + (y - cy) * tilt.sin()
        across = -(x - cx) * tilt.sin() + (y - cy) * tilt.cos()
        return (((along.abs() - half).clamp(min=0)) ** 2 + across**2 + 1e-9).sqrt() - thick

    # image coordinates -> coordinates of the head
    size = 1 + p["scale"]
    gx, gy = (axis[None, None, :] - p["shift_x"]) / size, (axis[None, :, None] - p["shift_y"]) / size
    x = gx * p["turn"].cos() + gy * p["turn"].sin()
    y = -gx * p["turn"].sin() + gy * p["turn"].cos()
    inner = x - p["yaw"]  # features slide over the head when it turns aside

    width, height = p["face_width"], p["face_height"]
    canvas = face["background"].view(-1, 3, 1, 1) * (1 - 0.15 * gy.unsqueeze(1))

    def paint(mask: Tensor, colour: Tensor) -> None:
        nonlocal canvas
        mask = mask.unsqueeze(1)
        canvas = canvas + mask * (colour.view(-1, 3, 1, 1) - canvas)

    skin, hair, lips = face["skin"], face["hair"], face["lips"]
    volume = p["hair_volume"]
    back = ellipse(x, y, 0.0, -0.12, width + volume, height + volume - 0.05)
    curtain = torch.maximum(x.abs() - (width + 0.8 * volume), (y - p["hair_length"]).abs() - 0.35)
    curtain = torch.maximum(curtain, y - p["hair_length"])
    paint(inside(torch.minimum(back, torch.maximum(curtain, -0.1 - y))), hair)
    paint(inside(ellipse(x, y, 0.0, 1.15, width + 0.35, 0.42 * torch.ones_like(width))), face["clothes"])
    paint(inside(torch.maximum(x.abs() - 0.45 * width, (y - 0.7).abs() - 0.25)), 0.85 * skin)
    for side in (-1.0, 1.0):
        paint(inside(ellipse(x, y, side * width, 0.02, p["ear_size"], 1.5 * p["ear_size"])), 0.92 * skin)
    taper = (1 - p["jaw_taper"] * (y / height).clamp(min=0) ** 1.5).clamp(min=0.05)
    power = p["face_power"]
    radius = ((x.abs() / (width * taper) + 1e-6) ** power + ((y.abs() / height) + 1e-6) ** power) ** (1 / power)
    outline = (radius - 1) * width
    paint(inside(outline), skin)
    fringe = y - (p["hairline"] + p["fringe_slope"] * x + p["fringe_bow"] * x * x)
    paint(inside(torch.maximum(torch.minimum(outline, back), fringe)), hair)

    opening = p["eye_roundness"] * (1 + p["eye_open"])
    for side in (-1.0, 1.0):
        cx, cy = side * p["eye_spacing"], p["eye_height"]
        tilt = side * p["eye_tilt"]
        ex = (inner - cx) * tilt.cos() + (y - cy) * tilt.sin()
        ey = -(inner - cx) * tilt.sin() + (y - cy) * tilt.cos()
        eye = ellipse(ex, ey, 0.0, 0.0, p["eye_width"], p["eye_width"] * opening)
        paint(inside(eye - 0.012), 0.35 * skin)
        paint(inside(eye), torch.full_like(skin, 0.95))
        iris = 0.6 * p["eye_width"]
        paint(inside(torch.maximum(eye, ellipse(ex, ey, 0.0, 0.0, iris, iris))), face["iris"])
        brow = bar(
            inner,
            y,
            cx,
            cy - p["brow_gap"] - p["brow_raise"],
            p["brow_length"],
            p["brow_thickness"],
            side * p["brow_tilt"],
        )
        paint(inside(brow), 0.8 * hair)

    top, tip = p["eye_height"] + 0.03, p["eye_height"] + 0.03 + p["nose_length"]
    along = ((y - top) / p["nose_length"]).clamp(0, 1)
    ridge = torch.maximum((inner - 0.3 * p["yaw"]).abs() - along * p["nose_width"], (y - tip).clamp(min=0) + (top - y))
    paint(0.35 * inside(ridge), 0.75 * skin)
    for side in (-1.0, 1.0):
        nostril = ellipse(inner, y, side * 0.6 * p["nose_width"], tip, 0.4 * p["nose_width"], 0.3 * p["nose_width"])
        paint(0.8 * inside(nostril), 0.35 * skin)

    across = inner / p["mouth_width"]
    middle = p["mouth_height"] - 0.06 * p["smile"] * (across * across - 0.5)
    lip = p["lip_thickness"] * (1 - across * across).clamp(min=0).sqrt() + p["mouth_open"]
    mouth = torch.maximum((y - middle).abs() - lip, inner.abs() - p["mouth_width"])
    paint(inside(mouth), lips)
    gap = torch.maximum((y - middle).abs() - p["mouth_open"], inner.abs() - 0.8 * p["mouth_width"])
    paint(inside(gap + 0.01), 0.3 * lips)

    light = 1 + p["exposure"] + p["light"] * (x * p["light_angle"].cos() + y * p["light_angle"].sin())
    return canvas * light.unsqueeze(1)
