"""Captioned scenes that are drawn, not downloaded: an object in front of a texture, with a sign that can be read.

They are made up: what a network does on them says how it works, not how it does on photographs.
"""

from unlatent.platform.scenes.pairs import EditPair, captions_of_pairs, read_pairs
from unlatent.platform.scenes.plan import ScenePlan
from unlatent.platform.scenes.scene import CLASSES
from unlatent.platform.scenes.writing import write_scenes

__all__ = ["CLASSES", "EditPair", "ScenePlan", "captions_of_pairs", "read_pairs", "write_scenes"]
