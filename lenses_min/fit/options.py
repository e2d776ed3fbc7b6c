"""Options of a fit, validated where they are built; importing this module loads nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LensError
from ..options import option, options_of

DIRECTIONS = ("lens-model", "model-lens")  # KL(lens‖model), KL(model‖lens)


def positive(value: Any) -> str:
    return "" if value > 0 else "above 0"


def not_negative(value: Any) -> str:
    return "" if value >= 0 else "0 or above"


@dataclass(frozen=True)
class FitOptions:
    """What every fit has: plain texts to read, and the folder of its artifacts. Raises LensError where one is wrong."""

    text: tuple[str, ...]
    out: str
    tokens: int = option(
        40_000, "tokens to learn from, validation included (default: %(default)s)", check=positive
    )
    length: int = option(256, "tokens of a sequence (default: %(default)s)", check=positive)

    def __post_init__(self) -> None:
        for name, _, settings in options_of(type(self)):
            value = getattr(self, name)
            if settings.choices and value not in settings.choices:
                raise LensError(
                    f"{name} must be one of {', '.join(settings.choices)}, got {value!r}"
                )
            if settings.check and (requirement := settings.check(value)):
                raise LensError(f"{name} must be {requirement}, got {value!r}")
        if missing := [file for file in self.text if not Path(file).is_file()]:
            raise LensError(
                f"there is no text file {', '.join(missing)}; --text takes files of plain text"
            )
        if not self.text and not getattr(self, "prompts", ""):
            raise LensError("a fit needs a --text file to learn from")


@dataclass(frozen=True)
class TunedOptions(FitOptions):
    """How to fit; `minutes` ends the training wherever it is, `positions` are drawn from a sequence a step."""

    steps: int = option(
        120, "training steps after the closed-form start (default: %(default)s)", check=not_negative
    )
    positions: int = option(
        32, "positions drawn from a sequence a step (default: %(default)s)", check=positive
    )
    kl: str = option(
        "lens-model",
        "what training lessens: lens-model KL(lens‖model), model-lens KL(model‖lens), "
        "as Belrose et al. do (default: %(default)s)",
        choices=DIRECTIONS,
    )
    lr: float = option(
        2e-4, "learning rate at the start of its cosine (default: %(default)s)", check=positive
    )
    ridge: float = option(
        1e-3,
        "penalty of the closed-form start, in shares of the mean square (default: %(default)s)",
        check=positive,
    )
    minutes: float = option(
        10.0, "end the training after so long (default: %(default)s)", check=positive
    )
    patience: int = option(
        3, "end it after so many evaluations without gain (default: %(default)s)", check=positive
    )
    evaluate_every: int = option(
        40, "steps between evaluations on held-out text (default: %(default)s)", check=positive
    )


@dataclass(frozen=True)
class PrismOptions(FitOptions):
    """`k` directions are aligned, at most D."""

    prompts: str = option(
        "",
        "a file of prompts to read as well, as run --prompts takes it (default: %(default)s)",
    )
    k: int = option(
        512,
        "directions to align, at most the model's width (default: %(default)s)",
        check=positive,
    )
    samples: int = option(
        20_000, "residuals kept for the principal directions (default: %(default)s)", check=positive
    )
