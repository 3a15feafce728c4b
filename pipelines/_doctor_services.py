"""Whether the services that the settings name can be reached, with short time-outs."""

import base64
import contextlib
import importlib.metadata
import ipaddress
import json
import logging
import os
import socket
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines._doctor_finding import Finding
from pipelines._doctor_machine import writable

SECONDS = 3
"""Time-out of one connection."""
SKEW_WARNING, SKEW_FAILURE = 2.0, 30.0
"""Seconds between two clocks; leases and heartbeats compare times of different machines."""


def database(url: str | None, project: Path) -> list[Finding]:
    """Whether the catalog's database answers, what it is, and how far its clock is from this one."""
    if url is None or url.startswith("sqlite"):
        return [_sqlite(url, project)]
    import sqlalchemy as sa

    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        found = "PUSHFORWARD_DATABASE_URL is not a database URL"
        return [
            Finding("database", "failure", found, "give postgresql+psycopg://user:password@host:5432/name")
        ]
    shown = address.render_as_string(hide_password=True)
    if address.get_backend_name() != "postgresql":
        found = f"{shown}: a {address.get_backend_name()!r} server"
        return [Finding("database", "failure", found, "use SQLite (the default) or PostgreSQL")]
    try:
        engine = sa.create_engine(url, connect_args={"connect_timeout": SECONDS}, poolclass=sa.NullPool)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        remedy = "pip install 'psycopg[binary]' and begin the URL with postgresql+psycopg://"
        return [Finding("database", "failure", f"{shown}: {error}", remedy)]
    try:
        with engine.connect() as connection:
            before = time.time()
            row = connection.execute(
                sa.text(
                    "SELECT clock_timestamp(), current_setting('server_version_num')::int, "
                    "has_schema_privilege(current_schema(), 'CREATE'), current_setting('server_encoding')"
                )
            ).one()
            after = time.time()
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().split("\n")[0]
        remedy = "start the server, or correct host, user and password in PUSHFORWARD_DATABASE_URL"
        return [Finding("database", "failure", f"{shown}: {reason}", remedy)]
    finally:
        engine.dispose()
    return [judge_server(shown, row[1], bool(row[2]), row[3]), clock(row[0], before, after)]


def judge_server(shown: str, version: int, may_create: bool, encoding: str) -> Finding:
    """What to say of a PostgreSQL server of that version number (170002 is 17.2)."""
    found = f"{shown}: PostgreSQL {version // 10000}.{version % 10000}"
    if version < 140000:
        return Finding("database", "failure", f"{found}, expected 14 or later", "upgrade the server")
    if not may_create:
        remedy = "GRANT CREATE ON SCHEMA public TO that user: the catalog makes and migrates its tables"
        return Finding("database", "failure", f"{found}, the user may not create tables", remedy)
    if encoding != "UTF8":
        remedy = "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        return Finding("database", "warning", f"{found}, encoding {encoding}", remedy)
    return Finding("database", "ok", found)


def clock(server: datetime, before: float, after: float) -> Finding:
    """Whether the server's clock lies within the moments before and after it was asked, give or take."""
    told = server.astimezone(UTC).timestamp()
    skew = max(before - told, told - after, 0.0)
    found = f"{skew:.1f} s apart from the database server's"
    remedy = "set both by NTP (timedatectl set-ntp true): leases and heartbeats compare their times"
    state = "failure" if skew > SKEW_FAILURE else "warning" if skew > SKEW_WARNING else "ok"
    return Finding("clock", state, found, remedy if skew > SKEW_WARNING else "")  # type: ignore[arg-type]


