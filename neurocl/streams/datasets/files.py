"""Finding, fetching and unpacking a dataset's files; every mishap is one line that names the file and the way out.

``NEUROCL_DATA`` names the folder of datasets; nothing is ever written there. Without it files are looked for in the
user's cache folder, and what is missing is downloaded to there from the address in
:mod:`neurocl.streams.datasets.sources`.
"""

import gzip
import hashlib
import lzma
import os
import tarfile
import zlib
from pathlib import Path

from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets.sources import Source

PACKINGS = ("", ".gz", ".xz")
LARGEST_FILE = 1 << 30  # unpacked bytes; the largest known file has 182 million


def data_folder() -> Path:
    """Return the folder of datasets: ``NEUROCL_DATA``, or the user's cache folder.

    Raises:
        BadInput: If ``NEUROCL_DATA`` names no folder.
    """
    named = os.environ.get("NEUROCL_DATA")
    if not named:
        import pooch

        return Path(pooch.os_cache("neurocl"))
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise BadInput(
            f"NEUROCL_DATA must name a folder; {named!r} is none: create it, or unset NEUROCL_DATA to download"
        )
    return folder


def find(source: Source, name: str) -> Path | None:
    """Return where a file lies, packed or not, or ``None``."""
    root = data_folder()
    candidates = (root / folder / (name + packing) for folder in source.folders for packing in PACKINGS)
    return next((path for path in candidates if path.is_file()), None)


def read(source: Source, name: str) -> tuple[Path, bytes]:
    """Return a file's place and its unpacked content, downloaded first where that is allowed and necessary.

    Raises:
        BadInput: Missing, not downloadable, corrupted, or with another checksum than the published one.
    """
    path = obtain(source, name)
    content = unpack(path)
    expected = source.contents.get(name)
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise BadInput(
            f"{path} is not the published {source.title} file (its checksum differs): replace it by a fresh copy"
        )
    return path, content


def obtain(source: Source, name: str) -> Path:
    """Return where a file lies, downloaded first where that is allowed and necessary."""
    path = find(source, name)
    if path is not None:
        return path
    if os.environ.get("NEUROCL_DATA") or not source.address:
        raise BadInput(
            f"{source.title} is missing: no file {name} (or .gz, .xz) in {data_folder() / source.folders[0]}; "
            "place it there (data/README.md says how), or unset NEUROCL_DATA to download it"
        )
    fetch(source, name)
    path = find(source, name)
    if path is None:
        raise BadInput(
            f"the download of {source.title} holds no file {name}; place it in {data_folder() / source.folders[0]}"
        )
    return path


def fetch(source: Source, name: str) -> None:
    """Download a file, or the archive that holds it, into the cache folder.

    Checksums are verified before a file gets its name, so that a broken download leaves nothing behind.

    Raises:
        BadInput: No network, an address that does not answer, a wrong checksum, or a folder that cannot be written.
    """
    import pooch

    wanted = [file for file in source.hashes if source.archive or Path(file).stem == name or file == name]
    folder = data_folder() / source.folders[0]
    if not wanted:
        raise BadInput(f"{name} of {source.title} cannot be downloaded: place it in {folder}, as data/README.md says")
    try:
        fetched = pooch.retrieve(
            url=source.address + wanted[0], known_hash=source.hashes[wanted[0]], fname=wanted[0], path=folder
        )
    except (OSError, ValueError) as error:  # what goes wrong with the network is an OSError
        response = getattr(error, "response", None)
        if response is not None:
            response.close()  # pooch leaves it open
        remove_empty(folder)
        reason = type(error).__name__ if isinstance(error, OSError) else "its checksum is wrong"
        raise BadInput(
            f"could not download {source.title} from {source.address}{wanted[0]} ({reason}): check the network and try "
            "again, or place the file by hand and name the folder in NEUROCL_DATA (data/README.md says how)"
        ) from error
    if source.archive:
        extract(Path(fetched), folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder and those above it, as far as the folder of datasets, while they are empty."""
    while folder != data_folder() and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def extract(archive: Path, folder: Path) -> None:
    """Put the files of a tar archive into ``folder``, without their own folders, and remove the archive."""
    try:
        with tarfile.open(archive) as members:
            for member in members:
                content = members.extractfile(member)
                if content is None or member.size > LARGEST_FILE:
                    continue
                part = folder / (Path(member.name).name + ".part")
                part.write_bytes(content.read())
                part.replace(part.with_suffix(""))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{archive} cannot be unpacked ({error}): delete it and try again") from error
    archive.unlink()


def unpack(path: Path) -> bytes:
    """Return a file's content, unpacked if its name ends in ``.gz`` or ``.xz``."""
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise BadInput(f"{path} is corrupted or cannot be read ({error}): replace it by a fresh copy") from error
    if len(content) > LARGEST_FILE:
        raise BadInput(f"{path} unpacks to more than {LARGEST_FILE} bytes, which no known dataset does: replace it")
    return content
