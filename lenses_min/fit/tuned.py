"""Fit the translators of a tuned lens: a closed-form start, then KL to the model's own distribution.

Belrose et al., "Eliciting latent predictions from transformers with the tuned lens" (2023). Their identity start is
replaced by ridge regression from each layer's residual to the last one's, which is where most of the way is made.
"""

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.distribution import softmax
from ..model.load import LoadedModel
from .artifacts import Checkpoint, save_translators
from .corpus import sequences, stream
from .logits import kls_of_logits, logits
from .options import DIRECTIONS, TunedOptions
from .progress import steps, tracked

log = logging.getLogger("lenses_min")
KLs = dict[str, list[float]]  # by direction, a layer each
# of the provenance, by direction
KEYS = dict(zip(DIRECTIONS, ("held_out_kl_bits", "held_out_kl_model_lens_bits"), strict=True))


def solve_layers(gram: Tensor, cross: Tensor) -> Tensor:
    """x [L, D, K] of gram [L, D, D] @ x = cross [L, D, K], a layer at a time.

    After torch.set_num_threads, torch's solver of many systems at once can fail with MKL (torch 2.13, D = 577).
    """
    layers = zip(gram, cross, strict=True)
    return torch.stack([torch.linalg.solve(a, b) for a, b in layers])


class Trainer:
    """Translators W [n, D, D], b [n, D] of one model, and what their training needs."""

    def __init__(self, model: LoadedModel, options: TunedOptions) -> None:
        self.model, self.options, self.n = model, options, model.facts.n_layers
        model.bridge.original_model.requires_grad_(False)
        self.final = getattr(getattr(model.bridge, "ln_final", None), "original_component", None)
        self.dtype = getattr(torch, model.facts.dtype)
        self.training, self.validation = sequences(
            model.tokens, options.text, options.length, options.tokens
        )
        self.draw = torch.Generator().manual_seed(0)
        self.weight, self.bias = self.start()

    def start(self) -> tuple[Tensor, Tensor]:
        """Ridge regression of the last residual on each layer's, shrunk towards the identity.

        Every row counts by 1 / mean(y²), since the last norm takes the size away. Sums of [D + 1, D + 1] a layer.
        """
        width, device = self.model.facts.d_model, self.model.head.weight.device
        gram = torch.zeros(self.n, width + 1, width + 1, device=device)
        cross = torch.zeros(self.n, width + 1, width, device=device)
        for ids in tracked(self.training, "regression"):
            x, _ = stream(self.model.bridge, ids, self.n)
            target = x[-1]
            root = target.square().mean(-1, keepdim=True).rsqrt()
            wide = F.pad(x[:-1], (0, 1), value=1.0) * root
            gram += wide.transpose(1, 2) @ wide
            cross += wide.transpose(1, 2) @ ((target - x[:-1]) * root)
        penalty = self.options.ridge * gram.diagonal(dim1=1, dim2=2).mean(-1)
        penalty = penalty[:, None, None] * torch.eye(width + 1, device=device)
        solved = solve_layers(gram + penalty, cross)
        return solved[:, :-1].transpose(1, 2).contiguous(), solved[:, -1].contiguous()

    def read(self, x: Tensor, layer: int, translated: bool = True) -> Tensor:
        """Logits [S, V] of residuals [S, D] of a layer, with gradients to its translator."""
        if translated:
            x = x + torch.addmm(self.bias[layer], x, self.weight[layer].T)
        x = x.to(self.dtype)
        normed = x if self.final is None else self.final(x[None])[0]
        return logits(normed, self.model.head)

    @torch.no_grad()
    def validate(self, translated: bool = True, shown: bool = False) -> KLs:
        """Mean KL of lens and model on held-out text, at every fourth position, in both directions.

        Bits, ≥ 0, of each layer 0 … n − 1. Where it is `shown`, a bar counts the sequences.
        """
        held_out: Iterable[list[int]] = self.validation
        if shown:
            held_out = tracked(self.validation, "held-out text")
        sums = torch.zeros(len(DIRECTIONS), self.n)
        for ids in held_out:
            x, final = stream(self.model.bridge, ids, self.n)
            x, final_rows = x[:, 3::4], softmax(final[3::4])
            del final  # as large as its quarter in float64
            for layer in range(self.n):
                z = self.read(x[layer], layer, translated)
                for direction, kl in enumerate(kls_of_logits(z, final_rows)):
                    sums[direction, layer] += kl.mean().cpu()
        bits = (sums / len(self.validation) / math.log(2)).tolist()
        return dict(zip(DIRECTIONS, bits, strict=True))

    def loss(self) -> Tensor:
        """KL in nats, summed over layers, at positions drawn from one training sequence."""
        ids = self.training[int(torch.randint(len(self.training), (), generator=self.draw))]
        x, final = stream(self.model.bridge, ids, self.n)
        positions = torch.randperm(len(ids), generator=self.draw)[: self.options.positions].to(
            x.device
        )
        log_q = torch.log_softmax(final[positions], -1)
        total = torch.zeros((), device=x.device)
        for layer in range(self.n):  # a layer at a time, so that [S, V] stands once
            log_p = torch.log_softmax(self.read(x[layer, positions], layer), -1)
            a, b = (log_p, log_q) if self.options.kl == DIRECTIONS[0] else (log_q, log_p)
            part = (a.exp() * (a - b)).sum(-1).mean()
            torch.autograd.backward(part)
            total += part.detach()
        return total

    def train(self, checkpoint: Checkpoint, started: float, start: list[float]) -> dict[str, Any]:
        """AdamW with a cosine schedule and clipped gradients; the best by validation is kept.

        `start` is what `validate` has in the direction of the training before the first step.
        """
        settings, parameters = self.options, [self.weight, self.bias]
        optimizer = torch.optim.AdamW(
            [p.requires_grad_() for p in parameters], lr=settings.lr, weight_decay=0.0
        )
        best, step, stale = start, 0, 0
        best_parameters = [p.detach().clone() for p in parameters]
        if saved := checkpoint.read():
            step, best, stale = saved["step"], saved["best"], saved["stale"]
            best_parameters = saved["kept"]
            optimizer.load_state_dict(saved["optimizer"])
            self.draw.set_state(saved["draw"])
            for p, value in zip(parameters, saved["parameters"], strict=True):
                p.data.copy_(value)
        with steps() as progress:
            task = progress.add_task(f"{mean(best):.3f} bits", total=settings.steps, completed=step)
            while step < settings.steps and stale < settings.patience:
                if time.monotonic() - started > 60 * settings.minutes:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = settings.lr * (1 + math.cos(math.pi * step / settings.steps)) / 2
                optimizer.zero_grad()
                loss = float(self.loss()) / self.n / math.log(2)
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                step += 1
                shown = f"loss {loss:.3f}, best {mean(best):.3f} bits"
                progress.update(task, completed=step, description=shown)
                if step % settings.evaluate_every == 0 or step == settings.steps:
                    kl_bits = self.validate()[settings.kl]
                    better = mean(kl_bits) < mean(best)
                    stale = 0 if better else stale + 1
                    if better:
                        best, best_parameters = kl_bits, [p.detach().clone() for p in parameters]
                    state = {
                        "step": step,
                        "best": best,
                        "stale": stale,
                        "kept": best_parameters,
                        "draw": self.draw.get_state(),
                    }
                    checkpoint.write(
                        state
                        | {
                            "optimizer": optimizer.state_dict(),
                            "parameters": [p.detach() for p in parameters],
                        }
                    )
        self.weight, self.bias = best_parameters
        return {"steps": step, "kl_bits": best}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def sentence(provenance: dict[str, Any]) -> str:
    """The result of a fit in a few lines of text."""
    kls = {name: [mean(of) for of in provenance[key].values()] for name, key in KEYS.items()}
    lines = (
        f"  {name:<6} {forward:14.4f} {back:14.4f}"
        for name, forward, back in zip(provenance[KEYS[DIRECTIONS[0]]], *kls.values(), strict=True)
    )
    head = f"  {'':<6} {'KL(lens‖model)':>14} {'KL(model‖lens)':>14}"
    return "\n".join(("mean over layers, held-out text, bits", head, *lines))


