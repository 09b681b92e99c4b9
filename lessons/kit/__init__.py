"""What the lessons share: figures, answers, and how answers are judged.

`lesson.py` needs `figure` and `yours`; `check.py` needs `exercise`, `Judge` and
`Mistake`; `wrong.py` and `right.py` need `wrong` and `right`.
"""

from lessons.kit.answers import right, wrong, yours
from lessons.kit.exercises import exercise
from lessons.kit.figures import canvas, figure, page, tiles
from lessons.kit.judge import Judge, Mistake, Refusal
from lessons.kit.numeric import derivative, pullback

__all__ = [
    "Judge",
    "Mistake",
    "Refusal",
    "canvas",
    "derivative",
    "exercise",
    "figure",
    "page",
    "pullback",
    "right",
    "tiles",
    "wrong",
    "yours",
]
