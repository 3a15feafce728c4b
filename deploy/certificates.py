"""Make a certificate authority and one certificate signed by it, for TLS between Dask processes."""

import argparse
import datetime
import ipaddress
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FILES = ("ca.pem", "ca-key.pem", "dask.pem", "dask-key.pem")
VARIABLES = {
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
    "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls",
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "ca.pem",
    **{
        f"DASK_DISTRIBUTED__COMM__TLS__{role}__{kind}": f"dask{ending}.pem"
        for role in ("SCHEDULER", "WORKER", "CLIENT")
        for kind, ending in (("CERT", ""), ("KEY", "-key"))
    },
}
"""What every Dask process must have in its environment; files are those of the certificates' folder."""


def make_certificates(folder: Path, names: Sequence[str], days: int = 365) -> None:
    """Write ca.pem, dask.pem and their keys to the folder, readable by this user alone.

    Dask lets in who holds a certificate of the authority: scheduler, workers and clients share one.
    Raises FileExistsError where one of the files is there already.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = [name for name in FILES if (folder / name).exists()]
    if taken:
        raise FileExistsError(
            f"{folder} holds {', '.join(taken)} already: remove them, or name another folder"
        )
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("pushforward authority")
    authority = (
        _builder(issuer, issuer, authority_key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    both = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(_name("pushforward dask"), issuer, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    for name, pair in (("ca", (authority, authority_key)), ("dask", (certificate, key))):
        _write(folder / f"{name}.pem", pair[0].public_bytes(serialization.Encoding.PEM))
        _write(folder / f"{name}-key.pem", _pem(pair[1]))


def variables(folder: Path) -> dict[str, str]:
    """Environment of a Dask process that uses the certificates of the folder."""
    return {
        name: str(folder.absolute() / value) if value.endswith(".pem") else value
        for name, value in VARIABLES.items()
    }


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the certificates and print the variables to export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--name", action="append", default=[], help="host name or number of the scheduler; may be repeated"
    )
    parser.add_argument("--days", type=int, default=365)
    given = parser.parse_args(arguments)
    try:
        make_certificates(given.folder, given.name or ["localhost", "127.0.0.1"], given.days)
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for name, value in variables(given.folder).items():
        sys.stdout.write(f"export {name}={value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
