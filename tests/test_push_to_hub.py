"""Publishing and fetching, against a small server that speaks the hub's protocol, in a process without network."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import vqfusion
from vqfusion.config import PriorConfig
from vqfusion.hub import ZOO
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.card import card
from vqfusion.tokenizers.quantizers import FiniteScalarQuantizer

COMMIT = "3" * 40
PUSH = """
import sys, vqfusion
model = vqfusion.load(sys.argv[1], "cpu")
print(model.push_to_hub("ada/small", private=True, token="hf_test"))
"""


class Hub(BaseHTTPRequestHandler):
    """Repositories in memory; every file comes whole, inside the commit."""

    made: dict = {}
    files: dict[str, bytes] = {}

    def answer(self, data, code=200):
        body = json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if "/resolve/" in self.path:
            return self.file(body=True)
        held = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        if "/tree/" in self.path:
            return self.answer(
                [{"type": "file", "path": one["rfilename"], "size": one["size"], "oid": "0" * 40} for one in held]
            )
        return self.answer({"sha": COMMIT, "siblings": held, "id": "ada/small"})

    def do_HEAD(self):
        self.file(body=False)

    def file(self, body):
        """One file of the only commit there is."""
        data = self.files.get(self.path.partition("?")[0].rpartition("/")[2])
        if data is None:
            return self.answer({}, 404)
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self.answer({"error": "no right to write"}, 401)
        if self.path.endswith("/repos/create"):
            self.made.update(json.loads(body))
            return self.answer({"url": f"http://{self.headers['Host']}/ada/small", "id": "ada/small"})
        if self.path.endswith("/validate-yaml"):
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            paths = [one["path"] for one in json.loads(body)["files"]]
            return self.answer(
                {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for p in paths]}
            )
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            page = f"http://{self.headers['Host']}/ada/small/commit/{'1' * 40}"
            return self.answer({"commitOid": "1" * 40, "commitUrl": page, "success": True})
        return self.answer({"error": f"no {self.path}"}, 404)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    Hub.made.clear()
    Hub.files.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def environment(endpoint, home):
    env = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return env | {"HF_HUB_DISABLE_XET": "1"}


def push(code, folder, endpoint, home):
    command = [sys.executable, "-c", code, folder]
    return subprocess.run(command, env=environment(endpoint, home), capture_output=True, text=True)


def models(hub, home, *arguments, **more):
    """`vqfusion models ...` in a process of its own."""
    command = [sys.executable, "-m", "vqfusion", "models", *map(str, arguments)]
    return subprocess.run(command, env=environment(hub, home) | more, capture_output=True, text=True)


def test_a_pushed_model_is_whole_and_has_its_card(hub, tmp_path):
    Prior(PriorConfig(widths=(4, 8), depths=(1, 1))).save_pretrained(tmp_path / "own")
    done = push(PUSH, str(tmp_path / "own"), hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr[-2000:]
    assert Hub.made["name"] == "small" and Hub.made["organization"] == "ada"
    assert Hub.made.get("private") or Hub.made.get("visibility") == "private"
    assert sorted(Hub.files) == ["README.md", "config.json", "prior.safetensors"]
    page = Hub.files["README.md"].decode()
    for words in ("library_name: vqfusion", "vqfusion.load('ada/small')", "| modalities | image |", "## Licence"):
        assert words in page
    for name, data in Hub.files.items():
        (tmp_path / name).write_bytes(data)
    assert vqfusion.load(str(tmp_path), "cpu").config == Prior(PriorConfig(widths=(4, 8), depths=(1, 1))).config


def test_a_hub_that_refuses_is_one_line(hub, tmp_path):
    FiniteScalarQuantizer((5, 4)).save_pretrained(tmp_path / "own")
    code = PUSH.replace("hf_test", "hf_other").replace("print(", "print('pushed', ")
    done = push(code, str(tmp_path / "own"), hub, tmp_path / "home")
    assert done.returncode == 1 and "UserError: ada/small: the hub did not take the model" in done.stderr
    assert not Hub.files


def test_a_card_of_ones_own_is_kept(tmp_path):
    quantizer = FiniteScalarQuantizer((5, 4))
    quantizer.save_pretrained(tmp_path)
    path = tmp_path / "README.md"
    assert "| kind | quantizer |" in path.read_text()
    path.write_text("Mine.\n")
    quantizer.save_pretrained(tmp_path)
    assert path.read_text() == "Mine.\n"


def test_the_card_of_a_shipped_model_has_its_scores(system):
    page = card(system, ZOO / "emoji", "ada/emoji")
    for words in (
        "# emoji",
        "| modalities | image, audio, label, style, speaker, text |",
        "| PSNR | 27.98 dB |",
        "vqfusion.load('ada/emoji')",
    ):
        assert words in page, page[:1500]


@pytest.mark.slow
def test_push_then_pull_by_the_command(hub, tmp_path):
    tmp_path.chmod(0o755)
    ours = Prior(PriorConfig(widths=(4, 8), depths=(1, 1)))
    ours.save_pretrained(tmp_path / "own")
    home = tmp_path / "home"
    done = models(
        hub, home, "push", tmp_path / "own", "ada/small", "--licence", "cc-by-4.0", "--json", HF_TOKEN="hf_test"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["url"].endswith("1" * 40)
    assert "license: cc-by-4.0" in Hub.files["README.md"].decode()
    Hub.files["run.py"] = b"raise SystemExit"  # what does not belong to a model is not fetched
    done = models(hub, home, "pull", "ada/small")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == f"ada/small@{COMMIT}"
    folder = home / "hub" / "models--ada--small" / "snapshots" / COMMIT
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "prior.safetensors"]
    assert vqfusion.load(str(folder), "cpu").config == ours.config
    done = models("http://127.0.0.1:9", home, "pull", f"ada/small@{COMMIT}", "--json")  # a commit needs no hub
    assert done.returncode == 0 and json.loads(done.stdout)["licence"] == "cc-by-4.0", done.stderr
    done = models(hub, tmp_path / "other", "pull", "ada/small", VQFUSION_MAX_MODEL_BYTES="1K")
    assert done.returncode == 2 and "VQFUSION_MAX_MODEL_BYTES" in done.stderr
    del Hub.files["config.json"]
    done = models(hub, tmp_path / "other", "pull", "ada/small")
    assert done.returncode == 2 and "holds no vqfusion model on the hub" in done.stderr
