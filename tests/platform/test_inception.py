"""The real file cannot be had without network: a small TorchScript module of the same form stands in for it."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from torch import nn

from unlatent.platform import inception
from unlatent.platform.inception import NAME, open_inception


class StandIn(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2048, 1))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "stand_in.pt"
    torch.jit.script(StandIn()).save(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, content):
    monkeypatch.setattr(inception, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/nothing-answers-here")
    return tmp_path / "cache"


@pytest.fixture
def served(monkeypatch, content):
    """A server of the file. Gives the list of requests that it had."""
    requests = []

    class Files(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content if "whole" in self.path else content[:1000])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(inception, "URL", f"http://127.0.0.1:{server.server_port}/whole")
    yield requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_images_of_any_size_and_one_channel_have_2048_features(tmp_path, content):
    (tmp_path / "mine.pt").write_bytes(content)

    extractor = open_inception(str(tmp_path / "mine.pt"), download=False)
    features, scores = extractor.network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))

    assert features.shape == (2, 2048) and scores is None
    assert (extractor.name, extractor.accuracy) == ("inception", None)


def test_without_the_file_it_says_which_file_to_put_where(cache):
    with pytest.raises(
        ValueError, match=f"needs {NAME}: put it at {cache / NAME}, name it by evaluation.inception_file"
    ):
        open_inception(None, download=False)


def test_a_named_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"evaluation\.inception_file=.*/no\.pt cannot be read: No such file"):
        open_inception(str(tmp_path / "no.pt"), download=False)


def test_another_file_is_never_loaded(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("it was loaded"))
    cache.mkdir()
    for path, named in ((tmp_path / "other.pt", True), (cache / NAME, False)):
        path.write_bytes(b"other code")

        with pytest.raises(ValueError, match=f"{path} is not {NAME}: its sha256 is"):
            open_inception(str(path) if named else None, download=False)


def test_it_is_downloaded_once_where_that_is_allowed(served, cache):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: open_inception(None, download=True), range(4)))

    assert len(served) == 1
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == [NAME]


def test_a_download_cut_short_is_not_kept(served, cache, monkeypatch):
    monkeypatch.setattr(inception, "URL", inception.URL.replace("whole", "part"))

    with pytest.raises(ValueError, match="is not inception"):
        open_inception(None, download=True)

    assert not (cache / NAME).exists()


def test_a_download_that_fails_says_where_to_put_the_file(cache):
    with pytest.raises(ValueError, match=f"cannot be downloaded .*; put the file at {cache / NAME}"):
        open_inception(None, download=True)
