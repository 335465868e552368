"""Weights: what is written is read back, what cannot be read is named, and no file's code is ever run."""

from __future__ import annotations

import gc
import hashlib
import http.server
import io
import json
import pickle
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.geometry.projection import CellGrid
from sppcli.images import INPUTS, Normalisation
from sppcli.nets.backbones import run_trunk, torchvision_model
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weights import METADATA_KEY, load_network, read_classifier, save_network

BACKBONE = "squeezenet1_1"  # the smallest: 5 MB
SHARED = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache of downloads, and no connection but to this machine."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: tuple[str, int]) -> None:
        assert address[0] == "127.0.0.1", f"a test asked the network for {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return torchvision_model(BACKBONE)


def features(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.features(image)


def maps_of(path: Path, image: torch.Tensor, backbone: str = BACKBONE) -> torch.Tensor:
    with torch.inference_mode():
        return run_trunk(load_network(str(path), backbone).trunk, image)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1))


# --- files of torchvision's networks ---


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_round_trip(model: nn.Module, image: torch.Tensor, tmp_path: Path, suffix: str):
    path = tmp_path / f"net{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(model.state_dict(), path)
    network = load_network(str(path), BACKBONE)
    with torch.inference_mode():
        assert torch.equal(run_trunk(network.trunk, image), features(model, image))
    assert (network.backbone, network.cut, network.weights) == (BACKBONE, "features.12", str(path))
    assert (network.channels, network.input_size, network.normalisation) == (512, 224, INPUTS["imagenet"])
    assert network.grid == CellGrid(16, 15)
    assert (network.head, network.levels, network.classes) == (None, None, ())


def test_the_digest_is_of_the_numbers_not_of_the_file(model: nn.Module, tmp_path: Path):
    state = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    changed = {**state, "features.0.bias": state["features.0.bias"] + 1}
    torch.save(changed, tmp_path / "c.pth")
    digests = [load_network(str(tmp_path / name), BACKBONE).digest for name in ("a.safetensors", "b.pth", "c.pth")]
    assert digests[0] == digests[1] != digests[2]


def test_float16(model: nn.Module, image: torch.Tensor, tmp_path: Path):
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    network = load_network(str(tmp_path / "half.safetensors"), BACKBONE)
    read = dict(network.trunk.named_parameters())
    assert {tensor.dtype for tensor in read.values()} == {torch.float32}
    for name, tensor in read.items():
        assert torch.equal(tensor, half[name].float())


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints(model: nn.Module, image: torch.Tensor, tmp_path: Path, wrapper: str, prefix: str):
    """As training scripts write them: the state in a table of its own, names with DataParallel's prefix."""
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, wrapper: state, "arch": "net"}, tmp_path / "checkpoint.pth")
    assert torch.equal(maps_of(tmp_path / "checkpoint.pth", image), features(model, image))


def test_another_cut(model: nn.Module, image: torch.Tensor, tmp_path: Path):
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    network = load_network(str(tmp_path / "net.safetensors"), BACKBONE, "features.5")
    with torch.inference_mode():
        assert torch.equal(run_trunk(network.trunk, image), model.features[:6](image))
    with pytest.raises(UsageProblem, match="has no layer 'conv5'"):
        load_network(str(tmp_path / "net.safetensors"), BACKBONE, "conv5")


# --- what is wrong with a file ---


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(MissingInput, match=r"gone.safetensors: there is no such weights file; give .* imagenet"):
        load_network(str(tmp_path / "gone.safetensors"))


def test_an_unknown_backbone():
    with pytest.raises(UsageProblem, match="unknown backbone 'alexnot'; choose one of alexnet, vgg16"):
        load_network("imagenet", "alexnot")


def legacy(state: dict) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def archive(state: dict) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def other_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("readme.txt", "no weights")
    return stream.getvalue()


STATE = {"weight": torch.arange(2000.0)}
GARBAGE = {
    "empty": b"",
    "text": b"hello world\n",
    "page": b"<!DOCTYPE html><html><title>404</title></html>",
    "one byte": b"\x80",
    "picture": b"\xff\xd8\xff\xe0\x00\x10JFIF" * 40,
    "another zip": other_zip(),
    "half an archive": archive(STATE)[:3000],
    "half a legacy file": legacy(STATE)[:3000],
    "start of a legacy file": legacy(STATE)[:200],
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage(tmp_path: Path, what: str, suffix: str):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(GARBAGE[what])
    with pytest.raises(BadInput, match=rf"net\{suffix}: not a "):
        load_network(str(path))


def test_random_bytes(tmp_path: Path):
    """torch's reader of pickles raises a dozen kinds of error; each becomes ours."""
    rng = np.random.default_rng(0)
    path = tmp_path / "net.pth"
    for _ in range(150):
        path.write_bytes(rng.integers(0, 256, rng.integers(1, 60), dtype=np.uint8).tobytes())
        with pytest.raises(BadInput, match=r"net.pth: not a "):
            load_network(str(path))


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, {"state_dict": {"a": "text"}}, torch.zeros(3)])
def test_no_table_of_tensors(tmp_path: Path, value: object):
    torch.save(value, tmp_path / "net.pth")
    with pytest.raises(BadInput, match=r"net.pth: holds no table of tensors; save the network's state_dict\(\)"):
        load_network(str(tmp_path / "net.pth"))


