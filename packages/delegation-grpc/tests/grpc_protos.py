"""The services that tests call, compiled by protoc itself."""

import atexit
import shutil
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc

from actas.delegation.grpc.descriptors import Descriptors, from_file

PROTOS = Path(__file__).parent / "protos"


def compiled(folder: Path, target: Path, *names: str, imports: bool = True) -> Path:
    """``target``, in which the ``.proto`` files ``names`` of ``folder`` are described."""
    included = ["--include_imports", "--include_source_info"] if imports else []
    library = files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{folder}", f"-I{library}", *included, f"--descriptor_set_out={target}", *names]
    assert protoc.main(arguments) == 0, names
    return target


@cache
def shop_file() -> Path:
    """A descriptor file with the shop, kept as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="actas-grpc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return compiled(PROTOS, folder / "shop.pb", "shop.proto")


def written(folder: Path, text: str, name: str = "a.proto", imports: bool = True) -> Path:
    """A descriptor file that describes the proto file ``text``."""
    (folder / name).write_text(text)
    return compiled(folder, folder / f"{name}.pb", name, imports=imports)


@cache
def shop() -> Descriptors:
    return from_file(str(shop_file()))


def message(name: str) -> Any:
    """The class of a message of the shop."""
    return GetMessageClass(shop().pool.FindMessageTypeByName(name if "." in name else f"shop.v1.{name}"))
