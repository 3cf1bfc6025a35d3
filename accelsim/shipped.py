"""The shipped files by kind and name. Nothing is read: completion of words needs it fast."""

from __future__ import annotations

from pathlib import Path

from accelsim.errors import AccelsimError, Fault, nearest

FOLDERS = {
    "cascade": "einsum_cascades",
    "arch": "archs",
    "mapping": "archs/mappings",
    "workload": "workloads",
    "sweep": "studies",
    "search": "studies",
    "figures": "studies",
    "validation": "studies",
}


def data_root() -> Path:
    """Folder of the shipped files: inside an installed wheel, else the checkout."""
    package = Path(__file__).resolve().parent
    shipped = package / "_data"
    return shipped if shipped.is_dir() else package.parent


def names(kind: str) -> tuple[str, ...]:
    """Names of the shipped files of a kind, sorted."""
    return tuple(sorted(path.stem for path in (data_root() / FOLDERS[kind]).glob("*.yaml")))


def find(name: str, kind: str, beside: Path | None = None) -> Path:
    """The file that `name` means: a path (when it ends as one), or a shipped name.

    A relative path is taken from the folder `beside` when given. Raises AccelsimError.
    """
    if is_path(name, kind):
        path = Path(name) if beside is None else beside / name
        if not path.is_file():
            folder = " (it is a folder)" if path.is_dir() else ""
            raise AccelsimError(f"no {kind} file {str(path)!r}{folder}")
        return path
    if name not in names(kind):
        message = f"no {kind} named {name!r} is shipped; a file of your own must end in .yaml"
        message += ", or a model's config in .json" if kind == "workload" else ""
        raise AccelsimError(Fault(message, help=nearest(name, names(kind))))
    return data_root() / FOLDERS[kind] / f"{name}.yaml"


def is_path(name: str, kind: str) -> bool:
    """Whether a name is the path of a file: a workload may be a model's config.json."""
    endings = (".yaml", ".yml", ".json") if kind == "workload" else (".yaml", ".yml")
    return name.endswith(endings)