def fit(model: LoadedModel, options: TunedOptions) -> dict[str, Any]:
    """Train and save; returns the provenance with the mean KL a layer of the final and the tuned lens."""
    started = time.monotonic()
    trainer = Trainer(model, options)
    baseline = trainer.validate(translated=False, shown=True)
    start = trainer.validate(shown=True)
    log.info(
        "held-out KL: final lens %.3f bits, closed-form start %.3f bits",
        mean(baseline[options.kl]),
        mean(start[options.kl]),
    )
    folder = Path(options.out)
    checkpoint = Checkpoint(
        folder / "training.pt", {**asdict(options), "fingerprint": model.facts.fingerprint}
    )
    trained = trainer.train(checkpoint, started, start[options.kl])
    end = trainer.validate(shown=True) if trained["steps"] else start
    provenance = {
        "lens": "tuned",
        "fitted_on": list(options.text),
        "options": asdict(options),
        "fingerprint": model.facts.fingerprint,
        "training_sequences": len(trainer.training),
        "held_out_sequences": len(trainer.validation),
        "steps": trained["steps"],
        **{
            key: {
                "final": baseline[direction],
                "start": start[direction],
                "tuned": end[direction],
            }
            for direction, key in KEYS.items()
        },
        "seconds": round(time.monotonic() - started, 1),
    }
    save_translators(folder, trainer.weight, trainer.bias, provenance)
    checkpoint.path.unlink(missing_ok=True)
    return provenance
