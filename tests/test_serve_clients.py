"""The application without a network between: other people's clients, hostile requests, and nothing that is a path."""

import asyncio
import base64
import io
import json
import random
import sys
from contextlib import asynccontextmanager

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx2")

MUTATED = 1000


def png(size=(12, 10), mode="RGB"):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], len(mode)), dtype=np.uint8), mode).save(buffer, "PNG")
    return buffer.getvalue()


@asynccontextmanager
async def client(**limits):
    """A client of an application in this process."""
    from vqfusion.web.app import application
    from vqfusion.web.bounds import Bounds
    from vqfusion.web.service import Service

    service = Service.of([], "cpu", Bounds(**limits), workers=1)
    app = application(service, log=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server", timeout=300) as one:
        yield one
    await service.jobs.close()


def test_the_client_of_openai_speaks_with_it():
    openai = pytest.importorskip("openai")

    async def speak():
        async with (
            client() as http,
            openai.AsyncOpenAI(api_key="none", base_url="http://server/v1", http_client=http) as ai,
        ):
            assert {"emoji", "photo"} <= {model.id async for model in ai.models.list()}
            assert (await ai.models.retrieve("emoji")).owned_by == "vqfusion"
            said = await ai.audio.speech.create(model="emoji", voice="clara", input="broccoli", response_format="wav")
            heard = await ai.audio.transcriptions.create(model="emoji", file=("a.wav", said.content), language="en")
            assert heard.text == "broccoli"
            raw = await ai.audio.speech.create(model="emoji", voice="clara", input="broccoli", response_format="pcm")
            assert raw.content == said.content[-len(raw.content) :] and len(raw.content) > 1000
            drawn = await ai.images.generate(model="emoji", prompt="broccoli", n=2, response_format="b64_json")
            sizes = [Image.open(io.BytesIO(base64.b64decode(one.b64_json))).size for one in drawn.data]
            assert sizes == [(64, 64), (64, 64)]
            holed = np.asarray(Image.open(io.BytesIO(png((24, 20), "RGBA")))).copy()
            holed[..., 3] = 255
            holed[5:9, 5:9, 3] = 0
            buffer = io.BytesIO()
            Image.fromarray(holed).save(buffer, "PNG")
            picture = png((24, 20))
            edited = await ai.images.edit(
                model="photo", image=("a.png", picture), mask=("m.png", buffer.getvalue()), prompt="sky"
            )
            made = np.asarray(Image.open(io.BytesIO(base64.b64decode(edited.data[0].b64_json))))
            was = np.asarray(Image.open(io.BytesIO(picture)))
            same = (made == was).all(-1)
            assert same[12:].all() and not same[5:9, 5:9].all()
            for form in ("float", "base64"):
                vectors = await ai.embeddings.create(model="emoji", input=["cat", "dog", "cat"], encoding_format=form)
                cat, dog, again = (
                    np.frombuffer(base64.b64decode(one.embedding), "<f4")
                    if form == "base64"
                    else np.array(one.embedding)
                    for one in vectors.data
                )
                assert np.allclose(cat, again, atol=1e-6) and abs(cat @ cat - 1) < 1e-5 and cat @ dog < 0.99
            with pytest.raises(openai.NotFoundError, match="not one of this server"):
                await ai.audio.speech.create(model="tts-1", voice="alloy", input="a")
            with pytest.raises(openai.UnprocessableEntityError, match="choose one of"):
                await ai.audio.speech.create(model="emoji", voice="alloy", input="cat")
            for arguments in ({"size": "1024x1024"}, {"response_format": "url"}):
                with pytest.raises(openai.UnprocessableEntityError):
                    await ai.images.generate(model="emoji", prompt="cat", **arguments)
            with pytest.raises(openai.UnprocessableEntityError, match="mask"):
                await ai.images.edit(model="photo", image=("a.png", picture), prompt="sky")

    asyncio.run(speak())


def test_the_tools_of_an_agent_are_the_functions(tmp_path):
    mcp = pytest.importorskip("mcp")
    from mcp.client.stdio import stdio_client

    from vqfusion.tasks import TASKS

    async def speak():
        how = mcp.StdioServerParameters(command=sys.executable, args=["-m", "vqfusion", "mcp"], env=_environment())
        with (tmp_path / "log").open("w") as log:
            async with stdio_client(how, errlog=log) as streams, mcp.ClientSession(*streams) as session:
                await session.initialize()
                tools = {tool.name: tool for tool in (await session.list_tools()).tools}
                assert set(tools) == set(TASKS) and tools["translate"].input_schema["required"] == ["input", "target"]
                said = await session.call_tool("translate", {"input": "broccoli", "target": "de"})
                assert [one.text for one in said.content] == ["Brokkoli"] and not said.is_error
                given = {"base64": base64.b64encode(png()).decode()}
                seen = await session.call_tool("denoise", {"input": given, "sigma": "10/255"})
                (picture,) = [one for one in seen.content if one.type == "image"]
                assert Image.open(io.BytesIO(base64.b64decode(picture.data))).size == (12, 10)
                wrong = await session.call_tool("denoise", {"input": given, "sigma": "loud"})
                assert wrong.is_error and "sigma 'loud' is not a number" in wrong.content[0].text
                for name, arguments in (("denoise", {"input": "/etc/passwd"}), ("shell", {})):
                    wrong = await session.call_tool(name, arguments)
                    assert wrong.is_error and "root:" not in wrong.content[0].text

    asyncio.run(speak())


def _environment():
    import os

    return dict(os.environ)


def test_nothing_that_a_client_names_is_opened(tmp_path):
    """Every text of every function is the path of a file, which is not read."""
    from vqfusion.web.functions import functions

    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    opened = []

    def audit(event, arguments):
        if event in ("open", "os.listdir", "os.scandir") and str(tmp_path) in str(arguments[:1]):
            opened.append(arguments[0])

    sys.addaudithook(audit)
    path = str(secret)

    async def ask():
        async with client() as http:
            for name, function in functions().items():
                texts = [
                    key
                    for key, one in function.options.model_json_schema()["properties"].items()
                    if "string" in str(one)
                ]
                needed = {"target": "text:de" if function.slots else "de"} if "target" in texts else {}
                body = dict(needed, input=path) if function.task.accepts else needed
                for key in ["", *texts]:
                    tried = (
                        body
                        | ({key: path} if key else {})
                        | ({function.slots: {"text:en": path}} if function.slots else {})
                    )
                    answer = await http.post(f"/v1/{name}", json=tried)
                    assert "the secret" not in answer.text and answer.status_code != 500, (name, key, answer.text)
                cells = f"text:en,label\n{path},food\n{path},animal\n".encode()  # names of files in a file
                picture, table = ({"base64": base64.b64encode(data).decode(), "name": path} for data in (png(), cells))
                for given in (path, picture, table):
                    files = dict.fromkeys(function.files, given) | ({"input": picture} if function.task.accepts else {})
                    slots = {function.slots: {"text:en": path}} if function.slots else {}
                    answer = await http.post(f"/v1/{name}", json=body | files | slots)
                    assert "the secret" not in answer.text and answer.status_code != 500, (name, given, answer.text)

    asyncio.run(ask())
    assert not opened


def bases():
    """Requests that are answered, or nearly: path, headers, body."""
    mark = b"frontier"
    form = b"".join(
        b'--frontier\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, file, data)
        for name, file, data in ((b"input", b'; filename="a.png"', png()), (b"sigma", b"", b"10/255"))
    )
    kind = {"content-type": f"multipart/form-data; boundary={mark.decode()}"}
    yield "/v1/denoise", kind, form + b"--frontier--\r\n"
    js = {"content-type": "application/json"}
    given = {"base64": base64.b64encode(png()).decode(), "name": "a.png"}
    for path, body in {
        "/v1/translate": {"input": "cat", "target": "de", "source": "en", "seed": 1},
        "/v1/any": {"target": "label", "given": {"text:en": "cat", "image": given}, "samples": 1},
        "/v1/inpaint": {"input": [given], "mask": given, "steps": 1},
        "/v1/upscale": {"input": given, "scale": 2, "mode": "mean", "steps": 1, "method": "auto"},
        "/v1/embeddings": {"input": ["cat"], "model": "emoji", "encoding_format": "float"},
        "/v1/audio/speech": {"input": "cat", "model": "emoji", "voice": "clara", "response_format": "wav", "speed": 1},
        "/v1/images/generations": {"prompt": "cat", "n": 1, "model": "emoji", "size": "auto"},
        "/v1/images/edits": {"image": given, "mask": given, "n": 1, "prompt": ""},
        "/v1/audio/transcriptions": {"file": given, "model": "emoji", "response_format": "json"},
        "/v1/classify": {"input": "cat", "top": 2, "stream": True},
    }.items():
        yield path, js, json.dumps(body).encode()


ODD = [
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "\0",
    "../../x",
    "NaN",
    [],
    {},
    [[]],
    {"base64": 1},
    {"a": {}},
    "\ud83d",
    "é" * 50,
    ["a", 1],
]


def mutated(chance, path, headers, body):
    """One request with something in it changed."""
    what = chance.randrange(6)
    if what < 3 and headers["content-type"] == "application/json":
        fields = json.loads(body)
        key = chance.choice(list(fields))
        if what == 0:
            fields[key] = chance.choice(ODD)
        elif what == 1:
            fields[chance.choice(["", "x", "model", "input", "given.image", "stream", "n", key * 2])] = chance.choice(
                ODD
            )
        else:
            del fields[key]
        return path, headers, json.dumps(fields).encode()
    if what < 4:
        body = bytearray(body)
        for _ in range(chance.randint(1, 8)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        return path, headers, bytes(body)
    if what == 4:
        return path, headers, body[: chance.randrange(len(body))]
    kind = chance.choice(
        ["", "multipart/form-data", "multipart/form-data; boundary=", "application/json; charset=x", "a/b"]
    )
    kind = kind or chance.choice([one[1]["content-type"] for one in bases()])
    return path, {"content-type": kind}, body


def test_a_thousand_mutated_requests_are_no_fault():
    chance, known = random.Random(19), list(bases())

    async def ask():
        counts: dict[int, int] = {}
        async with client(time=30, characters=200) as http:
            for i in range(MUTATED):
                path, headers, body = mutated(chance, *known[i % len(known)])
                answer = await http.post(path, headers=headers, content=body)
                counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
                assert answer.status_code != 500 and "Traceback" not in answer.text, (i, path, headers, body[:300])
                if answer.status_code >= 400:
                    message = answer.json()["error"]["message"]
                    assert message and "\n" not in message and len(message) < 500
                assert "server_error" not in answer.text, answer.text[:300]
        return counts

    counts = asyncio.run(ask())
    assert counts.get(422, 0) > 100 and counts.get(200, 0) > 50, counts
