#!/usr/bin/env bash
# Build what is released, the sdist and the wheel in dist/, and check them; nothing is uploaded.
# It refuses a tree with changes, and a version that CITATION.cff or CHANGELOG.md does not have. The wheel is made from the
# sdist, and installed into an environment of its own, whose libraries are those of .venv: nothing is downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-$PWD/.venv/bin/python}"

if [ -n "$(git status --porcelain)" ]; then
    echo "error: the working tree has changes; commit them first" >&2
    git status --short >&2
    exit 1
fi
version="$("$python" -c 'import runpy; print(runpy.run_path("lenses_min/version.py")["__version__"])')"
grep -qx "version: $version" CITATION.cff || {
    echo "error: CITATION.cff is not of version $version (lenses_min/version.py)" >&2
    exit 1
}
grep -qE "^## $version \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$" CHANGELOG.md || {
    echo "error: CHANGELOG.md has no heading '## $version (date)'" >&2
    exit 1
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
git archive HEAD | tar -x -C "$work/source"
(cd "$work/source" && "$python" -c "from setuptools import build_meta; build_meta.build_sdist('$work')" > /dev/null)
sdist="$work/lenses_min-$version.tar.gz"
"$python" -m pip wheel -q --no-deps --no-build-isolation -w "$work" "$sdist"
wheel="$work/lenses_min-$version-py3-none-any.whl"
"$python" - "$sdist" "$wheel" <<'PY'
import sys
import tarfile
import zipfile

from packaging.metadata import Metadata

sdist, wheel = sys.argv[1:]
with tarfile.open(sdist) as archive:
    name = min((n for n in archive.getnames() if n.endswith("/PKG-INFO")), key=len)
    texts = [archive.extractfile(name).read()]
with zipfile.ZipFile(wheel) as archive:
    texts += [archive.read(n) for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
for text in texts:  # every field is checked; a wrong one raises
    metadata = Metadata.from_email(text, validate=True)
    if not metadata.description or metadata.description_content_type != "text/markdown":
        sys.exit("error: the archives lack the README")
PY

"$python" -m venv --without-pip "$work/clean"
"$python" -m pip --python "$work/clean/bin/python" install -q --no-deps --no-index "$wheel"
clean_site="$("$work/clean/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$clean_site/libraries.pth"
model="$PWD/golden/models/fact"
(
    cd "$work"
    unset PYTHONPATH
    export HF_HUB_OFFLINE=1
    [ "$(clean/bin/lenses-min --version)" = "lenses-min $version" ]
    clean/bin/lenses-min --help > /dev/null
    clean/bin/lenses-min run "$model" --device cpu --out-dir out --quiet
    [ -f out/output-fact.json ]
)
rm -rf dist
mkdir dist
cp "$sdist" "$wheel" dist/
ls dist
