"""Pictures in the records of ArrayRecord files, with or without TensorFlow Datasets."""

import re
from pathlib import Path
from typing import Any

from jaxgan.data.builders import import_array_record
from jaxgan.errors import UsageError, first_line


class Records:
    """Encoded pictures in the records of ArrayRecord files, one in each record.

    Raises `UsageError` for files that cannot be read or have no records.
    """

    def __init__(self, files: list[Path]):
        self.where = files[0] if len(files) == 1 else files[0].parent
        module = import_array_record()
        try:
            self.source = module.ArrayRecordDataSource([str(f) for f in files])
            self.count = len(self.source)
        except Exception as error:  # The errors of the reader have no common type.
            raise UsageError(
                f"{self.where} cannot be read as ArrayRecord: {first_line(error)}"
            ) from error
        if not self.count:
            raise UsageError(f"{self.where} has no records")

    def __len__(self) -> int:
        return self.count

    def name(self, i: int) -> str:
        """Returns the name of a record."""
        return f"record {i} of {self.where}"

    def read(self, i: int) -> bytes:
        """Returns the content of a record. Raises `OSError`."""
        return read_record(self.source, i)


class PreparedRecords:
    """Encoded pictures of a split that TensorFlow Datasets has prepared.

    source: a data source of TFDS that does not decode. feature: the name of its image feature.
    where: the name of the split in messages.
    """

    def __init__(self, source: Any, feature: str, where: str):
        self.source, self.feature, self.where = source, feature, where

    def __len__(self) -> int:
        return len(self.source)

    def name(self, i: int) -> str:
        """Returns the name of a record."""
        return f"record {i} of {self.where}"

    def read(self, i: int) -> bytes:
        """Returns the content of a picture. Raises `OSError`."""
        return read_record(self.source, i)[self.feature]


def read_record(source: Any, i: int) -> Any:
    """Returns an element of a data source. Raises `OSError` if it cannot be read."""
    try:
        return source[i]
    except MemoryError:
        raise
    except Exception as error:  # The errors of the reader have no common type.
        raise OSError(first_line(error)) from error


def list_records(folder: Path) -> list[Path]:
    """Returns the ArrayRecord files in a folder, in order."""
    return sorted(file for file in folder.iterdir() if is_records(file))


def is_records(file: Path) -> bool:
    """Returns whether a file is named like an ArrayRecord file, or like a shard of one."""
    return re.search(r"\.array_record(-\d+-of-\d+)?$", file.name) is not None
