"""Whether a web server answers, found out in seconds."""

import socket
import threading
import urllib.request
from urllib.parse import urlsplit

from jaxnn.errors import UserError

_SECONDS = 2.5


def is_reachable(url: str) -> bool:
    """Tries a TCP connection to the server, or to the proxy on the way to it; a DNS failure counts as no.

    Raises UserError for a proxy whose address is none.
    """
    target = urlsplit(url)
    scheme = target.scheme
    proxy = urllib.request.getproxies().get(scheme)
    try:
        if proxy and not urllib.request.proxy_bypass(target.hostname or ""):
            target = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = target.port or (443 if target.scheme == "https" else 80)
    except ValueError as error:
        raise UserError(
            f"${scheme}_proxy is no address such as http://HOST:3128 ({error}); mend or unset it"
        ) from error
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((target.hostname or "", port), timeout=_SECONDS).close()
        except OSError:
            return
        answered.set()

    # A thread that may be left behind: looking up a name has no time limit of its own.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(_SECONDS)
    return answered.is_set()
