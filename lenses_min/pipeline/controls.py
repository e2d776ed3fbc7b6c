"""The answers of other passes that the passes of a battery are measured at too, and their numbers by themselves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..core.metrics import Measures
from ..core.pass_metrics import PassMetrics
from ..core.types import Encoded, PassResult, Rows
from ..output.battery.control import control_answers
from ..output.battery.numbers import Control, Numbers, control_of, numbers_of


@dataclass(frozen=True)
class ControlAnswers:
    """Control answers by pass, `id/variant`, and group; what was measured at them, by pass."""

    answers: dict[str, dict[str, int]] = field(default_factory=dict)
    measured: dict[str, Control] = field(default_factory=dict)

    def choose(self, encoded: Iterable[Encoded]) -> None:
        """Choose the control answers of all passes of a suite, before any is measured."""
        self.answers.update(control_answers(encoded))

    def ids(self, encoded: Encoded) -> list[int]:
        """The tokens that a pass is measured at for its controls, each once."""
        return list(dict.fromkeys(self.of(encoded).values()))

    def read(self, encoded: Encoded) -> list[int]:
        """The tokens that a pass is measured at: its own answers, then those of its controls."""
        return [*encoded.answers, *self.ids(encoded)]

    def of(self, encoded: Encoded) -> dict[str, int]:
        return self.answers.get(f"{encoded.prompt.id}/{encoded.prompt.variant}", {})

    def numbers(self, passes: Sequence[PassResult]) -> Numbers:
        """What statistics need of some passes; their controls are kept no longer."""
        numbers = numbers_of(passes, self.measured)
        self.measured.clear()
        return numbers

    def take(
        self, encoded: Encoded, rows: Rows, metrics: PassMetrics[np.ndarray]
    ) -> PassMetrics[np.ndarray]:
        """The numbers of a pass at its own answers; those at its controls are kept here."""
        ids = self.ids(encoded)
        if not ids:
            return metrics
        columns = {group: ids.index(answer) for group, answer in self.of(encoded).items()}
        name = f"{encoded.prompt.id}/{encoded.prompt.variant}"
        self.measured[name] = control_of(encoded, metrics.by_lens, rows.pos, columns)
        own = {lens: first_answers(m, len(encoded.answers)) for lens, m in metrics.by_lens.items()}
        return replace(metrics, by_lens=own)


def first_answers(measures: Measures[np.ndarray], count: int) -> Measures[np.ndarray]:
    """The numbers of rows with those of the first answers alone."""
    return replace(
        measures,
        p_answer=measures.p_answer[:, :count],
        log_p_answer=measures.log_p_answer[:, :count],
        rank=measures.rank[:, :count],
    )
