"""Corruptions of the set of files."""

from corrupting import PURE_PRISM, RECORDS, RECORDS_PRISM, Corruption, key, nan_at, remove, tensor

FILES: dict[str, Corruption] = {
    "Prism file gone": (
        "fact-prism",
        remove("output-Fact-prism-records-prism.csv"),
        "prism.files",
        RECORDS_PRISM,
        "",
        "",
    ),
    "Prism called unusable": (
        "fact-prism",
        key("diagnostics", "prism_summary", "compatible", value=False),
        "prism.files",
        PURE_PRISM,
        "",
        "",
    ),
    "Prism without a reason": (
        "fact",
        key("diagnostics", "prism_summary", "error", value=None),
        "prism.summary",
        ".json",
        "",
        "diagnostics.prism_summary.error",
    ),
    "residual gone": (
        "keep-residuals",
        remove("Keep-residuals_03_resid.pt"),
        "residual.files",
        "_03_resid.pt",
        "",
        "",
    ),
    "residual without batch": (
        "keep-residuals",
        tensor("Keep-residuals_03_resid.pt", lambda t: t[0]),
        "residual.shape",
        "_03_resid.pt",
        "",
        "shape",
    ),
    "residual with NaN": (
        "keep-residuals",
        tensor("Keep-residuals_01_resid.pt", nan_at),
        "residual.shape",
        "_01_resid.pt",
        "",
        "value",
    ),
    "records gone": ("fact", remove("output-Fact-records.csv"), "file.missing", RECORDS, "", ""),
    "stray file": (
        "fact",
        lambda folder: (folder / "core").touch(),
        "file.stray",
        "core",
        "",
        "",
    ),
    "document cut off": (
        "fact",
        lambda folder: (folder / "output-Fact.json").write_text("{"),
        "file.readable",
        ".json",
        "",
        "",
    ),
}
