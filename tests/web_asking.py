"""Asking a web server as browsers and attackers do: plain, raw, and over TLS."""

import http.client
import socket
import ssl
from collections.abc import Mapping

import attrs
from cryptography import x509
from cryptography.x509.oid import NameOID

_PATIENCE = 10.0


@attrs.frozen
class Page:
    """An answer; ``certificate`` is the common name of what was shown over TLS."""

    status: int
    headers: Mapping[str, str]
    text: str
    certificate: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.text[:60]!r} {self.certificate}"


@attrs.frozen
class Asker:
    """Asks the web server at ``address``, nothing verified: answers are compared by the tests."""

    address: str
    port: int
    tls_port: int

    def get(self, host: str, path: str = "/") -> Page:
        """Ask over plain HTTP."""
        return _page(self._connect(self.port), host, path)

    def tls(
        self, name: str | None, *, host: str | None = None, newest: ssl.TLSVersion | None = None
    ) -> Page:
        """Ask over TLS for ``name`` (None: without SNI), and in it for ``host``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if newest is not None:
            context.maximum_version = newest
        bare = self._connect(self.tls_port)
        secured = context.wrap_socket(bare, server_hostname=name)
        shown = secured.getpeercert(binary_form=True)
        assert shown is not None
        subject = x509.load_der_x509_certificate(shown).subject
        (common,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return attrs.evolve(
            _page(secured, host or name or self.address, "/"), certificate=str(common.value)
        )

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are; give all that comes back."""
        with self._connect(self.port) as bare:
            bare.sendall(request)
            answer = b""
            try:
                while part := bare.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
        return answer

    def _connect(self, port: int) -> socket.socket:
        return socket.create_connection((self.address, port), timeout=_PATIENCE)


def _page(connected: socket.socket, host: str, path: str) -> Page:
    connection = http.client.HTTPConnection(host)
    connection.sock = connected
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        answer = connection.getresponse()
        return Page(answer.status, dict(answer.getheaders()), answer.read().decode())
    finally:
        connection.close()
