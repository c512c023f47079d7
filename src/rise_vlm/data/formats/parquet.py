"""Parquet with an image column, as hub data sets have it (see ``hubrows``): written by us, or by ``datasets``.

Rows stream; pictures inside of the file pass through a temporary folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rise_vlm.data.formats.base import Entry, Found, Note, Options, Target, scratch_folder
from rise_vlm.data.formats.guessing import METADATA, Glimpse
from rise_vlm.data.formats.hubrows import BATCH, TASKS, Columns, HubRows
from rise_vlm.data.formats.places import Images, annotation_files
from rise_vlm.data.formats.reading import object_of
from rise_vlm.errors import DataError

FILE = "data/{split}-00000-of-00001.parquet"
IMAGES = ""
LARGEST = 1 << 27
"""Bytes that the rows in memory may take."""


def sees(glimpse: Glimpse) -> str | None:
    """Parquet files, but those that only describe images beside them."""
    return "Parquet files" if glimpse.suffixes[".parquet"] and not glimpse.names & METADATA else None


def task_for(source: Path) -> str | None:
    """The task that a file of ours names; detection where there are objects and no label of the whole image."""
    import pyarrow
    import pyarrow.parquet

    for path, _, _ in annotation_files(source, "parquet", [".parquet"])[:1]:
        with suppress(pyarrow.ArrowException, OSError, ValueError, AttributeError):
            columns, ours, _ = _described(pyarrow.parquet.read_schema(path))
            return ours["task"] if ours.get("task") in TASKS else columns.task
    return None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield the items of every row."""
    images = Images.of(source, options.images)
    with scratch_folder(options) as scratch:
        for path, name, split in annotation_files(source, "parquet", [".parquet"]):
            yield from _file(path, name, split, images, options, scratch)


def _file(path: Path, name: str, split: str | None, images: Images, options: Options, scratch: Path) -> Iterator[Found]:
    with opened(path) as file:
        columns, ours, sound = _described(file.schema_arrow)
        if not sound:
            yield Note(f"{name}: the features in its metadata cannot be read, so classes are not named by them.")
        rows = HubRows(name, split, columns, images, options, scratch)
        classes = ours.get("classes")
        yield from rows.told([each for each in classes if isinstance(each, str)] if classes else ())
        read = 0
        for batch in batches(file, rows.used):
            yield from rows.read(batch, read + 1)
            read += len(batch)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A ``ParquetFile``. Raises DataError where it, or what is read of it meanwhile, cannot be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no readable Parquet file: {' '.join(str(error).split())[:300]}") from error


def batches(file: Any, columns: Sequence[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    """The rows of a ``ParquetFile``, as many at a time as surely fit into LARGEST bytes, at most BATCH."""
    for batch in file.iter_batches(batch_size=_rows_at_once(file.metadata), columns=columns):
        yield batch.to_pylist()


def _rows_at_once(metadata: Any) -> int:
    """How many rows fit into LARGEST bytes, were each as large as all that a column of a row group holds: a value that
    is stored once may be that of every row.
    """
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    sizes = [group.column(at).total_uncompressed_size for group in groups for at in range(group.num_columns)]
    return max(1, min(BATCH, LARGEST // max([1, *sizes])))


def _described(schema: Any) -> tuple[Columns, dict[str, Any], bool]:
    """The columns of a file, what we wrote down of it, and whether its metadata could be read."""
    metadata = schema.metadata or {}
    try:
        ours = json.loads(metadata.get(b"rise", b"{}"))
        theirs = json.loads(metadata.get(b"huggingface", b"{}"))
        features = theirs.get("info", {}).get("features", {})
        return Columns(schema.names, object_of(features)), object_of(ours), isinstance(features, dict)
    except (ValueError, AttributeError, RecursionError):
        return Columns(schema.names, {}), {}, False


def write_file(entries: Iterable[Entry], path: Path, target: Target) -> None:
    """Write one file per split, pictures inside, the features told as hub data sets do."""
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)])
    columns = {"id": text, "image": image, "annotation": text, "question": text, "rationale": text}
    columns |= {"score": pyarrow.float64(), "meta": text}
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns}
    features |= {"image": {"_type": "Image"}, "score": {"dtype": "float64", "_type": "Value"}}
    ours = {"task": target.task, "classes": list(target.classes)}
    told = {"rise": ours, "huggingface": {"info": {"features": features}}}
    metadata = {key: json.dumps(value).encode() for key, value in told.items()}
    schema = pyarrow.schema(list(columns.items()), metadata=metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        waiting: list[dict[str, Any]] = []
        for entry in entries:
            waiting.append(_written(entry))
            if len(waiting) == BATCH:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))


def _written(entry: Entry) -> dict[str, Any]:
    text = entry.annotation if isinstance(entry.annotation, str) else None
    plain = text is not None and text.lstrip()[:1] not in ("{", "[", '"')
    return {
        "id": entry.id,
        "image": {"bytes": entry.file.read_bytes() if entry.file else None, "path": entry.name},
        "annotation": text if plain else json.dumps(entry.annotation, ensure_ascii=False),
        "question": entry.question,
        "rationale": entry.rationale,
        "score": entry.score,
        "meta": json.dumps(entry.meta, ensure_ascii=False) if entry.meta else None,
    }
