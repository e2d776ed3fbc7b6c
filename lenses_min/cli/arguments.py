"""Arguments that several commands share."""

from typing import Any

from ..options import CHOICES, RunOptions


def add_run_options(run: Any) -> None:
    """The options of a run, whatever its model is called and wherever its outputs go."""
    run.add_argument(
        "--device", choices=CHOICES["device"], default="auto", help="default: %(default)s"
    )
    run.add_argument(
        "--dtype",
        choices=CHOICES["dtype"],
        default="auto",
        help="compute dtype (default: the device's)",
    )
    run.add_argument(
        "--device-map",
        choices=CHOICES["device_map"],
        default="none",
        help="auto: shard over all GPUs",
    )
    run.add_argument(
        "--threads", type=int, default=0, help="CPU threads of torch (default: as torch takes them)"
    )
    run.add_argument(
        "--fp32-unembed",
        action="store_true",
        help="unembed in float32 whatever the model computes in",
    )
    run.add_argument(
        "--keep-residuals", action="store_true", help="save the normalised residual of every layer"
    )
    run.add_argument(
        "--copy-threshold",
        type=float,
        default=0.95,
        help="p(top-1) of a copy (default: %(default)s)",
    )
    run.add_argument(
        "--copy-margin", type=float, default=0.10, help="its lead over top-2 (default: %(default)s)"
    )
    run.add_argument(
        "--prism", choices=CHOICES["prism"], default="auto", help="default: %(default)s"
    )
    run.add_argument(
        "--prism-dir",
        default="prisms",
        help="Prism artifacts, <dir>/<name>/ (default: %(default)s)",
    )
    run.add_argument(
        "--lens",
        dest="lenses",
        metavar="LENS,…",
        default=RunOptions.lenses,
        help="norm,final,raw,prism,tuned",
    )
    run.add_argument(
        "--tuned-dir",
        default="tuned",
        help="fitted translators, <dir>/<name>/ (default: %(default)s)",
    )
    run.add_argument(
        "--raw-lens",
        choices=CHOICES["raw_lens"],
        default="",
        help="default: $LOGOS_RAW_LENS or sample",
    )
    run.add_argument(
        "--contract", choices=CHOICES["contract"], default="reference", help="default: %(default)s"
    )
    run.add_argument(
        "--bos",
        choices=CHOICES["bos"],
        default="auto",
        help="before each prompt: by the contract's rule, nothing, or the declared BOS",
    )
    run.add_argument(
        "--prompts",
        default="",
        metavar="FILE",
        help="passes and test prompts of your own, YAML or JSONL",
    )
    run.add_argument(
        "--batch-size",
        type=int,
        default=8,
        help="prompts of --prompts a forward (default: %(default)s)",
    )
    kept = "read a .gguf file itself, and keep nothing of it in the user's cache"
    run.add_argument("--no-cache", dest="cache", action="store_false", help=kept)
    run.add_argument(
        "--self-test",
        action="store_true",
        help="only compare the last layer with the model's own logits",
    )


def add_verbosity(command: Any) -> None:
    flags = command.add_mutually_exclusive_group()
    flags.add_argument("--verbose", action="store_true", help="tell every step")
    flags.add_argument("--quiet", action="store_true", help="print errors only")
