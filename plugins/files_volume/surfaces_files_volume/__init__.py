"""Files for Surfaces on a volume shared with the agents."""

from surfaces_files_volume.settings import VolumeSettings
from surfaces_files_volume.volume import VolumeFiles

__all__ = ["VolumeFiles", "VolumeSettings"]
