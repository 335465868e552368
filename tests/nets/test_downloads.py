"""ImageNet weights from a server: fetched once, kept, and refused where they are damaged or carry code."""

from __future__ import annotations

import gc
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from sppcli.errors import BadInput, MissingInput
from sppcli.nets.backbones import run_trunk
from sppcli.nets.weights import load_network
from tests.nets.weight_files import BACKBONE, archive, features, trapped

# torch.hub never closes the response that it reads from; the sockets are left to the garbage collector.
downloads = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


class Server:
    """Answers every request alike, and counts them."""

    def __init__(self, status: int, body: bytes) -> None:
        self.requests = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                if status == 0:
                    self.wfile.write(b"no http\r\n\r\n")
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{name}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """``serve(status, body, name)``: the backbone's weights are said to lie at a server of this machine."""
    servers: list[Server] = []

    def start(status: int, body: bytes, name: str) -> Server:
        servers.append(Server(status, body))
        entry = torchvision.models.get_model_weights(BACKBONE)["IMAGENET1K_V1"]
        monkeypatch.setattr(entry.value, "url", servers[-1].url(name))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    gc.collect()  # those sockets go here, where the warning is expected


@downloads
def test_download(model: nn.Module, image: torch.Tensor, serve, tmp_path: Path, capsys: pytest.CaptureFixture):
    body = archive(model.state_dict())
    server = serve(200, body, f"squeezenet-{hashlib.sha256(body).hexdigest()[:8]}.pth")
    for _ in range(2):
        network = load_network("imagenet", BACKBONE)
        with torch.inference_mode():
            assert torch.equal(run_trunk(network.trunk, image), features(model, image))
        assert network.weights == "imagenet"
    assert server.requests == 1  # the second time from torch's cache
    assert (tmp_path / "torch").exists()
    written = capsys.readouterr()
    assert written.out == ""
    assert "100" in written.err  # progress


@downloads
@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (500, "Internal Server Error"), (0, "no http")])
def test_a_server_without_the_weights(serve, status: int, reason: str):
    server = serve(status, b"", "squeezenet-00000000.pth")
    with pytest.raises(MissingInput) as caught:
        load_network("imagenet", BACKBONE)
    text = str(caught.value)
    assert f"the ImageNet weights of {BACKBONE} are not in " in text
    assert f"({reason})" in text
    assert f"fetch {server.url('squeezenet-00000000.pth')} elsewhere and pass --weights FILE" in text
    assert "\n" not in text


def test_no_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    entry = torchvision.models.get_model_weights(BACKBONE)["IMAGENET1K_V1"]
    monkeypatch.setattr(entry.value, "url", f"http://127.0.0.1:{port}/net-00000000.pth")
    with pytest.raises(MissingInput, match=r"could not be downloaded \(.*refused.*\); connect to the network once"):
        load_network("imagenet", BACKBONE)
    assert not list(tmp_path.rglob("*.pth"))


@downloads
def test_a_download_that_is_damaged(model: nn.Module, serve, tmp_path: Path):
    serve(200, archive(model.state_dict())[:5000], "squeezenet-12345678.pth")
    with pytest.raises(MissingInput, match="invalid hash value"):
        load_network("imagenet", BACKBONE)
    assert not list(tmp_path.rglob("*.pth"))


@downloads
def test_a_kept_download_that_is_damaged(serve, tmp_path: Path):
    server = serve(200, b"", "squeezenet-12345678.pth")
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet-12345678.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"half of it")
    with pytest.raises(BadInput, match=r"squeezenet-12345678.pth: not a .*; delete it, and it is downloaded again"):
        load_network("imagenet", BACKBONE)
    assert server.requests == 0


@downloads
def test_a_download_does_not_run_code(serve, tmp_path: Path):
    body = trapped(tmp_path / "code ran", "archive")
    serve(200, body, f"squeezenet-{hashlib.sha256(body).hexdigest()[:8]}.pth")
    with pytest.raises(BadInput, match="holds more than tensors"):
        load_network("imagenet", BACKBONE)
    assert not (tmp_path / "code ran").exists()
