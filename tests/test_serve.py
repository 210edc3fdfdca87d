"""The server in a process of its own: every task is a function, every mistake one line, and nothing runs for ever."""

import base64
import io
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from serving import served

pytestmark = pytest.mark.slow
pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx2")
LIMITS = {
    "bytes": "1M", "pixels": "40K", "seconds": 3, "characters": 300, "samples": 4, "steps": 100, "inputs": 2,
    "queue": 2, "time": 20, "upload": 2, "values": "20K",
}  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with served(*(f"--limit={name}={number}" for name, number in LIMITS.items())) as one:
        yield one


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=120) as one:
        yield one


def png(size=(24, 20), mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8), mode).save(buffer, "PNG")
    return buffer.getvalue()


def slow():
    """A form whose work takes many seconds, in small steps."""
    return {"files": {"input": ("a.png", png((100, 100)))}, "data": {"steps": "100", "mode": "sample"}}


def error(answer, status):
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]["message"]
    assert "\n" not in message and "Traceback" not in message and len(message) < 500
    return message


def test_every_task_is_a_function_with_a_type(client):
    from vqfusion.tasks import TASKS

    paths = client.get("/openapi.json").json()["paths"]
    docs = client.get("/docs").text
    for name, task in TASKS.items():
        content = paths[f"/v1/{name}"]["post"]["requestBody"]["content"]
        schema = content["application/json"]["schema"]
        assert schema == content["multipart/form-data"]["schema"]
        assert "report" not in schema["properties"] and schema["additionalProperties"] is False
        assert ("input" in schema["properties"]) == bool(task.accepts)
        assert f"<h2>{name}</h2>" in docs
    table = {one["name"]: one for one in client.get("/v1/functions").json()["functions"]}
    assert table["translate"]["schema"]["required"] == ["input", "target"] and table["inpaint"]["files"] == ["mask"]


