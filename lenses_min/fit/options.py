"""Options of a fit, validated where they are built; importing this module loads nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import LensError


@dataclass(frozen=True)
class FitOptions:
    """What every fit has: plain texts to read, cut into sequences of `length` tokens, about `tokens` in all."""

    text: tuple[str, ...]
    out: str
    tokens: int = 40_000
    length: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if (
                isinstance(value, int | float)
                and not value > 0
                and not (name == "steps" and value == 0)
            ):
                raise LensError(f"{name} must be above 0, got {value!r}")
        if missing := [file for file in self.text if not Path(file).is_file()]:
            raise LensError(
                f"there is no text file {', '.join(missing)}; --text takes files of plain text"
            )
        if not self.text and not getattr(self, "prompts", ""):
            raise LensError("a fit needs a --text file to learn from")


@dataclass(frozen=True)
class TunedOptions(FitOptions):
    """How to fit; `minutes` ends the training wherever it is, `positions` are drawn from a sequence a step."""

    steps: int = 120
    positions: int = 32
    lr: float = 2e-4
    ridge: float = 1e-3
    minutes: float = 10.0
    patience: int = 3
    evaluate_every: int = 40


@dataclass(frozen=True)
class PrismOptions(FitOptions):
    """`prompts`: a file of prompts to read too, contexts and test prompts. `k`: directions aligned, at most D."""

    prompts: str = ""
    k: int = 512
    samples: int = 20_000
