"""``jaxnn data pack``, and what the other commands say of its folder."""

from pathlib import Path

import pytest

from jaxnn.cli import main


def test_packs_checks_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "packed"

    def said(*arguments: object, code: int = 0) -> str:
        assert main(["data", *map(str, arguments)]) == code
        captured = capsys.readouterr()
        return captured.out + captured.err

    assert f"wrote {out}: 1,797 examples as pixels in 2 ArrayRecord files" in said("pack", "digits", out)
    assert "problem" not in said("check", out)
    assert f"wrote {tmp_path / 'grid.png'}" in said("show", out, "--out", tmp_path / "grid.png")
    assert "exists already" in said("pack", "digits", out, code=2)
    assert "iris is a table" in said("pack", "iris", tmp_path / "iris", code=2)
    shard = out / "test-00000.array_record"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1  # no record is there
    shard.write_bytes(data)
    assert f"problem: {shard} is not what was packed" in said("check", out, code=1)