def test_an_unknown_suffix(tmp_path: Path):
    (tmp_path / "net.caffemodel").write_bytes(b"")
    with pytest.raises(BadInput, match=r"net.caffemodel: weights are read from .safetensors or .pth files"):
        load_network(str(tmp_path / "net.caffemodel"))
    with pytest.raises(BadInput, match="weights are read from"):
        load_network(str(tmp_path))


def test_another_networks_weights(model: nn.Module, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    save_file(model.state_dict(), path)
    with pytest.raises(BadInput, match=f"not alexnet's weights .*; it is {BACKBONE}'s: pass --backbone {BACKBONE}"):
        load_network(str(path))  # alexnet is the default
    with pytest.raises(BadInput, match=f"not squeezenet1_0's weights .*is missing.*pass --backbone {BACKBONE}"):
        load_network(str(path), "squeezenet1_0")


def test_nobodys_weights(model: nn.Module, tmp_path: Path):
    state = model.state_dict()
    cases = {
        "missing": {name: tensor for name, tensor in state.items() if name != "features.0.bias"},
        "shape": {**state, "features.0.bias": torch.zeros(63)},
        "not a tensor of it": {**state, "features.99.bias": torch.zeros(3)},
    }
    for problem, changed in cases.items():
        save_file(changed, tmp_path / "net.safetensors")
        with pytest.raises(
            BadInput, match=f"not {BACKBONE}'s weights .features.*{problem}.*choose the right --backbone"
        ):
            load_network(str(tmp_path / "net.safetensors"), BACKBONE)


# --- files that carry code ---


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def trapped(marker: Path, form: str) -> bytes:
    value = {"features.0.weight": torch.zeros(3), "extra": Trap(marker)}
    return {"archive": archive, "legacy": legacy, "pickle": pickle.dumps}[form](value)


@pytest.mark.parametrize("form", ["archive", "legacy", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, form: str):
    marker, path = tmp_path / "code ran", tmp_path / "net.pth"
    path.write_bytes(trapped(marker, form))
    with pytest.raises(BadInput, match=r"net.pth: not a weights file, .* holds more than tensors"):
        load_network(str(path))
    assert not marker.exists()


def test_the_trap_works(tmp_path: Path):
    """Read without the restriction, the same files do run their code."""
    for form in ("archive", "legacy", "pickle"):
        marker, path = tmp_path / form, tmp_path / "net.pth"
        path.write_bytes(trapped(marker, form))
        if form == "pickle":
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert marker.exists()


# --- networks of our own ---

ARCHITECTURE = Architecture(
    name="small",
    layers=(Layer("conv", 5, 2, 2, 6), Layer("maxpool", 3, 2), Layer("conv", 3, 1, 1, 8)),
    pyramid=(3, 2, 1),
    fc=(16, 12),
    classes=("disc", "square", "triangle"),
    normalisation=Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.1)),
    input_size=48,
)


@pytest.fixture
def own(tmp_path: Path) -> tuple[SppClassifier, Path]:
    torch.manual_seed(3)
    model = SppClassifier(ARCHITECTURE).eval()
    save_network(tmp_path / "small.safetensors", model, {"epochs": 2})
    return model, tmp_path / "small.safetensors"


def test_own_network_gives_the_same_maps(own: tuple[SppClassifier, Path], image: torch.Tensor):
    model, path = own
    network = load_network(str(path))
    with torch.inference_mode():
        maps = run_trunk(network.trunk, image)
        assert torch.equal(maps, model.trunk(image))
        pooled = model.pool(maps)
        fc6 = torch.relu(model.fc["fc6"](pooled))
        assert torch.equal(network.head.run(pooled, "fc6"), fc6)
        assert torch.equal(network.head.run(pooled, "fc7"), torch.relu(model.fc["fc7"](fc6)))
    assert (network.backbone, network.cut, network.channels, network.input_size) == ("small", "relu2", 8, 48)
    assert (network.levels, network.head.levels) == ((3, 2, 1), (3, 2, 1))
    assert network.classes == ARCHITECTURE.classes
    assert network.normalisation == ARCHITECTURE.normalisation
    assert network.grid == CellGrid(4, 2)
    assert network.digest == load_network(str(path)).digest


