"""Shapes of procedural faces as maps of pixels, with slopes written by hand: autograd's need twice the operations.

Shapes: B images of H x W pixels; parameters are [B, 1, 1].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from typing_extensions import override


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Sums of products over pixels: [B, H, W], [B, H, W] -> [B, 1, 1]."""
    return total(a * b)


def total(a: Tensor) -> Tensor:
    """Sums over pixels: [B, H, W] -> [B, 1, 1]."""
    return a.sum(dim=(1, 2), keepdim=True)


class _Inside(Function):
    @staticmethod
    @override
    def forward(ctx: Any, distance: Tensor, soft: float, strength: float) -> Tensor:
        mask = (-3 * distance).div_(soft).sigmoid_()
        ctx.save_for_backward(mask)
        ctx.slope = -3 / soft * strength
        return mask if strength == 1 else strength * mask

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (mask,) = ctx.saved_tensors
        return torch.ops.aten.sigmoid_backward(g, mask).mul_(ctx.slope), None, None


def inside(distance: Tensor, soft: float, strength: float = 1.0) -> Tensor:
    """Mask: `strength` inside (distance < 0), 0 outside, a ramp over about `soft`."""
    mask: Tensor = _Inside.apply(distance, soft, strength)
    return mask


class _Joined(Function):
    @staticmethod
    @override
    def forward(ctx: Any, a: Tensor, b: Tensor, both: bool) -> Tensor:
        ctx.save_for_backward((a > b) == both)
        return torch.maximum(a, b) if both else torch.minimum(a, b)

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (first,) = ctx.saved_tensors
        g_a = g * first
        return g_a, g - g_a, None


def common(a: Tensor, b: Tensor) -> Tensor:
    """Signed distance to what two shapes have in common, from those to the shapes [B, H, W]."""
    distance: Tensor = _Joined.apply(a, b, True)
    return distance


def together(a: Tensor, b: Tensor) -> Tensor:
    """Signed distance to two shapes together."""
    distance: Tensor = _Joined.apply(a, b, False)
    return distance


class _Bar(Function):
    @staticmethod
    @override
    def forward(ctx: Any, along: Tensor, across: Tensor, half: Tensor, thick: Tensor) -> Tensor:
        over = (along.abs() - half).clamp_(min=0)
        radius = (over**2).add_(across**2).add_(1e-9).sqrt_()
        ctx.save_for_backward(along, across, over, radius)
        return radius - thick

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        along, across, over, radius = ctx.saved_tensors
        slope = g / radius
        g_over = slope * over
        return g_over * along.sign(), slope * across, -total(g_over), -total(g)


def bar(along: Tensor, across: Tensor, half: Tensor, thick: Tensor) -> Tensor:
    """Approximate signed distance [B, H, W] to a bar with round ends, from coordinates about its centre."""
    distance: Tensor = _Bar.apply(along, across, half, thick)
    return distance


class _Turn(Function):
    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, y: Tensor, cx: Any, cy: Any, angle: Tensor) -> tuple[Tensor, Tensor]:
        right, down, cos, sin = x - cx, y - cy, angle.cos(), angle.sin()
        along = right * cos + down * sin
        across = -right * sin + down * cos
        ctx.shapes = x.shape, y.shape
        ctx.save_for_backward(along, across, cos, sin)
        return along, across

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g_along: Tensor, g_across: Tensor) -> tuple[Tensor | None, ...]:
        along, across, cos, sin = ctx.saved_tensors
        g_x = torch.addcmul(g_along * cos, g_across, sin, value=-1)
        g_y = torch.addcmul(g_across * cos, g_along, sin)
        g_angle = dot(g_along, across) - dot(g_across, along)
        g_cx = -total(g_x) if ctx.needs_input_grad[2] else None
        g_cy = -total(g_y) if ctx.needs_input_grad[3] else None
        return g_x.sum_to_size(ctx.shapes[0]), g_y.sum_to_size(ctx.shapes[1]), g_cx, g_cy, g_angle


