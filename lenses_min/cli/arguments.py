"""Arguments that several commands share; options are derived from the dataclasses that hold them."""

from typing import Any

from ..options import Option, RunOptions, options_of

MODEL = "a Hugging Face id, a checkpoint folder or a .gguf file"


def add_model(command: Any, recorded_name: str) -> None:
    """The model of a command, and the name under which it is recorded; `recorded_name` is its default in words."""
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--model-id", default="", help=f"recorded name (default: {recorded_name})")


def add_run_options(run: Any) -> None:
    """The options of a run but for its model and its output folder."""
    add_options(run, RunOptions)
    run.add_argument(
        "--self-test",
        action="store_true",
        help="only compare the last layer with the model's own logits",
    )


def add_options(command: Any, kind: type) -> None:
    """Every option of a dataclass."""
    for name, default, option in options_of(kind):
        add_option(command, name, default, option)


def add_option(command: Any, name: str, default: Any, option: Option) -> None:
    """One option: a switch where its default is a flag, else one value, or several where it is a tuple of files."""
    flag = option.flag or f"--{name.replace('_', '-')}"
    if isinstance(default, bool):
        action = "store_false" if default else "store_true"
        command.add_argument(flag, dest=name, action=action, help=option.help)
        return
    settings: dict[str, Any] = {"default": default, "help": option.help}
    if isinstance(default, int | float):
        settings["type"] = type(default)
    if option.choices:
        settings["choices"] = option.choices
    if option.metavar:
        settings["metavar"] = option.metavar
    command.add_argument(flag, dest=name, **settings)


def add_verbosity(command: Any) -> None:
    flags = command.add_mutually_exclusive_group()
    flags.add_argument("--verbose", action="store_true", help="print every step")
    flags.add_argument("--quiet", action="store_true", help="print errors only")