def _sqlite(url: str | None, project: Path) -> Finding:
    import sqlite3

    from catalogs.database import engine_for
    from kernels.errors import InputError

    try:
        file = Path(engine_for(url, project).url.database or "")
    except InputError as error:
        remedy = "choose a folder on a local disk with PUSHFORWARD_PROJECT, or set PUSHFORWARD_DATABASE_URL"
        return Finding("database", "failure", str(error), remedy)
    if not file.exists():
        return Finding("database", "ok", f"SQLite, will be made at {file}")
    try:
        address = f"{file.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.Error as error:
        remedy = "restore it from a backup; the data folders beside it are untouched"
        return Finding("database", "failure", f"{file}: {error}", remedy)
    size = file.stat().st_size / 2**20
    return Finding("database", "ok", f"SQLite at {file}, {tables} tables and indices, {size:.1f} MiB")


def store(url: str | None, project: Path) -> Finding:
    """Whether an object can be listed, created once and only once, and removed in the store."""
    if url is None:
        return Finding("store", "ok", f"the folder {project / 'store'}")
    parts = urlsplit(url)
    if parts.scheme == "file":
        return writable("store", Path(parts.path))
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme not in ("s3", "gs", "az"):
        remedy = "give s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder"
        return Finding("store", "failure", f"PUSHFORWARD_STORE_URL={shown}", remedy)
    try:
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
        from obstore.store import from_url
    except ImportError:
        return Finding("store", "failure", f"{shown}, but obstore is missing", "pip install obstore")
    probe = f".pushforward-doctor-{uuid.uuid4().hex}"
    try:
        bucket = from_url(url, **_options())
        obstore.put(bucket, probe, b"x", mode="create", use_multipart=False)
        try:
            obstore.put(bucket, probe, b"y", mode="create", use_multipart=False)
            once = False
        except AlreadyExistsError:
            once = True
        except NotSupportedError:
            once = False
        finally:
            obstore.delete(bucket, probe)
    except (BaseError, ValueError, OSError) as error:
        return Finding("store", "failure", f"{shown}: {_reason(error)}", _STORE_REMEDY[parts.scheme])
    if not once:
        found = f"{shown} overwrites on a conditional write (If-None-Match is ignored)"
        return Finding("store", "warning", found, "use a store that has conditional writes, or one writer")
    return Finding("store", "ok", f"{shown}, with conditional writes")


_STORE_REMEDY = {
    "s3": "check the bucket, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL "
    "(http needs AWS_ALLOW_HTTP=true)",
    "gs": "check the bucket and GOOGLE_APPLICATION_CREDENTIALS",
    "az": "check the container, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


def _options() -> dict[str, Any]:
    # obstore reads AWS_ALLOW_HTTP only where no client options are given
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1")
    client = {"timeout": f"{SECONDS}s", "connect_timeout": f"{SECONDS}s", "allow_http": plain}
    return {"client_options": client, "retry_config": {"max_retries": 0}}


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split("\n\nDebug source:")[0].split())
    return text if len(text) <= 240 else f"{text[:120]} ... {text[-110:]}"


def prefect() -> Finding:
    """Whether the Prefect server that PREFECT_API_URL names answers, accepts us and has our version."""
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not url:
        return Finding("Prefect", "ok", "embedded: each run starts its own server")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.endswith("/api"):
        remedy = "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        return Finding("Prefect", "failure", f"PREFECT_API_URL={url!r}", remedy)
    secret = os.environ.get("PREFECT_API_AUTH_STRING")
    try:
        _get(f"{url}/health", None)
        status, answer = _get(f"{url}/admin/version", secret)
        open_to_all = secret is None or _get(f"{url}/admin/version", None)[0] == 200
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        remedy = "start the server (prefect server start), or correct PREFECT_API_URL"
        return Finding("Prefect", "failure", f"{url}: {reason}", remedy)
    if status in (401, 403):
        given = "PREFECT_API_AUTH_STRING is not set" if secret is None else "it refuses the one given"
        remedy = "export PREFECT_API_AUTH_STRING=user:password as the server has it"
        return Finding("Prefect", "failure", f"{url}: {given}", remedy)
    if status != 200:
        remedy = "is it a Prefect server? correct PREFECT_API_URL"
        return Finding("Prefect", "failure", f"{url}: status {status}", remedy)
    return judge_prefect(url, str(answer), open_to_all and status == 200, secret is not None)


