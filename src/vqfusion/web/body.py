"""The body of a request -> `Asked`: multipart forms, as of browsers and curl, or JSON with files in base64."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from vqfusion.web.asked import Asked, Content
from vqfusion.web.bounds import Bounds
from vqfusion.web.functions import Function
from vqfusion.web.refusal import Refusal

FORMATS = ("json", "file")
FLAGS = {"stream": False, "preview": False}
TRUTH = {"true": True, "1": True, "on": True, "false": False, "0": False, "": False}
MOST_FIELDS = 64


@dataclass(frozen=True)
class Sent:
    """Body of a request: its fields in order, values or contents, each perhaps several times."""

    fields: list[tuple[str, Any]]

    def take(self, name: str, default: Any = None) -> Any:
        """The last value of a field, which is removed."""
        found = [value for key, value in self.fields if key == name]
        self.fields[:] = [(key, value) for key, value in self.fields if key != name]
        return found[-1] if found else default

    def take_all(self, name: str) -> list[Any]:
        """All values of a field, which are removed; a list counts as several."""
        found = [value for key, value in self.fields if key == name]
        self.fields[:] = [(key, value) for key, value in self.fields if key != name]
        return [one for value in found for one in (value if isinstance(value, list) else [value])]

    def rest(self) -> dict[str, Any]:
        """The fields that are left, as options."""
        return dict(self.fields)


@dataclass(frozen=True)
class Wanted:
    """In which form the answer is wanted."""

    asked: Asked
    as_file: bool
    stream: bool


async def read_body(request: Request, bounds: Bounds) -> Sent:
    """Fields of a request; Refusal where it is malformed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            return Sent(_json(await request.body()))
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            is_plain = kind.endswith("urlencoded")
            form = await (request.form() if is_plain else _Form.of(request, max(2**20, 4 * bounds.characters)))
            request.scope["vqfusion.form"] = form  # closed by `Guard` when the answer is sent
            return Sent([(name, _part(value)) for name, value in form.multi_items()])
    except (MultiPartException, HTTPException) as error:
        said = error.message if isinstance(error, MultiPartException) else error.detail
        raise Refusal(400, f"the form cannot be read: {said}") from None
    except ClientDisconnect:
        raise Refusal(499, "the client has gone") from None
    except (ValueError, KeyError, AssertionError, IndexError, LookupError) as error:
        raise Refusal(400, f"the body cannot be read ({type(error).__name__}); send a form or JSON") from None
    raise Refusal(415, "send multipart/form-data, or application/json with files in base64")


class _Form(MultiPartParser):
    """A multipart form, of which a part that is cut off is an error and not dropped."""

    whole = False

    def on_end(self) -> None:
        super().on_end()
        self.whole = True

    @classmethod
    async def of(cls, request: Request, most: int) -> FormData:
        """The form in a request, whose fields that are no files have at most `most` bytes."""

        async def stream() -> AsyncGenerator[bytes]:
            async for chunk in request.stream():
                yield chunk
            if not form.whole:
                raise MultiPartException("it is cut off")

        form = cls(request.headers, stream(), max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=most)
        return await form.parse()


def wanted(function: Function, sent: Sent) -> Wanted:
    """The request in the fields; Refusal with the first mistake in one line."""
    form = sent.take("response_format", "json")
    if form not in FORMATS:
        raise Refusal(422, f"response_format is {str(form)[:40]!r}; choose json or file")
    flags = {name: _truth(name, sent.take(name, default)) for name, default in FLAGS.items()}
    inputs = [content(one, "input") for one in sent.take_all("input")]
    task = function.task
    if inputs and not task.accepts:
        raise Refusal(
            422, f"{task.name} takes no input but slots: {function.slots}.text:en, {function.slots}.image, ..."
        )
    if not inputs and task.accepts and task.needs_input:
        raise Refusal(422, f"{task.name} needs an input: {' or '.join(task.accepts)}")
    files = {name: content(value, name) for name in function.files if (value := sent.take(name)) is not None}
    for name in function.needed_files:
        if name not in files:
            raise Refusal(422, f"{task.name} needs the file {name!r}")
    slots = _slots(function.slots, sent) if function.slots else {}
    options = function.parse(sent.rest())
    asked = Asked(function, options, inputs, files, slots, flags["preview"])
    return Wanted(asked, form == "file", flags["stream"])


def content(value: Any, name: str) -> Content:
    """Content of a field: an uploaded file, a text, or `{"base64": ..., "name": ...}`; Refusal for others."""
    if isinstance(value, Content):
        return value
    if isinstance(value, str):
        return Content(text=value)
    if isinstance(value, dict) and isinstance(value.get("base64"), str) and set(value) <= {"base64", "name"}:
        text = value["base64"]
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            return Content.of_file(base64.b64decode(text, validate=True), str(value.get("name") or ""))
        except (binascii.Error, ValueError):
            raise Refusal(422, f"{name!r} holds no valid base64") from None
    raise Refusal(422, f'{name!r} is neither a text nor {{"base64": "...", "name": "photo.jpg"}}')


def _slots(field: str, sent: Sent) -> dict[str, Content]:
    """Contents by slot: fields `given.image` of a form, or one object."""
    whole = sent.take(field) or {}
    if not isinstance(whole, dict):
        raise Refusal(422, f'{field!r} is an object with a content for each slot, as in {{"text:en": "broccoli"}}')
    parts: Iterable[tuple[str, Any]] = [*whole.items()]
    dotted = [name for name, _ in sent.fields if name.startswith(f"{field}.")]
    parts = [*parts, *((name.partition(".")[2], sent.take(name)) for name in dict.fromkeys(dotted))]
    return {slot: content(value, f"{field}.{slot}"[:60]) for slot, value in parts}


def _json(data: bytes) -> list[tuple[str, Any]]:
    try:
        whole = json.loads(data)
    except RecursionError:
        raise ValueError("too deep") from None
    if b"\\ud" in data.lower():
        json.dumps(whole, ensure_ascii=False).encode()  # half of a surrogate pair is no text: UnicodeEncodeError
    if not isinstance(whole, dict):
        raise Refusal(400, "the JSON is one object with the options as its keys")
    return list(whole.items())


def _part(value: UploadFile | str) -> Any:
    if isinstance(value, UploadFile):
        return Content.of_file(value.file, value.filename or "")
    return value


def _truth(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in TRUTH:
        return TRUTH[value.lower()]
    raise Refusal(422, f"{name} is {str(value)[:40]!r}; give true or false")
