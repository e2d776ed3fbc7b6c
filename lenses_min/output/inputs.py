"""The inputs of a run, identified without reading them: enough to detect later that one has changed."""

import hashlib
import os
from pathlib import Path

from ..options import RunOptions, options_of


def inputs(options: RunOptions) -> dict[str, str]:
    """A fingerprint of the model, and for a prompts file and fitted artifacts where there are any.

    Of a hub id: the commit in the local cache, empty where it holds none. Of files: SHA-256 over name, size and time of
    change (ns) of each. The weights are not read for it: an edit that keeps size and time goes unseen, a copy counts
    as another; the manifest's `fingerprint` is over the weights themselves.
    """
    local = os.path.exists(options.model)
    fitted = {
        name.removesuffix("_dir"): str(Path(getattr(options, name)) / options.file_stem)
        for name, _, _ in options_of(RunOptions)
        if name.endswith("_dir")
    }
    named = {"model": options.model, "prompts": options.prompts, **fitted}
    fingerprints = {
        kind: file_fingerprint(Path(path))
        for kind, path in named.items()
        if path and os.path.exists(path)
    }
    return fingerprints if local else {"model": commit(options.model)} | fingerprints


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of the files right in a folder, as they are listed."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def commit(hub_id: str) -> str:
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(hub_id, "config.json")
    except ValueError:  # no hub id at all
        return ""
    return Path(config).parent.name if isinstance(config, str) else ""