def judge_prefect(url: str, version: str, open_to_all: bool, secret: bool) -> Finding:
    """What to say of a Prefect server that accepted us."""
    ours = importlib.metadata.version("prefect")
    local = is_loopback(urlsplit(url).hostname or "")
    found = f"{url}: Prefect {version}"
    if version.split(".")[:2] != ours.split(".")[:2]:
        remedy = f"run the server with prefect=={ours}"
        return Finding("Prefect", "warning", f"{found}, here is {ours}", remedy)
    if open_to_all and not local:
        remedy = "start the server with PREFECT_SERVER_API_AUTH_STRING: who reaches it can run code"
        return Finding("Prefect", "warning", f"{found}, without a password", remedy)
    if secret and not local and url.startswith("http:"):
        remedy = "put TLS in front of it and use https, or reach it through a tunnel"
        return Finding("Prefect", "warning", f"{found}, the password travels in clear", remedy)
    return Finding("Prefect", "ok", found)


def _get(url: str, secret: str | None) -> tuple[int, Any]:
    request = urllib.request.Request(url)
    if secret:
        request.add_header("Authorization", f"Basic {base64.b64encode(secret.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            body = answer.read(4096)
            try:
                return answer.status, json.loads(body)
            except ValueError:
                return answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def dask(address: str | None) -> Finding:
    """Whether the Dask scheduler answers, has workers, and they run the versions that this process does."""
    if address is None:
        return Finding("Dask", "ok", "local: each run starts its own workers")
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or port is None:
        remedy = "give tcp://host:8786, or tls://host:8786 with certificates"
        return Finding("Dask", "failure", f"PUSHFORWARD_SCHEDULER={address!r}", remedy)
    try:
        socket.create_connection((parts.hostname, port), timeout=SECONDS).close()
    except OSError as error:
        remedy = "start it (dask scheduler), or correct PUSHFORWARD_SCHEDULER"
        return Finding("Dask", "failure", f"{address}: {error.strerror or error}", remedy)
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        with Client(address, timeout=SECONDS + 2, set_as_default=False) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            different = _mismatch(client.get_versions())
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        remedy = "tls:// needs DASK_DISTRIBUTED__COMM__TLS__CA_FILE, __CLIENT__CERT and __CLIENT__KEY"
        return Finding("Dask", "failure", f"{address}: {_reason(error) or type(error).__name__}", remedy)
    return judge_dask(address, workers, different)


def judge_dask(address: str, workers: int, different: str) -> Finding:
    """What to say of a scheduler that accepted us, has so many workers and such differences of version."""
    found = f"{address}: {workers} workers"
    if different:
        remedy = "install constraints.txt in every environment, or use one image for all"
        return Finding("Dask", "failure", f"{found}, {different}", remedy)
    if workers == 0:
        return Finding("Dask", "warning", found, f"start workers: dask worker {address}")
    if address.startswith("tcp:") and not is_loopback(urlsplit(address).hostname or ""):
        remedy = "use TLS (deploy/certificates.py): who reaches an open scheduler can run code"
        return Finding("Dask", "warning", f"{found}, without TLS", remedy)
    return Finding("Dask", "ok", found)


_COMPARED = ("python", "dask", "distributed", "numpy", "cloudpickle", "msgpack")


def _mismatch(versions: dict[str, Any]) -> str:
    ours = _flat(versions["client"])
    for who, theirs in [("scheduler", versions["scheduler"]), *versions["workers"].items()]:
        for name, version in _flat(theirs).items():
            if name in _COMPARED and name in ours and version and _minor(version) != _minor(ours[name]):
                return f"{name} is {version} at {who} and {ours[name]} here"
    return ""


def _flat(versions: dict[str, Any]) -> dict[str, str]:
    host = dict(versions.get("host", {}))
    return {**versions.get("packages", {}), "python": str(host.get("python", ""))}


def _minor(version: str) -> list[str]:
    return str(version).split(".")[:2]


def is_loopback(host: str) -> bool:
    """Whether the name or number means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
