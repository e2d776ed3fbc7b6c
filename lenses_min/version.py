"""The version, for the package, the manifests and the cache of converted weights."""

__version__ = "0.2.0"
