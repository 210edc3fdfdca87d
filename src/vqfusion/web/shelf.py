"""Models that are kept loaded, within a budget of memory."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from vqfusion.errors import UserError
from vqfusion.hub import find_model, zoo
from vqfusion.models.kinds import kind_of, open_model
from vqfusion.web.refusal import Refusal

OVERHEAD = 1.3  # bytes of a loaded model for each byte of its weights, about


class Shelf:
    """The models of a server by name; those used least recently are let go where the budget needs it.

    Names are those of the zoo, and those that were given when the server was started; a client can ask for no other.

    Args:
        given: Further models: `name=folder`, a folder, or `owner/name` on the hub.
        device: Device of the models.
        memory: Budget in bytes; the model that is used last may exceed it alone.

    Raises:
        UserError: A model is not found, or two have one name.
    """

    def __init__(self, given: list[str], device: str | None, memory: int):
        self.folders = {name: find_model(name) for name in zoo()}
        for one in given:
            name, _, place = one.rpartition("=")
            folder = find_model(place)
            name = name or Path(place).name.removesuffix(".zip")
            if name in self.folders:
                raise UserError(f"--model {one}: there is a model {name!r} already; give it as another-name={place}")
            self.folders[name] = folder
        self.kinds = {name: kind_of(folder) for name, folder in self.folders.items()}
        self.device, self.memory = device, memory
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._lock = Lock()

    def check(self, name: str, kinds: tuple[str, ...]) -> None:
        """Raise Refusal where there is no model of this name, or it is of none of these kinds."""
        fitting = [one for one, kind in self.kinds.items() if kind in kinds]
        if name not in self.folders:
            raise Refusal(404, f"model {name[:60]!r} is not one of this server; it has {', '.join(fitting)}")
        if name not in fitting:
            raise Refusal(422, f"model {name!r} is a {self.kinds[name]} and cannot do this; use {', '.join(fitting)}")

    def get(self, name: str) -> Any:
        """The model of this name, loaded where it is not yet."""
        with self._lock:
            if name not in self._loaded:
                needed = self.bytes_of(name)
                while self._loaded and self.resident() + needed > self.memory:
                    self._loaded.popitem(last=False)
                self._loaded[name] = open_model(self.folders[name], self.device)
            self._loaded.move_to_end(name)
            return self._loaded[name]

    def bytes_of(self, name: str) -> int:
        """Bytes of memory that a model takes, about."""
        return int(OVERHEAD * sum(path.stat().st_size for path in self.folders[name].glob("*.safetensors")))

    def resident(self) -> int:
        """Bytes of the models that are loaded."""
        return sum(self.bytes_of(name) for name in self._loaded)
