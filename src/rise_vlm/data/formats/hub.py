"""A data set of the Hugging Face hub, ``NAME`` or ``NAME:CONFIG``, or a folder that ``save_to_disk`` wrote.

The library ``datasets`` (the extra ``hub``) downloads into its cache, once and after it was told, and reads its Arrow
files; rows stream from there as in ``hubrows``, pictures undecoded. ``HF_HUB_OFFLINE=1`` allows no network: what the
cache holds is read. Left out: streaming from the network, which would load all twice, as an import reads twice.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.console import say
from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Found, Note, Options, scratch_folder
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.hubrows import BATCH, Columns, HubRows
from rise_vlm.data.formats.places import SPLIT_NAMES, Images, split_in
from rise_vlm.data.formats.reading import list_of, object_of, read_json, text_of
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError, UserError

NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?::([\w.-]+))?")
"""Repository and, after a colon, configuration."""

DICT, STATE = "dataset_dict.json", "state.json"
"""What ``save_to_disk`` writes for several splits, and for each."""


def sees(glimpse: Glimpse) -> str | None:
    """A folder that save_to_disk wrote."""
    saved = glimpse.is_folder and any((glimpse.source / name).is_file() for name in (DICT, STATE))
    return "a data set that save_to_disk wrote" if saved and glimpse.suffixes[".arrow"] else None


def task_for(source: Path) -> str | None:
    """Detection where there are objects and no label of the whole image."""
    return next((_columns(table).task for table in _open(source).values()), None)


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every row of every split."""
    tables = _open(source)
    images = Images.of(source, options.images) if source.is_dir() or options.images else _Cached()
    with scratch_folder(options) as scratch:
        for name, table in tables.items():
            split = SPLIT_NAMES.get(name.casefold()) or split_in(PurePosixPath(name))
            if split is None and name:
                yield Note(f"the split '{name}' goes by no name of ours; its rows are taken as of no split.")
            rows = HubRows(name or source.name, split, _columns(table), images, options, scratch)
            yield from rows.told()
            yield from rows.read(_rows(table, rows.used))


def _columns(table: Any) -> Columns:
    return Columns(table.column_names, table.features.to_dict())


def _rows(table: Any, used: list[str]) -> Iterator[dict[str, Any]]:
    """The rows as Arrow holds them: pictures as bytes or path."""
    for batch in table.select_columns(used).with_format("arrow").iter(batch_size=BATCH):
        yield from batch.to_pylist()


def _open(source: Path) -> dict[str, Any]:
    """Split -> table of ``datasets``. Raises DataError where there is none, or where ``datasets`` is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{source} is read by the library 'datasets': pip install 'rise-vlm[hub]'.") from error
    if source.exists():
        _need_saved(source)
        try:
            found = datasets.load_from_disk(str(source))
        except Exception as error:  # a damaged file can make Arrow and datasets raise anything
            raise DataError(f"{source} cannot be read by 'datasets': {_line(error)}") from error
        return _by_split(found)
    return _of_hub(str(source))


def _by_split(found: Any) -> dict[str, Any]:
    """Split -> table; the name of a table alone may be empty."""
    return dict(found) if isinstance(found, dict) else {str(found.split or ""): found}


def _need_saved(source: Path) -> None:
    """Raise DataError unless ``source`` is what save_to_disk writes, all its files regular and within."""
    if not any((source / name).is_file() for name in (DICT, STATE)):
        raise DataError(
            f"{source} is here and has neither {DICT} nor {STATE}, as save_to_disk writes. Without 'hub' its format is "
            f"guessed: rise data import {source}."
        )
    folders = [source]
    if (source / DICT).is_file():
        splits = list_of(object_of(read_json(source / DICT)).get("splits"))
        folders = [safe_join(source, text_of(split)) for split in splits]
    for folder in folders:
        for name in (text_of(object_of(file).get("filename")) for file in _state(folder)):
            path = safe_join(source, (folder.relative_to(source) / name).as_posix())
            if not path.is_file():
                raise DataError(f"{path}, which {folder / STATE} names, is missing or no regular file.")


def _state(folder: Path) -> list[Any]:
    return list_of(object_of(read_json(folder / STATE)).get("_data_files"))


@lru_cache(maxsize=1)
def _of_hub(name: str) -> dict[str, Any]:
    """The splits of a data set of the hub, downloaded unless the cache has it; an import opens it several times."""
    import datasets

    found = NAME.fullmatch(name)
    if found is None:
        raise DataError(f"{name} is missing, and no name of the hub, such as user/name or user/name:config.")
    say(f"Looking for '{name}' on the hub; HF_HUB_OFFLINE=1 keeps to what is in the cache.")
    try:
        builder = datasets.load_dataset_builder(found[1], found[2])
        if not Path(builder.cache_dir).exists():
            _announce(name, builder)
            builder.download_and_prepare()
        return _by_split(builder.as_dataset())
    except UserError:
        raise
    except Exception as error:  # no network, no such name, no right to it, a repository of any kind
        raise DataError(f"'{name}' cannot be had from the hub: {_line(error)}") from error


def _announce(name: str, builder: Any) -> None:
    """Tell what will be downloaded and where to; a person at the terminal is asked."""
    size = builder.info.download_size
    told = f"{size / 1e6:,.0f} MB" if size else "a size that the hub does not state"
    say(f"'{name}' will be downloaded into {builder.cache_dir}: {told}.")
    if sys.stdin.isatty() and sys.stderr.isatty():
        say("Go on? [y/N]")
        if not sys.stdin.readline().strip().casefold().startswith("y"):
            raise UserError("Nothing was downloaded.", exit_code=1)


def _line(error: Exception) -> str:
    """A library's message in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


class _Cached(Images):
    """Finds images by the absolute paths that ``datasets`` gives those in its caches, and no others."""

    def __init__(self) -> None:
        from datasets import config
        from huggingface_hub.constants import HF_HUB_CACHE

        roots = [Path(config.HF_DATASETS_CACHE), Path(HF_HUB_CACHE)]
        super().__init__(roots[0], roots, deep=False)

    def find(self, name: str, near: Iterable[str] = (), id_: str | None = None) -> Path:
        """The image at ``name``. Raises BadRow where that is not in a cache."""
        for root in self.roots:
            if Path(name).is_relative_to(root):
                try:
                    return self._safe(root, Path(name).relative_to(root).as_posix())
                except DataError as error:
                    raise BadRow("path", str(error), id_) from error
        raise BadRow("missing image", f"'{name[:80]}' is not in the cache of the hub", id_)
