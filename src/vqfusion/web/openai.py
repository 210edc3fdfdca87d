"""Routes in the shapes that clients of OpenAI's interface speak; each one asks a function of the table."""

import base64
import io
import struct
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from vqfusion.hub import DEFAULT_MODEL
from vqfusion.web.asked import Asked, Content
from vqfusion.web.body import Sent, content, read_body
from vqfusion.web.functions import functions
from vqfusion.web.refusal import Refusal
from vqfusion.web.service import Service

router = APIRouter(tags=["OpenAI's shapes"])
SOUNDS = {"wav": ".wav", "mp3": ".mp3", "flac": ".flac", "opus": ".opus", "pcm": ".wav"}
PLAIN = "text"
TRANSCRIPTS = ("json", PLAIN, "verbose_json")
ANY_VOICE = ("", "auto", "default")


async def _begin(request: Request) -> tuple[Service, Sent]:
    service: Service = request.app.state.service
    return service, await read_body(request, service.bounds)


def _asked(name: str, inputs: list[Content], options: dict[str, Any], files: dict[str, Content] | None = None) -> Asked:
    function = functions()[name]
    values = {key: value for key, value in options.items() if value not in (None, "")}
    return Asked(function, function.parse(values), inputs, files or {})


def _text(sent: Sent, name: str) -> str:
    value = sent.take(name)
    if not isinstance(value, str) or not value.strip():
        raise Refusal(422, f"{name!r} is missing: give a text")
    return value


def _file(sent: Sent, name: str) -> Content:
    value = sent.take(name)
    if value is None:
        raise Refusal(422, f"{name!r} is missing: give a file")
    return content(value, name)


def _refuse_rest(sent: Sent, ignored: tuple[str, ...]) -> list[str]:
    """Warnings about what is ignored; Refusal for names that the interface does not have."""
    rest = {name: value for name, value in sent.rest().items() if value not in (None, "")}
    unknown = [name for name in rest if name.removesuffix("[]") not in ignored]
    if unknown:
        raise Refusal(422, f"{unknown[0][:60]!r} is not an option here")
    return [f"{name} is ignored: this server has no such thing" for name in rest]


@router.get("/v1/models", summary="The models of this server")
async def models(request: Request) -> dict[str, Any]:
    """List the models, and what kind each one is."""
    service: Service = request.app.state.service
    began = int(request.app.state.began)
    rows = [
        {"id": name, "object": "model", "created": began, "owned_by": "vqfusion", "kind": kind}
        | {"bytes": service.shelf.bytes_of(name)}
        for name, kind in service.shelf.kinds.items()
    ]
    return {"object": "list", "data": rows}


@router.get("/v1/models/{name}", summary="One model")
async def model(request: Request, name: str) -> dict[str, Any]:
    """Find one model of the list."""
    rows = (await models(request))["data"]
    found = next((row for row in rows if row["id"] == name), None)
    if found is None:
        raise Refusal(404, f"model {name[:60]!r} is not one of this server; it has {', '.join(r['id'] for r in rows)}")
    return found


@router.post("/v1/audio/transcriptions", summary="Write down what a voice says")
async def transcriptions(request: Request) -> Response:
    """Answer with the text, as JSON or plain."""
    service, sent = await _begin(request)
    form = sent.take("response_format") or "json"
    if form not in TRANSCRIPTS:
        raise Refusal(422, f"response_format is {str(form)[:40]!r}; choose {', '.join(TRANSCRIPTS)}")
    language = sent.take("language") or "en"
    options = {"model": sent.take("model"), "language": language}
    asked = _asked("transcribe", [_file(sent, "file")], options)
    lines = _refuse_rest(sent, ("prompt", "temperature", "timestamp_granularities", "include", "chunking_strategy"))
    done = await service.run(request, asked)
    text = done.items[0]["texts"][0]
    if form == PLAIN:
        return PlainTextResponse(text + "\n")
    more = {"task": "transcribe", "language": language, "warnings": done.report["warnings"] + lines}
    return JSONResponse({"text": text} | (more if form == "verbose_json" else {}))


@router.post("/v1/audio/speech", summary="Say a text aloud")
async def speech(request: Request) -> Response:
    """Answer with the sound as a file."""
    service, sent = await _begin(request)
    form = sent.take("response_format") or "mp3"
    if form not in tuple(SOUNDS):
        raise Refusal(422, f"response_format is {str(form)[:40]!r}; choose one of {', '.join(SOUNDS)}")
    if str(sent.take("speed") or 1) not in ("1", "1.0"):
        raise Refusal(422, "speed is 1 here")
    voice = sent.take("voice") or ""
    options = {"model": sent.take("model"), "speaker": None if voice in ANY_VOICE else voice}
    options |= {"language": sent.take("language"), "seed": sent.take("seed")}
    asked = _asked("speak", [Content(text=_text(sent, "input"))], options)
    _refuse_rest(sent, ("instructions", "stream_format"))
    done = await service.run(request, asked, SOUNDS[form])
    (file,) = done.files
    if form == "pcm":
        return Response(_samples(file.data), media_type="audio/pcm")
    return Response(file.data, media_type=file.media_type)


