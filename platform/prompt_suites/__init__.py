"""Images of the prompts of GenEval and DPG-Bench, as the scorers of these suites read them, and their scores as rows.

The prompts are the user's, and so are the scorers: detectors and readers of images, in environments of their own.
"""

from unlatent.platform.prompt_suites.drawing import Drawing, draw
from unlatent.platform.prompt_suites.scores import record
from unlatent.platform.prompt_suites.suites import SUITES

__all__ = ["SUITES", "Drawing", "draw", "record"]
