"""Fetches images from URLs that users gave, and never what such a URL should not lead to. Nothing else fetches them.

    read the URL -> look its host up, once -> judge all addresses -> dial one of them, not the name -> an image
         ^                                                                                         |
         +------------------------------ a redirect: all of it again ------------------------------+

Every address must be permitted, not just one: a name that means something inside and something outside is a mistake or
an attack, and which of them were dialled would be chance.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urljoin

from homeport import __version__
from homeport.backends.addresses import Permission
from homeport.backends.upstreams.client import Client, Response, trust
from homeport.backends.upstreams.connection import Deadlines
from homeport.backends.upstreams.errors import ConnectFailed, TooLarge, TransferError
from homeport.settings import Fetch
from homeport.wire.images import kind_of

#: Host and port -> addresses. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

MOST_REDIRECTS = 5
LONGEST_URL = 8192
#: Of a host that are tried, each for its share of the time.
MOST_ADDRESSES = 3
#: In the whole process.
AT_ONCE = 32
#: In threads of their own. The event loop has four, for the names of upstreams as well, and a name server of somebody's
#: who means harm answers late.
LOOKUPS_AT_ONCE = 16

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    (b"user-agent", f"homeport/{__version__}".encode()),
    (b"accept", b"image/png,image/jpeg,image/gif,image/webp"),
)

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[.*\]")
_PRINTABLE = re.compile(r"[!-~]*")
_LONGEST_HOST = 253
#: Python's IDNA is that of 2003, to which these are something else than to browsers: it would be another host.
_DEVIANT = re.compile("[\u00df\u03c2\u200c\u200d]")

_SEND_IT = "or send the image itself, as a data URL: `data:image/png;base64,...`."


class Fetched(NamedTuple):
    """media_type: what the bytes are, whatever the server called them."""

    media_type: str
    body: bytes


class NotFetched(Exception):
    """The message is for whoever gave the URL. Whether a name is unknown, leads to where nobody may go, or nobody
    answers there, is said in the same words: a fetcher that told them apart would draw a map of its network.

    reason: for the log, with no more of the URL than its origin; empty where the message says all.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Place(NamedTuple):
    """A URL, read. host: in lower case and ASCII, brackets around IPv6. target: path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> "Place":
        """Raises NotFetched."""
        found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
        if found is None:
            raise NotFetched(
                f"An image's URL begins with `http://` or `https://` and is not longer than {LONGEST_URL} characters. "
                f"Correct it, {_SEND_IT}"
            )
        if "@" in found["authority"]:
            raise NotFetched(f"The image's URL has a user name or a password in it. Take them out, {_SEND_IT}")
        authority = _AUTHORITY.fullmatch(found["authority"])
        host = _ascii(authority["host"]) if authority is not None else ""
        scheme, port = found["scheme"].lower(), int((authority and authority["port"]) or 0)
        if not _NAME.fullmatch(host) or port > 65535:
            raise NotFetched(f"The image's URL has no host or port that can be used. Correct it, {_SEND_IT}")
        target = found["target"]
        if not _PRINTABLE.fullmatch(target):
            raise NotFetched(
                "The image's URL has spaces, control characters or letters beyond ASCII in it. Percent-encode them, "
                + _SEND_IT
            )
        return cls(
            scheme,
            host,
            port or (443 if scheme == "https" else 80),
            target if target.startswith("/") else f"/{target}",
        )

    @property
    def origin(self) -> str:
        usual = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{self.host}" + ("" if self.port == usual else f":{self.port}")


def _ascii(host: str) -> str:
    """In lower case; "" for what is no name."""
    if len(host) > _LONGEST_HOST or _DEVIANT.search(host):
        return ""
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return ""


class Fetcher:
    """Raises ValueError for settings that cannot be used."""

    def __init__(self, settings: Fetch, *, resolve: Resolve | None = None) -> None:
        """resolve: in the place of the system's way."""
        self._permission = Permission(settings.allow)
        self._most = settings.max_mb * 2**20
        self._seconds = settings.seconds
        #: The system's are read when somebody asks for the first image: it takes longer than all else here.
        self._trusting = trust(settings.ca_file) if settings.ca_file is not None else None
        self._resolve = resolve or self._look_up
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="homeport-lookup")
        self._room = asyncio.Semaphore(AT_ONCE)

    async def get(self, url: str) -> Fetched:
        """The image there. Raises NotFetched."""
        place = Place.of(url)
        if self._trusting is None:
            self._trusting = await asyncio.to_thread(trust, None)
        try:
            async with asyncio.timeout(self._seconds), self._room:
                for _ in range(MOST_REDIRECTS + 1):
                    found = await self._ask(place)
                    if isinstance(found, Fetched):
                        return found
                    place = self._elsewhere(place, found)
        except TimeoutError:
            raise self._unreachable(place, f"it took longer than {self._seconds:g} s") from None
        raise NotFetched(f"The image's URL redirects more than {MOST_REDIRECTS} times. Send where it ends, {_SEND_IT}")

    async def _ask(self, place: Place) -> Fetched | bytes:
        """What is there, or where the server says that it is."""
        addresses = await self._addresses(place)
        deadlines = Deadlines(connect=self._seconds / len(addresses))
        for address in addresses:
            client = Client(
                place.origin,
                headers=_HEADERS,
                trusting=self._trusting,
                address=address,
                connections=1,
                deadlines=deadlines,
            )
            try:
                with closing(await client.request("GET", place.target)) as response:
                    return await self._read(response)
            except ConnectFailed as error:
                problem = str(error)
            except TooLarge:
                raise self._too_large() from None
            except TransferError as error:
                raise self._unreachable(place, str(error)) from None
            finally:
                await client.close()
        raise self._unreachable(place, problem)

    async def _addresses(self, place: Place) -> list[str]:
        """Permitted ones, one at least."""
        host = place.host.strip("[]")
        try:
            found = list(dict.fromkeys(await self._resolve(host, place.port)))
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise self._unreachable(place, "its name is not known")
        for address in found:
            if not self._permission.given(host, address, place.port):
                raise self._unreachable(
                    place, f"{address}, port {place.port}, is refused; fetch.allow can let it through"
                )
        return found[:MOST_ADDRESSES]

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop, kind = asyncio.get_running_loop(), (socket.AF_UNSPEC, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found = await loop.run_in_executor(self._threads, socket.getaddrinfo, host, port, *kind)
        return [str(address[0]) for *_, address in found]

    async def _read(self, response: Response) -> Fetched | bytes:
        """Raises NotFetched, TransferError."""
        if response.status in _REDIRECTS:
            return response.header(b"location")
        if response.status != 200:
            raise NotFetched(
                f"The server that the image's URL leads to answers with status {response.status}. Check the URL, "
                + _SEND_IT
            )
        if response.header(b"content-encoding").lower() not in (b"", b"identity"):
            raise NotFetched(f"What the image's URL leads to is compressed. Send another URL, {_SEND_IT}")
        length = response.header(b"content-length")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large()
        body = await response.read(self._most)
        kind = kind_of(body)
        if kind is None:
            raise NotFetched(
                f"What the image's URL leads to is no PNG, JPEG, GIF or WebP image. Send another URL, {_SEND_IT}"
            )
        return Fetched(f"image/{kind}", body)

    def _elsewhere(self, place: Place, location: bytes) -> Place:
        """Where a redirect leads."""
        try:
            # urljoin forgives what Place.of must see
            if not _PRINTABLE.fullmatch(relative := location.decode("ascii")) or not relative:
                raise ValueError
            following = Place.of(urljoin(place.origin + place.target, relative))
        except (ValueError, NotFetched):
            raise NotFetched(f"The image's URL redirects to what is no URL. Send where it ends, {_SEND_IT}") from None
        if place.scheme == "https" and following.scheme != "https":
            raise NotFetched(f"The image's URL redirects from https to http. Send where it ends, {_SEND_IT}")
        return following

    def _unreachable(self, place: Place, reason: str) -> NotFetched:
        return NotFetched(
            "The image cannot be fetched: its URL must lead to a public server, on port 80 or 443, that sends it "
            f"within {self._seconds:g} s. Check the URL, {_SEND_IT}",
            reason=f"{place.origin}: {reason}",
        )

    def _too_large(self) -> NotFetched:
        return NotFetched(f"The image is larger than {self._most // 2**20} MiB. Make it smaller.")
