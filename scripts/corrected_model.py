"""A tiny golden model as make_corrected_goldens.py reads it: plain transformers in float64, without the runner."""

import json
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from spec import oracle
from spec.golden import Case
from spec.schema.document import CONTROL, POSITIVE

PASSES = (
    ("pos", "orig", POSITIVE),
    ("pos", "no_filler", POSITIVE.removesuffix(" simply")),
    ("ctl", "orig", CONTROL),
)
BLOCK_NAMES = ("layers", "h")
FIRST_NORM_NAMES = ("input_layernorm", "ln_1")
FINAL_NORM_NAMES = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
WITHOUT_BOS = ("qwen2", "qwen3")

# token ids, residuals [L, S, D] at the blocks' inputs and outputs, the model's own last logits [V]
Forward = tuple[list[int], oracle.Array, oracle.Array]


def first_attribute(module: Any, names: tuple[str, ...]) -> Any:
    """Return the first of these attributes that a module has: families name the same part differently."""
    return next(getattr(module, name) for name in names if hasattr(module, name))


class CaseModel:
    """The model of a case, its tokenizer, its Prism artifacts, and run.py's capture, whose model facts are reused."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.file_stem = case.model_id.split("/")[-1]
        self.model = AutoModelForCausalLM.from_pretrained(
            case.model_path(), dtype=torch.float64, attn_implementation="eager"
        ).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(case.model_path())
        self.blocks = first_attribute(self.model.base_model, BLOCK_NAMES)
        self.n_layers = len(self.blocks)
        first_norms = [first_attribute(block, FIRST_NORM_NAMES) for block in self.blocks]
        self.norms = [*first_norms, first_attribute(self.model.base_model, FINAL_NORM_NAMES)]
        self.soft_cap = getattr(self.model.config, "final_logit_softcapping", None)
        head = self.model.get_output_embeddings()
        W_U = head.weight.detach().numpy().T
        b_U = np.zeros(W_U.shape[1]) if head.bias is None else head.bias.detach().numpy()
        self.unembedding = (W_U, b_U)
        capture = case.expected_dir() / f"output-{self.file_stem}.json"
        self.document: dict[str, Any] = json.loads(capture.read_text(encoding="utf-8"))
        usable = self.document["diagnostics"]["prism_summary"]["compatible"]
        self.prism = self.read_prism() if usable else None

    def read_prism(self) -> tuple[tuple[oracle.Array, oracle.Array, float], oracle.Array]:
        """Return the whitening (mean [D], variance [D], eps) and the rotation [D, D] of the case's Prism artifacts."""
        folder = self.case.prism_path() / self.file_stem
        whitening = torch.load(folder / "whiten.pt", weights_only=True)
        rotation = torch.load(folder / "Q_prism.pt", weights_only=True)
        mean, var = whitening["mean"].double().numpy(), whitening["var"].double().numpy()
        return (mean, var, float(whitening["eps"])), rotation.double().numpy()

    @property
    def answer_ids(self) -> dict[str, int | None]:
        """The first token id of each prompt's answer by prompt id, None where it is unresolved."""
        control = self.document["control_prompt"]["gold_answer"]
        return {"pos": self.document["gold_answer"]["first_id"], "ctl": control["first_id"]}

    def norm(self, x: oracle.Array, layer: int) -> oracle.Array:
        """Apply the norm that reads a layer, [D] -> [D]."""
        module = self.norms[layer]
        weight = module.weight.detach().numpy()
        eps = float(first_attribute(module, ("variance_epsilon", "eps")))
        if getattr(module, "bias", None) is not None:
            return oracle.layer_norm(x, weight, module.bias.detach().numpy(), eps)
        is_gemma = "gemma" in self.model.config.model_type
        return oracle.rms_norm(x, weight + 1.0 if is_gemma else weight, eps)

    def logits(self, lens: str, x: oracle.Array, layer: int) -> oracle.Array:
        """Return the logits of a lens after the model's own soft cap, [D] -> [V]."""
        if lens == "norm":
            z = oracle.raw_lens(self.norm(x, layer), *self.unembedding)
        elif lens == "final":
            z = oracle.final_lens(x, lambda y: self.norm(y, self.n_layers), *self.unembedding)
        elif lens == "raw":
            z = oracle.raw_lens(x, *self.unembedding)
        else:
            assert self.prism is not None
            z = oracle.prism_lens(self.norm(x, layer), *self.prism, *self.unembedding)
        return oracle.output_transform(z, soft_cap=self.soft_cap)

    def context_ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, token_id: int) -> str:
        return str(self.tokenizer.decode([token_id]))

    def forward(self, text: str) -> Forward:
        """Run the model on one prompt and record its residuals with hooks."""
        has_bos = self.model.config.model_type not in WITHOUT_BOS
        ids = [*([self.tokenizer.bos_token_id] if has_bos else []), *self.context_ids(text)]
        residuals: list[oracle.Array] = []

        def record(value: Any) -> None:
            tensor = value[0] if isinstance(value, tuple) else value
            residuals.append(tensor[0].detach().numpy().copy())

        def record_input(module: Any, args: Any, kwargs: Any) -> None:
            record(args[0] if args else kwargs["hidden_states"])

        def record_output(module: Any, args: Any, output: Any) -> None:
            record(output)

        handles = [self.blocks[0].register_forward_pre_hook(record_input, with_kwargs=True)]
        handles += [block.register_forward_hook(record_output) for block in self.blocks]
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, -1].numpy()
        for handle in handles:
            handle.remove()
        return ids, np.stack(residuals).astype(np.float64), logits.astype(np.float64)