def turn(x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates about a centre [B, 1, 1], along a direction and across it."""
    along, across = _Turn.apply(x, y, cx, cy, angle)
    return along, across


class _Ellipse(Function):
    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, y: Tensor, cx: Any, cy: Any, rx: Tensor, ry: Tensor) -> Tensor:
        dx, dy = (x - cx).div_(rx), (y - cy).div_(ry)
        radius = (dx * dx).add_(dy * dy).add_(1e-9).sqrt_()
        ctx.save_for_backward(dx, dy, radius, rx, ry)
        distance: Tensor = (radius - 1).mul_(torch.minimum(rx, ry))
        return distance

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        dx, dy, radius, rx, ry = ctx.saved_tensors
        slope = (g * torch.minimum(rx, ry)).div_(radius)
        g_x, g_y = slope * dx, slope.mul_(dy)
        size = dot(g, radius) - total(g)
        g_rx = -dot(g_x, dx) / rx + size * (0.5 + 0.5 * (ry - rx).sign())
        g_ry = -dot(g_y, dy) / ry + size * (0.5 + 0.5 * (rx - ry).sign())
        g_x.div_(rx)
        g_y.div_(ry)
        g_cx = -total(g_x) if ctx.needs_input_grad[2] else None
        g_cy = -total(g_y) if ctx.needs_input_grad[3] else None
        return g_x, g_y, g_cx, g_cy, g_rx, g_ry


def ellipse(x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, rx: Tensor, ry: Tensor) -> Tensor:
    """Approximate signed distance [B, H, W] to an ellipse."""
    distance: Tensor = _Ellipse.apply(x, y, cx, cy, rx, ry)
    return distance


class _Superellipse(Function):
    @staticmethod
    @override
    def forward(ctx: Any, a: Tensor, b: Tensor, power: Tensor) -> Tensor:
        of_a, of_b = a**power, b**power
        both = of_a + of_b
        radius = both ** (1 / power)
        ctx.save_for_backward(a, b, power, of_a, of_b, both, radius)
        return radius

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        a, b, power, of_a, of_b, both, radius = ctx.saved_tensors
        weight = g * radius
        log_radius = dot(weight, radius.log())
        weight.div_(both)
        in_a, in_b = weight * of_a, weight.mul_(of_b)
        g_power = (dot(in_a, a.log()) + dot(in_b, b.log()) - log_radius) / power
        return in_a.div_(a), in_b.div_(b), g_power


def superellipse(a: Tensor, b: Tensor, power: Tensor) -> Tensor:
    """(a^p + b^p)^(1 / p) of a and b [B, H, W] above 0."""
    radius: Tensor = _Superellipse.apply(a, b, power)
    return radius


class _Painted(Function):
    @staticmethod
    @override
    def forward(ctx: Any, background: Tensor, shade: Tensor, count: int, *layers: Tensor) -> Tensor:
        masks, colours = layers[:count], layers[count:]
        canvas = _bare(background, shade)
        for mask, colour in zip(masks, colours, strict=True):
            _lay_(canvas, mask, colour)
        ctx.save_for_backward(background, shade, *layers)
        return canvas

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        background, shade, *layers = ctx.saved_tensors
        masks, colours = layers[: len(layers) // 2], layers[len(layers) // 2 :]
        flat = g.reshape(*g.shape[:2], -1)
        # slopes by colour channel are needed in one combination only: that with each colour, and with the canvas
        along = torch.bmm(torch.stack([background, *colours], dim=1), flat).unflatten(2, g.shape[2:])
        canvas = along[:, 0] * shade  # and so on upwards: what is painted so far, along the slope
        below = []
        for k, mask in enumerate(masks, start=1):
            below.append(canvas)
            canvas = torch.lerp(canvas, along[:, k], mask)
        weights = torch.empty_like(along)
        shown = torch.ones_like(canvas)
        g_masks: list[Tensor] = []
        for k in range(len(masks), 0, -1):
            g_masks.append((along[:, k] - below[k - 1]).mul_(shown))
            torch.mul(shown, masks[k - 1], out=weights[:, k])
            shown = shown - weights[:, k]
        torch.mul(shown, shade, out=weights[:, 0])
        g_shade = shown * along[:, 0]
        g_background, *g_colours = torch.bmm(weights.flatten(2), flat.transpose(1, 2)).unbind(dim=1)
        return g_background, g_shade, None, *reversed(g_masks), *g_colours


def _bare(background: Tensor, shade: Tensor) -> Tensor:
    """The background alone [B, 3, H, W]: [B, 3] times [B, H, W]."""
    return background.view(-1, 3, 1, 1) * shade.unsqueeze(1)


def _lay_(canvas: Tensor, mask: Tensor, colour: Tensor) -> None:
    """Paint a colour [B, 3] over a canvas [B, 3, H, W] where a mask [B, H, W] is 1."""
    canvas.add_((colour.view(-1, 3, 1, 1) - canvas).mul_(mask.unsqueeze(1)))


class Canvas:
    """A background that layers are painted over, back to front.

    Args:
        background: [B, 3].
        shade: [B, H, W], multiplies it.
        is_kept: whether every layer is kept for gradients; else each is painted at once, which takes less memory.
    """

    def __init__(self, background: Tensor, shade: Tensor, *, is_kept: bool) -> None:
        self._background, self._shade = background, shade
        self._masks: list[Tensor] = []
        self._colours: list[Tensor] = []
        self._canvas = None if is_kept else _bare(background, shade)

    def paint(self, mask: Tensor, colour: Tensor) -> None:
        """Paint a colour [B, 3] where a mask [B, H, W] is 1."""
        if self._canvas is not None:
            _lay_(self._canvas, mask, colour)
            return
        self._masks.append(mask)
        self._colours.append(colour)

    def painted(self) -> Tensor:
        """The picture [B, 3, H, W]."""
        if self._canvas is not None:
            return self._canvas
        picture: Tensor = _Painted.apply(self._background, self._shade, len(self._masks), *self._masks, *self._colours)
        return picture
