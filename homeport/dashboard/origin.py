"""Whether a request comes from a page of ours."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers


class Origin:
    def __init__(self, public_url: str | None) -> None:
        """public_url: as browsers reach the server, where a proxy in front changes `Host`."""
        self._public = urlsplit(public_url).netloc.lower() if public_url else None

    def is_ours(self, headers: Headers) -> bool:
        """Browsers say it themselves (`Sec-Fetch-Site`), over HTTPS and on loopback; else by `Origin`, which they send
        with whatever changes something."""
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        told = urlsplit(headers.get("origin", "")).netloc.lower()
        return bool(told) and told in (headers.get("host", "").lower(), self._public)
