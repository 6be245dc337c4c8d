"""Ranges of what decides a procedural face."""

from __future__ import annotations

# Each identity trait is uniform in its range. Units: half the image is 1; x right, y down, the head near the centre.
IDENTITY: dict[str, tuple[float, float]] = {
    "face_width": (0.36, 0.62),
    "face_height": (0.48, 0.74),
    "jaw_taper": (0, 0.6),
    "face_power": (2, 2.4),
    "hair_volume": (0, 0.26),
    "hair_length": (-0.2, 0.85),
    "hairline": (-0.46, -0.14),
    "fringe_slope": (-0.45, 0.45),
    "fringe_bow": (-0.4, 0.9),
    "eye_spacing": (0.15, 0.31),
    "eye_height": (-0.16, 0.06),
    "eye_width": (0.06, 0.15),
    "eye_roundness": (0.6, 0.75),
    "eye_tilt": (-0.1, 0.1),
    "brow_gap": (0.14, 0.19),
    "brow_thickness": (0.012, 0.06),
    "brow_length": (0.11, 0.14),
    "brow_tilt": (-0.15, 0.15),
    "nose_length": (0.12, 0.34),
    "nose_width": (0.07, 0.1),
    "mouth_height": (0.26, 0.46),
    "mouth_width": (0.1, 0.29),
    "lip_thickness": (0.02, 0.08),
    "ear_size": (0.06, 0.1),
}
# Each image draws these anew; amplitudes are multiplied by `difficulty`. Colour is a nuisance too, on purpose: where
# skin and hair colour belonged to the identity, 99 % of the inversions succeeded whatever a defense erased.
NUISANCE: dict[str, tuple[float, float]] = {
    "turn": (-0.12, 0.12),
    "scale": (-0.08, 0.08),
    "shift_x": (-0.08, 0.08),
    "shift_y": (-0.08, 0.08),
    "yaw": (-0.10, 0.10),
    "smile": (-0.9, 0.9),
    "mouth_open": (0.0, 0.05),
    "brow_raise": (-0.025, 0.025),
    "eye_open": (-0.30, 0.30),
    "light_angle": (-3.1416, 3.1416),
    "light": (0.0, 0.35),
    "exposure": (-0.15, 0.15),
}
PALETTES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "skin": ((0.96, 0.84, 0.74), (0.87, 0.69, 0.55), (0.72, 0.53, 0.39), (0.45, 0.31, 0.22)),
    "hair": ((0.12, 0.10, 0.09), (0.36, 0.23, 0.14), (0.62, 0.45, 0.24), (0.55, 0.54, 0.53)),
}
"""Colours that are mixed with weights from a Dirichlet distribution, then changed by `JITTER`."""
CONCENTRATION = 0.7
"""Of that distribution: mostly one or two colours of a palette."""
JITTER = 0.06
"""Width of the uniform change of each channel of a mixture."""
COLOURS: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "background": ((0.4, 0.4, 0.4), 0.2, 0.0),
    "clothes": ((0.3, 0.3, 0.3), 0.4, 0.0),
    "lips": ((0.70, 0.28, 0.28), 0.15, 0.5),
    "iris": ((0.05, 0.05, 0.05), 0.30, 0.0),
}
"""Base, width and offset: a channel is base + width * (u - offset), with u uniform in [0, 1)."""
