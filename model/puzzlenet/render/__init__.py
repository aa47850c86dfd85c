"""Rendered jigsaw pieces: outline, print, light, camera, and what can be wrong with a piece.

Real pictures of a line belong to its factory. These pieces are drawn from a seed instead, so that a demo, a test
and a benchmark can make as many as they need, and make the same ones again.
"""

from puzzlenet.render.piece import CLASSES, render
from puzzlenet.render.profiles import PROFILES, Profile

__all__ = ["CLASSES", "PROFILES", "Profile", "render"]
