"""Warnings of a run, and the curves that each concerns."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..output.run import Run, block
from .curves import PANELS
from .facts import bits, is_number, warnings

OFF_AT_ALL_LAYERS = tuple(PANELS)
BY_DEFECT = {  # id of a defect: columns that it changes
    "R1": OFF_AT_ALL_LAYERS,
    "R3": ("entropy", "kl_to_final_bits", "p_answer", "cos_to_final", "control_margin"),
    "R14": OFF_AT_ALL_LAYERS,
    "R15": ("answer_rank", "p_answer", "control_margin"),
}
LAST_LAYER = ("kl_to_final_bits", "cos_to_final")


@dataclass(frozen=True)
class Concern:
    """A warning, the id of its defect if it is of one, and the columns whose curves it concerns."""

    text: str
    defect: str
    columns: Sequence[str]

    @property
    def everywhere(self) -> bool:
        """Whether it concerns every panel."""
        return len(self.columns) == len(PANELS)

    @property
    def marked(self) -> Sequence[str]:
        """The columns whose panels name it in their titles; where it concerns all, the line below them does."""
        return () if self.everywhere else self.columns

    @property
    def panels(self) -> str:
        """The titles of its panels."""
        titles = "; ".join(PANELS[column] for column in self.columns)
        return "every panel" if self.everywhere else titles


def concerns(run: Run) -> Iterator[Concern]:
    """The warnings of a run, and that its last layer is not the model's own output, where that is known."""
    for text in warnings(run):
        match = re.match(r"R\d+(?=:)", text)
        defect = match[0] if match else ""
        yield Concern(text, defect, BY_DEFECT.get(defect, ()))
    proof = block(run.manifest, "last_layer_proof")
    if proof.get("holds") is False:
        bound = proof.get("bound_bits")
        limit = f", where rounding accounts for {bits(bound, '.3g')}" if is_number(bound) else ""
        text = f"the last layer is {bits(proof.get('kl_bits'), '.3g')} from the model's own output{limit}"
        yield Concern(text, "last layer", LAST_LAYER)
