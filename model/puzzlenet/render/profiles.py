"""What differs between two production lines: piece size, printed picture, belt, light and camera.

A profile holds ranges; one piece draws its own values from them. Lengths are pixels of the 128-pixel picture,
colours are RGB in 0…1. Line 2 is not just a shifted line 1: its print has drawn strokes and dots, which a
network that only ever saw line 1 takes for scratches and blots.
"""

from dataclasses import dataclass
from typing import Literal

Colour = tuple[float, float, float]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One line: how its pieces look when nothing is wrong with them."""

    name: str
    side: Range  # length of a piece's side without tabs
    rotation: float  # degrees, drawn from ±rotation
    shift: float  # pixels, drawn from ±shift in both directions
    print_style: Literal["watercolour", "comic"]
    palette: tuple[Colour, ...]
    belt: Colour
    belt_stripes: float  # contrast of the belt's stripes
    cardboard: Colour
    stiffness: float  # of the board: how far a bent tab stands off, and whether the print breaks at the fold
    dark_scratches: float  # share of scratches that are darker than the print
    tint: Colour  # colour of the lamp
    brightness: Range
    gradient: Range  # strength of the fall-off from one side of the picture to the other
    blur: Range  # radius of the lens blur
    noise: Range  # standard deviation of the camera's noise


LINE_1 = Profile(
    name="line-1",
    side=(58.0, 64.0),
    rotation=8.0,
    shift=4.0,
    print_style="watercolour",
    palette=((0.20, 0.42, 0.66), (0.30, 0.60, 0.50), (0.66, 0.76, 0.86), (0.34, 0.38, 0.60), (0.52, 0.68, 0.44)),
    belt=(0.78, 0.78, 0.76),
    belt_stripes=0.02,
    cardboard=(0.66, 0.58, 0.47),
    stiffness=1.0,
    dark_scratches=0.4,
    tint=(1.0, 1.0, 0.98),
    brightness=(0.92, 1.06),
    gradient=(0.04, 0.16),
    blur=(0.0, 0.5),
    noise=(0.008, 0.020),
)

LINE_2 = Profile(
    name="line-2",
    side=(70.0, 76.0),
    rotation=10.0,
    shift=2.0,
    print_style="comic",
    palette=((0.86, 0.30, 0.24), (0.95, 0.74, 0.28), (0.90, 0.52, 0.30), (0.62, 0.30, 0.46), (0.90, 0.66, 0.44)),
    belt=(0.16, 0.20, 0.19),
    belt_stripes=0.06,
    cardboard=(0.50, 0.48, 0.46),
    stiffness=2.2,
    dark_scratches=0.0,
    tint=(1.0, 0.90, 0.74),
    brightness=(0.74, 0.92),
    gradient=(0.15, 0.32),
    blur=(0.2, 0.7),
    noise=(0.012, 0.026),
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (LINE_1, LINE_2)}
