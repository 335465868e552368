"""An S3 server on this machine, of moto: what it is asked is listed, and it can be made read-only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

BUCKET = "shapes"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Nothing beyond this machine is asked for credentials.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "no_proxy": "127.0.0.1",
}


@dataclass
class Store:
    """``asked``: (method, path) of each request; ``read_only``: refuse to write."""

    address: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    read_only: bool = False

    @cached_property
    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.address, aws_access_key_id="a", aws_secret_access_key="b")

    def put(self, key: str, content: bytes | Path) -> None:
        data = content.read_bytes() if isinstance(content, Path) else content
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def keys(self, start: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=start).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def fetched(self) -> list[str]:
        """Keys of the objects that were asked for whole since `asked` was cleared."""
        return [
            path.removeprefix(f"/{BUCKET}/") for method, path in self.asked if method == "GET" and path.count("/") > 1
        ]

    def sent(self) -> list[str]:
        return [path.removeprefix(f"/{BUCKET}/") for method, path in self.asked if method == "PUT"]

    def guard(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            self.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            if self.read_only and environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE"):
                start("403 Forbidden", [("Content-Type", "application/xml")])
                return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
            return app(environ, start)

        return answer


@contextmanager
def serving() -> Iterator[Store]:
    """A server with an empty bucket; the environment must have `ENVIRONMENT` and its address in AWS_ENDPOINT_URL."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = Store()
    server = make_server("127.0.0.1", 0, store.guard(DomainDispatcherApplication(create_backend_app)), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    store.address = f"http://127.0.0.1:{server.server_port}"
    try:
        store.client.create_bucket(Bucket=BUCKET)
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
