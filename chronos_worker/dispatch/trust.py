"""Which certificate authorities are trusted when none are configured.

The libcurl inside the pycurl wheel looks where Red Hat keeps its bundle and nowhere else, so that on
Debian every https target would be refused; hence the search here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import certifi

_USUAL_PLACES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSDs, macOS
)


def ca_bundle(configured: str) -> str:
    """Path of the PEM bundle: the configured one, SSL_CERT_FILE, the system's, or certifi's."""
    for place in (configured, os.environ.get("SSL_CERT_FILE", "")):
        if place:
            return place
    return next((place for place in _USUAL_PLACES if Path(place).is_file()), certifi.where())
