"""Records, datasets on disk, strict checking and the importers of foreign formats. Imports without torch."""

from rise_vlm.data.card import Card
from rise_vlm.data.dataset import Dataset
from rise_vlm.data.record import Record
from rise_vlm.data.writer import DatasetWriter

__all__ = ["Card", "Dataset", "DatasetWriter", "Record"]
