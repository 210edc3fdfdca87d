"""C++ search: compiled on first use, stored in the user's cache folder, loaded with ctypes."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.files import cache_folder, own_folder

SOURCE = files("vqfusion.tokenizers.kernels") / "nearest_code.cpp"
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread")
EXTRAS = (("-march=native", "-fopenmp"), ("-march=native",), ("-mcpu=native",), ())  # the first that compiles
COMPILER_SECONDS = 60


def load() -> Callable[[Tensor, Tensor], Tensor]:
    """Return the search as a function of vectors and codebook, both float32 on the CPU.

    The library is stored in `$XDG_CACHE_HOME/vqfusion` or `~/.cache/vqfusion` under a name that depends on the source,
    the flags and the processor. It is moved there when complete, so that several processes may compile it at the same
    time.

    Raises:
        OSError: The cache folder cannot be written.
        RuntimeError: There is no compiler, or none compiles the source.
        UserError: Other users can write to the cache folder.
    """
    source = SOURCE.read_bytes()
    path = own_folder(cache_folder()) / f"nearest_code-{_digest(source)}.so"
    if not path.exists():
        _compile(source, path)
    try:
        function = ctypes.CDLL(str(path)).nearest_code
    except (OSError, AttributeError):  # built for another system that shares this cache folder
        _compile(source, path)
        function = ctypes.CDLL(str(path)).nearest_code
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [pointer, integer, pointer, pointer, integer, integer, integer, ctypes.c_int, pointer]
    function.restype = ctypes.c_int

    def search(x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"]) -> Int[Tensor, " N"]:
        x = x if x.stride(1) == 1 else x.contiguous()
        codebook, center = codebook.contiguous(), codebook.mean(dim=0)
        indices = torch.empty(len(x), dtype=torch.int64)
        failed = function(
            x.data_ptr(),
            x.stride(0),
            codebook.data_ptr(),
            center.data_ptr(),
            len(x),
            len(codebook),
            x.shape[1],
            torch.get_num_threads(),
            indices.data_ptr(),
        )
        if failed:
            raise MemoryError("no memory for the packed codebook")
        return indices

    return search


def _digest(source: bytes) -> str:
    parts = (source, repr((FLAGS, EXTRAS)), sys.platform, platform.machine(), str(platform.libc_ver()), _processor())
    return hashlib.sha256(b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest()[:16]


def _processor() -> str:
    """Model and instruction sets of the processor: a library compiled for one may crash on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    wanted = "model name", "flags", "Features", "CPU implementer", "CPU part"
    return "\n".join(line for line in lines if line.startswith(wanted))


def _compile(source: bytes, path: Path) -> None:
    compilers = [found for name in COMPILERS if (found := shutil.which(name))]
    if not compilers:
        raise RuntimeError(f"no C++ compiler ({', '.join(COMPILERS)})")
    message = ""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        code, library = Path(folder) / "nearest_code.cpp", Path(folder) / path.name
        code.write_bytes(source)
        for compiler in compilers:
            for extra in EXTRAS:
                command = [compiler, *FLAGS, *extra, "-o", str(library), str(code)]
                try:
                    done = subprocess.run(command, capture_output=True, timeout=COMPILER_SECONDS)
                except (OSError, subprocess.TimeoutExpired) as error:
                    message = str(error)
                    continue
                if done.returncode == 0 and library.exists():
                    os.replace(library, path)
                    return
                message = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    raise RuntimeError(f"{compilers[0]} does not compile the search: {message}")
