"""The typed rows of a run's tables. Columns of the contract have the same names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar


def pass_name(prompt_id: object, prompt_variant: object, fact_key: object = None) -> str:
    """`prompt_id/prompt_variant`, behind `fact_key/` where the run names a fact.

    The one pass of runs up to August 2025 has no ids; its name is that of the same prompt in later runs, `pos/orig`.
    """
    prompt = "pos" if prompt_id is None else prompt_id
    variant = "orig" if prompt_variant is None else prompt_variant
    return f"{prompt}/{variant}" if fact_key is None else f"{fact_key}/{prompt}/{variant}"


@dataclass(frozen=True)
class Row:
    """What every row has: `further`, the values of the columns of its file that are no field, by name."""

    further: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class RecordRow(Row):
    """One row of a records file: the top of the lens distribution at a layer and position.

    What may be None is so where the file lacks the column, or the cell is empty.
    """

    prompt_id: str | None
    prompt_variant: str | None
    layer: int
    pos: int
    token: str
    entropy: float
    top: tuple[tuple[str, float], ...]
    rest_mass: float
    fact_key: str | None = field(default=None, kw_only=True)
    fact_index: int | None = field(default=None, kw_only=True)

    @property
    def pass_name(self) -> str:
        """The name of the row's pass, see the function `pass_name`."""
        return pass_name(self.prompt_id, self.prompt_variant, self.fact_key)


@dataclass(frozen=True)
class PureRow(RecordRow):
    """One row of a pure-next-token file; CONTRACT columns of the same names."""

    copy_collapse: bool
    entropy_collapse: bool
    is_answer: bool
    p_top1: float | None
    p_top5: float | None
    p_answer: float | None
    kl_to_final_bits: float | None
    answer_rank: int | None
    cos_to_final: float | None
    control_margin: float | None


@dataclass(frozen=True)
class AgreementRow(Row):
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
class AnswerRow(Row):
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
    passes: dict[str, list[SomeRow]] = {}
    for row in rows:
        passes.setdefault(row.pass_name, []).append(row)
    return passes
