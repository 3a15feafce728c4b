"""Makes the fake stages importable here and in worker processes; a bucket that other processes reach too."""

import sys
import urllib.request
from pathlib import Path

import pytest

from catalogs.object_stores import object_store

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def bucket(monkeypatch):
    """URL of a prefix in an S3 server of this process; others have it by the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/team", method="PUT")).close()
    object_store.cache_clear()
    yield "s3://team/some/prefix"
    object_store.cache_clear()
    server.stop()
