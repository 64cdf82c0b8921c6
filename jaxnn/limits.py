"""How much a file may ask for: what is packed, or only claimed, in a few bytes must not fill the memory."""

import zipfile

_GROWTH = 100  # times its own size: MNIST in .gz becomes 5 times as large, a bomb 1,000 times
_SMALL = 2**28  # bytes that any file may become: blank images do compress a thousandfold
_PICTURES = 2**32  # bytes that any set of pictures may become: drawings and masks pack well

LARGEST_MEMBER = 2**28  # bytes of one file in an archive: an image or a CIFAR batch is far smaller
LARGEST_READ = 2**20  # bytes of a header in a tar: names and attributes are far smaller
DEEPEST_FOLDERS = 8  # folders may be links; this ends a circle of them


def require_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Raises ValueError unless the members of a zip of ``size`` bytes are in it as they are, none packed or twice."""
    members = archive.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > size:
        raise ValueError("its members are packed")


def unpacked(size: int) -> int:
    """The bytes that may come of a packed file of ``size`` bytes."""
    return max(_SMALL, _GROWTH * size)


def decoded(size: int) -> int:
    """The bytes of pixels that may come of picture files of ``size`` bytes together."""
    return max(_PICTURES, _GROWTH * size)