def test_a_function_answers_as_the_command_does(client, cli, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    assert cli("denoise", "a.png", "--sigma", "20/255", "-o", "b.png")[0] == 0
    form = {"sigma": "20/255", "response_format": "file"}
    answer = client.post("/v1/denoise", files={"input": ("a.png", png())}, data=form)
    assert answer.headers["content-type"] == "image/png" and answer.content == (tmp_path / "b.png").read_bytes()
    given = {"base64": base64.b64encode(png()).decode(), "name": "a.png"}
    as_json = client.post("/v1/denoise", json={"input": given, "sigma": "20/255", "interval": 0.9}).json()
    assert (as_json["task"], as_json["model"]) == ("denoise", "photo")
    (item,) = as_json["items"]
    assert item["coverage"] == 0.9 and abs(item["sigma"] - 20 / 255) < 1e-6
    ends = [np.asarray(Image.open(io.BytesIO(base64.b64decode(item[end]["base64"])))) for end in ("lower", "upper")]
    assert (ends[0] <= ends[1]).all() and (ends[0] < ends[1]).any()


def test_texts_labels_slots_and_masks(client):
    assert client.post("/v1/translate", json={"input": "broccoli", "target": "de"}).json()["items"] == [
        {"texts": ["Brokkoli"], "warnings": []}
    ]
    two = client.post("/v1/classify", json={"input": ["broccoli", "cat"], "top": 3}).json()["items"]
    assert [len(one["distribution"]) for one in two] == [3, 3]
    given = client.post("/v1/any", data={"target": "text:de", "given.text:en": "cat"}).json()
    assert given["items"][0]["texts"] == ["Katze"]
    mask = Image.new("L", (24, 20))
    mask.paste(255, (4, 4, 9, 9))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    files = {"input": ("a.png", png()), "mask": ("m.png", buffer.getvalue())}
    done = client.post("/v1/inpaint", files=files, data={"steps": "1", "response_format": "file"})
    made, was = (np.asarray(Image.open(io.BytesIO(data))) for data in (done.content, png()))
    assert (made[12:] == was[12:]).all() and (made[4:9, 4:9] != was[4:9, 4:9]).any()


WRONG = {
    "an unknown option": ("/v1/translate", {"json": {"input": "a", "target": "de", "tarket": 1}}, 422, "not an option"),
    "a missing option": ("/v1/translate", {"json": {"input": "a"}}, 422, "'target' is missing"),
    "no input": ("/v1/denoise", {"json": {}}, 422, "needs an input"),
    "a language": ("/v1/translate", {"json": {"input": "a", "target": "xx"}}, 422, "choose one of"),
    "a number": ("/v1/denoise", {"json": {"input": {"base64": ""}, "seed": -1}}, 422, "'seed' is '-1'"),
    "no base64": ("/v1/denoise", {"json": {"input": {"base64": "%"}}}, 422, "no valid base64"),
    "an empty file": ("/v1/denoise", {"files": {"input": ("a.png", b"")}}, 422, "empty"),
    "no picture": ("/v1/denoise", {"files": {"input": ("a.png", b"nothing")}}, 422, "the input"),
    "a sound": ("/v1/describe", {"files": {"input": ("a.wav", b"RIFF....WAVE")}}, 422, "give a picture"),
    "no model": ("/v1/translate", {"json": {"input": "a", "target": "de", "model": "../x"}}, 404, "is not one of this"),
    "a hub id": ("/v1/translate", {"json": {"input": "a", "target": "de", "model": "a/b"}}, 404, "is not one of this"),
    "another kind": ("/v1/translate", {"json": {"input": "a", "target": "de", "model": "photo"}}, 422, "is a prior"),
    "a folder": (
        "/v1/denoise",
        {"files": {"input": ("a.png", png())}, "data": {"report": "/tmp/x"}},
        422,
        "not an opt",
    ),
    "bad JSON": (
        "/v1/write",
        {"content": b"{", "headers": {"content-type": "application/json"}},
        400,
        "cannot be read",
    ),
    "a list": ("/v1/write", {"json": [1]}, 400, "one object"),
    "another type": ("/v1/write", {"content": b"a", "headers": {"content-type": "text/plain"}}, 415, "multipart"),
    "a flag": ("/v1/denoise", {"files": {"input": ("a.png", png())}, "data": {"sigma": "loud"}}, 422, "sigma 'loud'"),
    "a slot": ("/v1/any", {"json": {"target": "text:de", "given": {"smell": "a"}}}, 422, "slot 'smell'"),
    "several files": (
        "/v1/imagine",
        {"json": {"input": "cat", "samples": 2, "response_format": "file"}},
        422,
        "one res",
    ),
    "many pixels": ("/v1/denoise", {"files": {"input": ("a.png", png((300, 200)))}}, 413, "over the limit"),
    "many pixels made": (
        "/v1/upscale",
        {"files": {"input": ("a.png", png((100, 100)))}, "data": {"scale": "4"}},
        413,
        "over the limit",
    ),
    "many bytes": ("/v1/denoise", {"files": {"input": ("a.png", bytes(2**21))}}, 413, "bytes"),
    "a long text": ("/v1/translate", {"json": {"input": "a" * 400, "target": "de"}}, 413, "characters"),
    "many samples": ("/v1/write", {"json": {"samples": 5}}, 413, "samples"),
    "many steps": ("/v1/write", {"json": {"steps": 101}}, 413, "steps"),
    "many inputs": ("/v1/translate", {"json": {"input": ["a"] * 3, "target": "de"}}, 413, "inputs"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_one_line_with_its_status(client, what):
    path, request, status, words = WRONG[what]
    assert words in error(client.post(path, **request), status)


def test_wrong_addresses_and_methods(client):
    assert "nothing at this address" in error(client.get("/v1/../../etc/passwd"), 404)
    error(client.get("/static/..%2fserve.html"), 404)
    error(client.get("/v1/translate"), 405)
    error(client.delete("/v1/jobs/none"), 404)


def test_long_sounds_and_large_tables_are_refused(client):
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(4 * 8000), 8000, format="WAV")
    assert "seconds" in error(client.post("/v1/denoise", files={"input": ("a.wav", buffer.getvalue())}), 413)
    table = io.BytesIO()
    np.save(table, np.zeros(30_000, np.float32))
    assert "values" in error(client.post("/v1/denoise", files={"input": ("a.npy", table.getvalue())}), 413)


def events(lines):
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        if line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_progress_comes_at_once_and_a_job_can_be_ended(client):
    with client.stream(
        "POST", "/v1/upscale", files=slow()["files"], data=slow()["data"] | {"stream": "true"}
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        begun, seen, ended = time.perf_counter(), [], None
        for name, data in events(answer.iter_lines()):
            seen.append(name)
            if name == "queued":
                queued, job = time.perf_counter() - begun, data["job"]
            if name == "progress" and data["fraction"] > 0 and ended is None:
                assert data["fraction"] < 0.5
                assert client.delete(f"/v1/jobs/{job}").json() == {"stopped": True}
                ended = time.perf_counter()
    assert queued < 0.5 and seen[0] == "queued" and seen[-1] == "error" and "result" not in seen
    assert data["error"]["message"] == "cancelled" and time.perf_counter() - ended < 10
    quick = {"files": {"input": ("a.png", png())}, "data": {"stream": "true"}}
    with client.stream("POST", "/v1/denoise", **quick) as answer:
        names = [name for name, _ in events(answer.iter_lines())]
    assert names[0] == "queued" and names[-1] == "result" and "progress" in names


def test_a_full_queue_says_so_and_loses_nothing(client, server):
    def ask(_):
        with httpx.Client(base_url=server.url, timeout=120) as one:
            return one.post("/v1/denoise", files={"input": ("a.png", png((120, 120)))}, data={"mode": "sample"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429} and statuses.count(200) >= 3
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)


def test_a_client_that_leaves_frees_the_server(client, server):
    with httpx.Client(base_url=server.url, timeout=1.5) as impatient, pytest.raises(httpx.TimeoutException):
        impatient.post("/v1/upscale", **slow())
    begun = time.perf_counter()
    assert client.post("/v1/denoise", files={"input": ("a.png", png())}).status_code == 200
    assert time.perf_counter() - begun < 15


def test_slow_talkers_are_sent_away(server):
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as talker:
        head = f"POST /v1/write HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        talker.sendall((head + "Content-Length: 50\r\n\r\n{").encode())
        assert b" 408 " in talker.recv(4096)


def test_other_sites_and_names_are_refused(client):
    error(client.get("/v1/models", headers={"host": "evil.example"}), 403)
    error(client.post("/v1/write", json={}, headers={"origin": "http://evil.example"}), 403)
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


def test_numbers_and_log(client, server):
    error(client.post("/v1/translate", json={"input": "secret words", "target": "xx"}), 422)
    page = client.get("/metrics").text
    assert 'vqfusion_requests_total{route="/v1/translate",status="422"}' in page
    assert "vqfusion_wait_seconds_bucket" in page and "vqfusion_model_bytes" in page
    assert client.get("/health").json()["status"] == "ok"
    rows = [json.loads(line) for line in server.log]
    assert not [row for row in rows if "fault" in row]
    assert any(row["route"] == "/v1/translate" and row["status"] == 422 for row in rows)
    assert "secret" not in "".join(server.log)


def test_a_token_is_needed_where_others_listen(tmp_path):
    with served("--host", "0.0.0.0", environment={"VQFUSION_TOKEN": "s3cret"}) as server:
        assert server.address.endswith("#token=s3cret")
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=url, timeout=120) as one:
            assert one.get("/").status_code == one.get("/health").status_code == 200
            for path in ("/v1/models", "/metrics", "/v1/functions"):
                error(one.get(path), 401)
            error(one.get("/v1/models", headers={"authorization": "Bearer guess"}), 401)
            one.headers["authorization"] = "Bearer s3cret"
            assert one.get("/v1/models").json()["object"] == "list"
            # told to end, it answers what it has and takes nothing new
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(
                    one.post, "/v1/denoise", files={"input": ("a.png", png((100, 100)))}, data={"mode": "sample"}
                )
                time.sleep(1)
                server.process.send_signal(signal.SIGTERM)
                assert asked.result().status_code == 200
        assert server.end() == 0


def test_mistakes_at_the_start_are_one_line(cli):
    for arguments, words in {
        ("--limit", "pixles=3"): "the limits are",
        ("--limit", "queue=none"): "give a number",
        ("--host", "no.such.host.example"): "no address of this machine",
        ("--model", "nowhere"): "neither in the zoo",
        ("--model", "photo=nowhere"): "neither in the zoo",
    }.items():
        code, out, err = cli("serve", *arguments)
        assert code == 2 and words in err and err.count("\n") == 1, err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = cli("serve", "--port", taken.getsockname()[1])
        assert code == 2 and "choose another --port" in err
