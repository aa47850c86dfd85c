"""One picture of one piece, from a random generator: the only function that the data sets call.

The order is the order of the world: the piece is cut, printed, damaged, laid on the belt, lit and photographed.
The same generator state gives the same array, so a picture is named by (profile, seed, index).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from puzzlenet.render import defects
from puzzlenet.render.fields import SIZE, Field, blur, mix, polygon, smooth_noise, to_bytes
from puzzlenet.render.outline import Kind, draw_side, outline, tab_position
from puzzlenet.render.prints import printed
from puzzlenet.render.profiles import Profile

Label = Literal["ok", "scratch", "print_defect", "bent_tab", "missing_tab", "delamination"]
CLASSES: tuple[Label, ...] = ("ok", "scratch", "print_defect", "bent_tab", "missing_tab", "delamination")


def render(profile: Profile, label: Label, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one piece as RGB bytes of shape (128, 128, 3)."""
    sides = _cut(rng)
    tab = int(rng.choice([i for i, side in enumerate(sides) if side.kind == "tab"]))
    if label == "bent_tab":
        sides = defects.bend_tab(rng, sides, tab)
    elif label == "missing_tab":
        sides = defects.tear_tab(rng, sides, tab)

    length = float(rng.uniform(*profile.side))
    turn = float(np.deg2rad(rng.uniform(-profile.rotation, profile.rotation)) + np.pi / 2 * rng.integers(4))
    centre = SIZE / 2 + rng.uniform(-profile.shift, profile.shift, size=2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * length
    mask = polygon(outline(sides) @ rotation.T + centre)

    surface = printed(rng, profile)
    if label == "scratch":
        surface = defects.scratch(rng, surface, profile, centre, length)
    elif label == "print_defect":
        surface = defects.print_defect(rng, surface, centre, length)
    elif label == "delamination":
        surface = defects.delaminate(rng, surface, profile, centre, length)
    elif label in ("bent_tab", "missing_tab"):
        side = sides[tab]
        foot = tab_position(tab, side, 0.0) @ rotation.T + centre
        top = tab_position(tab, side, side.height) @ rotation.T + centre
        if label == "bent_tab":
            surface = defects.crease(rng, surface, profile, foot, top)
        else:
            surface = defects.torn_fibres(rng, surface, profile, foot, length)
    return _photograph(rng, profile, surface, mask)


def _cut(rng: np.random.Generator) -> defects.Sides:
    """Four sides with at least one tab; now and then one is the flat edge of the puzzle."""
    kinds: list[Kind] = ["tab" if rng.random() < 0.5 else "blank" for _ in range(4)]
    if rng.random() < 0.25:
        kinds[int(rng.integers(4))] = "flat"
    if "tab" not in kinds:
        kinds[int(rng.integers(4))] = "tab"
    drawn = [draw_side(rng, kind) for kind in kinds]
    return (drawn[0], drawn[1], drawn[2], drawn[3])


def _photograph(rng: np.random.Generator, profile: Profile, surface: Field, mask: Field) -> NDArray[np.uint8]:
    """Belt, shadow, bevel of the die cut, light, lens and camera noise."""
    light = rng.uniform(0, 2 * np.pi)
    dx, dy = np.cos(light), np.sin(light)
    soft = blur(mask, 2.0)
    slope_y, slope_x = np.gradient(soft)
    bevel = 0.9 * mask * (slope_x * dx + slope_y * dy)
    shadow = np.roll(soft, (round(2.5 * dy), round(2.5 * dx)), axis=(0, 1))

    belt = np.asarray(profile.belt, dtype=np.float32) + _belt_texture(rng, profile)[..., None]
    picture = mix(belt * (1.0 - 0.4 * shadow)[..., None], surface * (1.0 + bevel)[..., None], mask)

    ramp = np.linspace(-0.5, 0.5, SIZE, dtype=np.float32)
    fall_off = float(rng.uniform(*profile.gradient)) * (ramp[None, :] * dx + ramp[:, None] * dy)
    lamp = np.asarray(profile.tint, dtype=np.float32) * float(rng.uniform(*profile.brightness))
    picture = picture * (1.0 + fall_off)[..., None].astype(np.float32) * lamp
    picture = _lens(picture, float(rng.uniform(*profile.blur)))
    noise = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32)
    return to_bytes(picture + noise * np.float32(rng.uniform(*profile.noise)))


def _belt_texture(rng: np.random.Generator, profile: Profile) -> Field:
    stripes = np.sin(np.arange(SIZE, dtype=np.float32) * float(rng.uniform(0.5, 0.6)) + float(rng.uniform(0, 6)))
    texture: Field = (stripes[:, None] + 1.5 * (smooth_noise(rng, 24) - 0.5)).astype(np.float32)
    return texture * np.float32(profile.belt_stripes)


def _lens(picture: Field, radius: float) -> Field:
    if radius < 0.15:
        return picture
    blurred = Image.fromarray(to_bytes(picture)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, dtype=np.float32) * np.float32(1 / 255)
