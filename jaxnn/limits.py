"""How much a file may ask for: what is packed, or only claimed, in a few bytes must not fill the memory."""

_GROWTH = 100  # pixels of drawings in .gz take a tenth of the bytes, digits a fifth; a bomb a thousandth
_SMALL = 2**28  # bytes that any file may become: blank images do compress a thousandfold

LARGEST_MEMBER = 2**28  # bytes of one file in an archive: an image or a CIFAR batch is far smaller
LARGEST_READ = 2**20  # bytes of a header in a tar: names and attributes are far smaller
DEEPEST_FOLDERS = 8  # folders may be links; this ends a circle of them


def unpacked(size: int) -> int:
    """The bytes that may come of a packed file of ``size`` bytes."""
    return max(_SMALL, _GROWTH * size)
