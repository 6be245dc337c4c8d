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
    from midef.datasets.faces.shapes import Canvas, bar, common, ellipse, inside, superellipse, together, turn

    like = face["skin"]
    axis = (torch.arange(resolution_px, dtype=like.dtype, device=like.device) + 0.5) * (2 / resolution_px) - 1
    p = {name: value.view(-1, 1, 1) for name, value in face.items() if value.ndim == 1}
    soft = 2.0 / resolution_px

    # image coordinates -> coordinates of the head
    size = 1 + p["scale"]
    gx, gy = (axis[None, None, :] - p["shift_x"]) / size, (axis[None, :, None] - p["shift_y"]) / size
    x, y = turn(gx, gy, 0.0, 0.0, p["turn"])
    inner = x - p["yaw"]  # features slide over the head when it turns aside
    aside = x.abs()

    width, height = p["face_width"], p["face_height"]
    is_kept = torch.is_grad_enabled() and any(value.requires_grad for value in face.values())
    canvas = Canvas(face["background"], (1 - 0.15 * gy).expand_as(x), is_kept=is_kept)

    def paint(distance: Tensor, colour: Tensor, strength: float = 1.0) -> None:
        canvas.paint(inside(distance, soft, strength), colour)

    skin, hair, lips = face["skin"], face["hair"], face["lips"]
    volume = p["hair_volume"]
    back = ellipse(x, y, 0.0, -0.12, width + volume, height + volume - 0.05)
    curtain = common(aside - (width + 0.8 * volume), (y - p["hair_length"]).abs() - 0.35)
    curtain = common(curtain, y - p["hair_length"])
    paint(together(back, common(curtain, -0.1 - y)), hair)
    paint(ellipse(x, y, 0.0, 1.15, width + 0.35, 0.42 * torch.ones_like(width)), face["clothes"])
    paint(common(aside - 0.45 * width, (y - 0.7).abs() - 0.25), 0.85 * skin)
    for side in (-1.0, 1.0):
        paint(ellipse(x, y, side * width, 0.02, p["ear_size"], 1.5 * p["ear_size"]), 0.92 * skin)
    taper = (1 - p["jaw_taper"] * (y / height).clamp(min=0) ** 1.5).clamp(min=0.05)
    power = p["face_power"]
    outline = (superellipse(aside / (width * taper) + 1e-6, (y.abs() / height) + 1e-6, power) - 1) * width
    paint(outline, skin)
    fringe = y - (p["hairline"] + p["fringe_slope"] * x + p["fringe_bow"] * x * x)
    paint(common(together(outline, back), fringe), hair)

    opening = p["eye_roundness"] * (1 + p["eye_open"])
    for side in (-1.0, 1.0):
        cx, cy = side * p["eye_spacing"], p["eye_height"]
        tilt = side * p["eye_tilt"]
        ex, ey = turn(inner, y, cx, cy, tilt)
        eye = ellipse(ex, ey, 0.0, 0.0, p["eye_width"], p["eye_width"] * opening)
        paint(eye - 0.012, 0.35 * skin)
        paint(eye, torch.full_like(skin, 0.95))
        iris = 0.6 * p["eye_width"]
        paint(common(eye, ellipse(ex, ey, 0.0, 0.0, iris, iris)), face["iris"])
        brow = turn(inner, y, cx, cy - p["brow_gap"] - p["brow_raise"], side * p["brow_tilt"])
        paint(bar(*brow, p["brow_length"], p["brow_thickness"]), 0.8 * hair)

    top, tip = p["eye_height"] + 0.03, p["eye_height"] + 0.03 + p["nose_length"]
    along = ((y - top) / p["nose_length"]).clamp(0, 1)
    ridge = common((inner - 0.3 * p["yaw"]).abs() - along * p["nose_width"], (y - tip).clamp(min=0) + (top - y))
    paint(ridge, 0.75 * skin, 0.35)
    for side in (-1.0, 1.0):
        nostril = ellipse(inner, y, side * 0.6 * p["nose_width"], tip, 0.4 * p["nose_width"], 0.3 * p["nose_width"])
        paint(nostril, 0.35 * skin, 0.8)

    across = inner / p["mouth_width"]
    middle = p["mouth_height"] - 0.06 * p["smile"] * (across * across - 0.5)
    lip = p["lip_thickness"] * (1 - across * across).clamp(min=0).sqrt() + p["mouth_open"]
    above, beside = (y - middle).abs(), inner.abs()
    mouth = common(above - lip, beside - p["mouth_width"])
    paint(mouth, lips)
    gap = common(above - p["mouth_open"], beside - 0.8 * p["mouth_width"])
    paint(gap + 0.01, 0.3 * lips)

    light = 1 + p["exposure"] + p["light"] * (x * p["light_angle"].cos() + y * p["light_angle"].sin())
    return canvas.painted() * light.unsqueeze(1)