def test_own_network_whole(own: tuple[SppClassifier, Path], image: torch.Tensor):
    model, path = own
    read = read_classifier(path)
    assert read.architecture == ARCHITECTURE
    assert not read.training
    with torch.inference_mode():
        assert torch.equal(read(image), model(image))
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_fine_tuned_fc_layers_leave_the_digest(own: tuple[SppClassifier, Path], tmp_path: Path):
    """Maps stay valid when only the head changes; another weight or normalisation makes other maps."""
    model, path = own
    digests = [load_network(str(path)).digest]
    changes = (model.fc["fc6"].weight, model.last.bias, model.trunk.conv1.bias)
    for parameter in changes:
        with torch.no_grad():
            parameter.view(-1)[0] += 1
        save_network(path, model, {})
        digests.append(load_network(str(path)).digest)
    model.architecture = replace(ARCHITECTURE, normalisation=INPUTS["imagenet"])
    save_network(path, model, {})
    digests.append(load_network(str(path)).digest)
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("options", [{"backbone": BACKBONE}, {"cut": "relu1"}, {"normalisation": "caffe"}])
def test_own_network_needs_no_options(own: tuple[SppClassifier, Path], options: dict):
    with pytest.raises(UsageProblem, match="describes its own network; leave out --backbone, --cut and --input"):
        load_network(str(own[1]), **options)


def test_damaged_descriptions(own: tuple[SppClassifier, Path], tmp_path: Path):
    path = own[1]
    tensors = load_file(path)
    architecture = ARCHITECTURE.to_json()
    damaged = [
        "no json",
        "[]",
        "{}",
        json.dumps({"architecture": {}}),
        json.dumps({"architecture": {**architecture, "layers": [{"kind": "conv", "colour": 1}]}}),
        json.dumps({"architecture": {**architecture, "pyramid": ["x"]}}),
        json.dumps({"architecture": {**architecture, "normalisation": None}}),
        json.dumps({"architecture": {**architecture, "pyramid": []}}),
        json.dumps({"architecture": {**architecture, "layers": []}}),
        json.dumps({"architecture": {**architecture, "layers": [{"kind": "dense", "size": 3}]}}),
        json.dumps({"architecture": {**architecture, "fc": [-4]}}),
    ]
    for description in damaged:
        save_file(tensors, path, metadata={METADATA_KEY: description})
        with pytest.raises(BadInput, match=r"small.safetensors: the description of the network is damaged"):
            load_network(str(path))


def test_own_weights_that_do_not_fit(own: tuple[SppClassifier, Path]):
    path = own[1]
    tensors = load_file(path)
    description = json.dumps({"architecture": replace(ARCHITECTURE, fc=(16, 13)).to_json()})
    save_file(tensors, path, metadata={METADATA_KEY: description})
    with pytest.raises(BadInput, match=r"do not fit the network it describes \(fc.fc7.weight has shape"):
        read_classifier(path)


def test_not_a_network_of_ours(tmp_path: Path):
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors")
    with pytest.raises(BadInput, match="not a network that spp wrote"):
        read_classifier(tmp_path / "net.safetensors")


# --- the download ---

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


# --- trained weights that lie beside the repository ---

needs_shared = pytest.mark.skipif(
    not (SHARED / "squeezenet1_0-imagenet.safetensors").exists(),
    reason="../shared/weights has no SqueezeNet weights on this machine",
)


def shared(name: str) -> Path:
    return SHARED / f"squeezenet1_0-imagenet{name}.safetensors"


@needs_shared
def test_shared_squeezenet_loads():
    network = load_network(str(shared("")), "squeezenet1_0")
    assert (network.channels, network.grid) == (512, CellGrid(16, 17))
    with pytest.raises(BadInput, match="pass --backbone squeezenet1_0"):
        load_network(str(shared("")))


@needs_shared
def test_shared_squeezenet_features_agree_with_the_caffe_file():
    """Its README: the input convention was folded into the first layer, to 1.2e-6 in float32, 1.4e-3 in float16."""
    # An image with structure: an edge, a ramp and noise, as bytes.
    rng = np.random.default_rng(0)
    pixels = np.full((227, 227, 3), 60.0)
    pixels[:, 120:] += np.array([90, 20, 60])
    pixels += np.linspace(0, 60, 227)[:, None, None] + rng.normal(0, 8, pixels.shape)
    pixels = pixels.clip(0, 255).round().astype(np.uint8)
    rgb = torch.from_numpy(INPUTS["imagenet"].apply(pixels)).permute(2, 0, 1)[None]
    caffe = Normalisation((104, 117, 123), (1, 1, 1), 1.0, "bgr")
    bgr = torch.from_numpy(caffe.apply(pixels)).permute(2, 0, 1)[None]
    expected = maps_of(shared("-caffe-bgr"), bgr, "squeezenet1_0")
    size = expected.abs().max()
    assert size > 1
    assert (maps_of(shared(""), rgb, "squeezenet1_0") - expected).abs().max() / size < 5e-6
    assert (maps_of(shared("-fp16"), rgb, "squeezenet1_0") - expected).abs().max() / size < 5e-3