@router.post("/v1/images/generations", summary="Draw a picture of what a text names")
async def generations(request: Request) -> Response:
    """Answer with pictures in base64."""
    service, sent = await _begin(request)
    _check_picture_options(sent)
    style = sent.take("style")
    options = {"model": sent.take("model"), "samples": sent.take("n"), "seed": sent.take("seed")}
    options |= {"style": style, "language": sent.take("language")}
    asked = _asked("imagine", [Content(text=_text(sent, "prompt"))], options)
    lines = _refuse_rest(sent, ("quality", "user", "background", "moderation"))
    return _pictures(await service.run(request, asked), lines)


@router.post("/v1/images/edits", summary="Fill in the part of a picture that a mask leaves open")
async def edits(request: Request) -> Response:
    """Answer with the picture in base64; the mask is transparent where the picture is to be filled in."""
    service, sent = await _begin(request)
    _check_picture_options(sent)
    pictures = [content(one, "image") for one in (*sent.take_all("image"), *sent.take_all("image[]"))]
    if len(pictures) != 1:
        raise Refusal(422, f"'image' is one picture here, not {len(pictures)}")
    mask = sent.take("mask")
    prompt, count = sent.take("prompt"), sent.take("n")
    options = {"model": sent.take("model"), "samples": count, "seed": sent.take("seed")}
    options |= {"mode": None if str(count or 1) == "1" else "sample", "steps": sent.take("steps")}
    opened = _opened(content(mask, "mask") if mask is not None else pictures[0])
    if opened is None and mask is None:
        raise Refusal(422, "'mask' is missing: a picture of the same size, transparent where to fill in")
    marked = content(mask, "mask") if opened is None else Content.of_file(opened, "mask.png")
    asked = _asked("inpaint", pictures, options, {"mask": marked})
    lines = _refuse_rest(sent, ("quality", "user", "background", "input_fidelity"))
    if prompt:
        lines.append("prompt is ignored: what is filled in follows from the rest of the picture")
    return _pictures(await service.run(request, asked), lines)


@router.post("/v1/embeddings", summary="A vector for each text")
async def embeddings(request: Request) -> Response:
    """Answer with vectors of unit length."""
    service, sent = await _begin(request)
    given = sent.take("input")
    texts = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise Refusal(422, "'input' is a text or a list of texts, none of them empty")
    service.bounds.check_count("inputs", len(texts))
    service.bounds.check_count("characters", max(map(len, texts)))
    name, language = sent.take("model") or DEFAULT_MODEL, sent.take("language") or "en"
    form = sent.take("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise Refusal(422, f"encoding_format is {str(form)[:40]!r}; choose float or base64")
    _refuse_rest(sent, ("user",))
    service.shelf.check(str(name), ("system",))

    def embed() -> list[list[float]]:
        from vqfusion.tasks.task import text_slot

        system = service.shelf.get(str(name))
        return system.embed({text_slot(system, str(language)): texts}).tolist()

    vectors = await service.run(request, embed)
    rows = [
        {"object": "embedding", "index": i, "embedding": one if form == "float" else _floats(one)}
        for i, one in enumerate(vectors)
    ]
    characters = sum(map(len, texts))
    usage = {"prompt_tokens": characters, "total_tokens": characters}
    return JSONResponse({"object": "list", "data": rows, "model": name, "usage": usage})


def _check_picture_options(sent: Sent) -> None:
    """Take options about the form of a picture; Refusal where it is not what this server gives."""
    form, size = sent.take("response_format") or "b64_json", sent.take("size") or "auto"
    if form != "b64_json":
        raise Refusal(422, "response_format is b64_json here: pictures are not kept to be fetched by a url")
    if size != "auto":
        raise Refusal(422, "size is auto here: the model or the picture has its own")
    if (sent.take("output_format") or "png") != "png":
        raise Refusal(422, "output_format is png here")
    if sent.take("stream") not in (None, False, "false"):
        raise Refusal(422, "stream: use /v1/imagine or /v1/inpaint, which tell their progress")


def _pictures(done: Any, lines: list[str]) -> Response:
    rows = [{"b64_json": one["base64"]} for item in done.items for one in item["outputs"]]
    warnings = [*done.report["warnings"], *(line for item in done.items for line in item["warnings"]), *lines]
    return JSONResponse({"created": int(time.time()), "data": rows, "warnings": list(dict.fromkeys(warnings))})


def _opened(mask: Content) -> bytes | None:
    """A mask that is transparent where to fill in, as one that is white there; None for one without transparency."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    data = mask.read()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as picture:
            if "A" not in picture.getbands() or picture.width * picture.height > 10**8:
                return None
            alpha = np.asarray(picture.getchannel("A"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # the task says what is wrong with it
    buffer = io.BytesIO()
    Image.fromarray(((alpha < 128) * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _samples(wave: bytes) -> bytes:
    """16-bit samples of a WAV file."""
    import soundfile

    data, _ = soundfile.read(io.BytesIO(wave), dtype="int16")
    return data.astype("<i2").tobytes()


def _floats(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
