"""Fitted lenses → files: whole or not at all, and a checkpoint to go on from."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import LensError
from ..lenses.tuned import TRANSLATORS
from ..output.store import write_text

CLOCK = ("minutes", "steps")  # may differ between the start and the resumption of a training


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training at `path`; one of other settings, or of another model, is not read."""

    path: Path
    settings: Mapping[str, Any]

    def read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            checkpoint = torch.load(self.path, weights_only=True)
        except Exception as error:  # torch raises many types on a broken file
            reason = str(error).split("\n")[0]
            raise LensError(
                f"cannot go on from {self.path}: {reason}; remove it to start anew"
            ) from error
        if self.steady(checkpoint["settings"]) != self.steady(self.settings):
            raise LensError(
                f"{self.path} is of a training with other settings; remove it or name another --out"
            )
        return dict(checkpoint["state"])

    def steady(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key not in CLOCK}

    def write(self, state: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        torch.save({"settings": dict(self.settings), "state": dict(state)}, temporary)
        os.replace(temporary, self.path)


def save_translators(
    folder: Path, weight: Tensor, bias: Tensor, provenance: Mapping[str, Any]
) -> None:
    """translators.safetensors and provenance.json."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"{layer}.weight": w.contiguous().cpu() for layer, w in enumerate(weight.detach())}
    state |= {f"{layer}.bias": b.contiguous().cpu() for layer, b in enumerate(bias.detach())}
    temporary = folder / f".{TRANSLATORS}"
    save_file(state, temporary)
    write_text(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")
    os.replace(temporary, folder / TRANSLATORS)
