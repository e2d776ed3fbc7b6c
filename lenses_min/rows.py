"""What a run holds: the typed rows of its tables. CONTRACT columns bear the same names."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class RecordRow:
    """One row of a records file: the top of the lens distribution at a layer and position."""

    prompt_id: str
    prompt_variant: str
    layer: int
    pos: int
    token: str
    entropy: float
    top: tuple[tuple[str, float], ...]
    rest_mass: float

    @property
    def pass_name(self) -> str:
        return f"{self.prompt_id}/{self.prompt_variant}"


@dataclass(frozen=True)
class PureRow(RecordRow):
    """One row of a pure-next-token file; CONTRACT columns of the same names."""

    copy_collapse: bool
    entropy_collapse: bool
    is_answer: bool
    p_top1: float
    p_top5: float
    p_answer: float | None
    kl_to_final_bits: float
    answer_rank: int | None
    cos_to_final: float
    control_margin: float | None


@dataclass(frozen=True)
class AgreementRow:
    """How far a lens is from the model, or from another lens, at the last position of a layer; `tv` in 0 … 1."""

    prompt_id: str
    prompt_variant: str
    layer: int
    pos: int
    lens: str
    against: str
    kl_bits: float
    js_bits: float
    tv: float
    top1_agree: bool


@dataclass(frozen=True)
class AnswerRow:
    """The whole answer under a lens at a layer, each token read after those before it."""

    prompt_id: str
    prompt_variant: str
    layer: int
    lens: str
    answer: str
    n_tokens: int
    p_joint: float
    surprisal_bits: float


SomeRow = TypeVar("SomeRow", bound=RecordRow)


def by_pass(rows: Iterable[SomeRow]) -> dict[str, list[SomeRow]]:
    """Rows by the name of their pass, in the order in which the passes come."""
    found: dict[str, list[SomeRow]] = {}
    for row in rows:
        found.setdefault(row.pass_name, []).append(row)
    return found
