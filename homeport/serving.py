"""`homeport serve`: checks that come before listening, the words on the terminal, and the loop."""

import asyncio
import logging
import socket

from homeport import app, logs, process, settings
from homeport.api import server
from homeport.backends.addresses import is_loopback
from homeport.errors import SettingsError
from homeport.gateway.routing import Listed
from homeport.settings import Settings

log = logging.getLogger("homeport")


def serve(chosen: Settings) -> int:
    """Serve until a signal; 0 when everything in flight has ended. Raises SettingsError before listening."""
    logs.set_up(chosen.server.log_level, chosen.server.log_format)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(chosen))
    process.deaf()
    return 0


async def _serve(chosen: Settings) -> None:
    check_exposure(chosen.server)
    allow_files(chosen.server.max_connections)
    asyncio.get_running_loop().set_exception_handler(logs.unhandled)
    preset, admin = settings.first_key(), settings.admin_key()
    built = app.build(chosen)
    listener: socket.socket | None = None
    try:
        serving = server.server(built.asgi, built.http, chosen.server)
        listener = server.bind(chosen.server.host, chosen.server.port)  # a key that is made is shown after that
        made = await built.open(preset, admin=admin, refuse_without_key=refusal(chosen.server.host))
    except BaseException:
        if listener is not None:
            listener.close()
        await built.close()
        raise
    print(welcome(address(listener, chosen.server), key_line(made, preset, admin), made, built), flush=True)
    await serving.serve_while(listener, built)


def check_exposure(chosen: settings.Server) -> None:
    """Keys and prompts do not cross a network in the clear. Raises SettingsError."""
    if chosen.tls_cert is None and not chosen.behind_tls_proxy and not is_loopback(chosen.host):
        raise SettingsError(
            f"Refusing to listen on {chosen.host} without TLS: keys and prompts would cross the network in the clear. "
            "Give a certificate (--tls-cert FILE --tls-key FILE), or say --behind-tls-proxy (server.behind_tls_proxy = "
            "true) where a proxy in front of Homeport does TLS. How to make a certificate: docs/tls.md."
        )


def allow_files(connections: int) -> None:
    """A connection is an open file, of which a process may often have 1,024 unless it asks for more."""
    try:
        import resource
    except ImportError:
        return
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 1024  # each may have one upstream; databases, models and the like
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, wanted), most))
    if wanted < connections:
        log.warning(
            "%d files may be open at once, so there will never be %d connections (ulimit -n)", wanted, connections
        )


def refusal(host: str) -> str | None:
    if is_loopback(host):
        return None
    return (
        f"Refusing to listen on {host} without a key. Make one first: `homeport keys create`, or set HOMEPORT_API_KEY."
    )


def loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.new_event_loop  # type: ignore[assignment]
    return factory


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def key_line(made: str | None, preset: str | None, admin: str | None) -> str:
    if made is not None:
        return f"{made}   (shown this once; only its hash is kept)"
    if preset is not None:
        return "the one in HOMEPORT_API_KEY"
    if admin is not None:
        return "of the Admin API: the one in HOMEPORT_ADMIN_KEY; others: homeport keys create"
    return "as shown at the first start; another: homeport keys create"


def address(listener: socket.socket, chosen: settings.Server) -> str:
    """`http://HOST:PORT`, as it really is."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if chosen.tls_cert is not None else 'http'}://{_shown(host)}:{port}"


def welcome(url: str, key: str, made: str | None, built: app.App) -> str:
    """Base URL, key, which model answers to which name, and a command to try: it runs as it is while the key is new."""
    lines = [
        "",
        f"  Homeport is listening.   base_url  {url}/v1",
        f"                           key       {key}",
        *([f"                           dashboard {url}/"] if built.has_dashboard else []),
        "",
    ]
    names: dict[str, list[str]] = {}
    for listed in built.router.listed():
        names.setdefault(listed.alias_of or listed.id, [])
        if listed.alias_of is not None:
            names[listed.alias_of].append(listed.id)
    for model, aliases in names.items():
        held = built.held.get(model)
        state = f" [{held.reason}]" if held is not None and held.state == "missing" else ""
        lines.append(f"  {model}{state}" + (f"  <-  {', '.join(aliases)}" if aliases else ""))
    lines += [f"  every other name  ->  {wild.name}" for wild in built.router.wildcards]
    lines += [f"  {line}" for line in _recording_lines(built)]
    first = next((one for one in built.router.listed() if _answers(one, built)), None)
    if first is not None:
        lines += [
            "",
            "  Try:",
            f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\",
            f'    -H "Authorization: Bearer {made or "$OPENAI_API_KEY"}" \\',
            f'    -d \'{{"model": "{first.id}", "messages": [{{"role": "user", "content": "Say hello."}}]}}\'',
        ]
    return "\n".join([*lines, ""])


def _recording_lines(built: app.App) -> list[str]:
    recorder = built.recorder
    if recorder is None:
        return []
    record, replay = recorder.record, recorder.replay
    if record is None:
        assert replay is not None
        return ["", f"Replaying {replay.folder} (recordings: {len(replay.files())}). Nothing else is asked."]
    if replay is None:
        return ["", f"Recording into {record.folder}."]
    return ["", f"Replaying {replay.folder}; what is not there is asked for and recorded into {record.folder}."]


def _answers(listed: Listed, built: app.App) -> bool:
    """Chats: what the command does."""
    held = built.held.get(listed.alias_of or listed.id)
    return held is None or (held.state != "missing" and held.can("chat"))
