"""Files to the server and back: by the command line, by HTTP with ranges, across a kill of the server."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import httpx
from e2e_command_line import CommandLine
from e2e_server import ServerProcess

CommandLines = Callable[[ServerProcess], CommandLine]


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def test_a_file_goes_there_and_back(server: ServerProcess, command_line: CommandLines, tmp_path: Path) -> None:
    runner = command_line(server)
    (tmp_path / "in.bin").write_bytes(noise(9_000_000))
    code, out, err = await runner("cp", str(tmp_path / "in.bin"), "artifact:")
    assert (code, err) == (0, "")
    again = await runner("cp", str(tmp_path / "in.bin"), "artifact:")
    assert again == (0, out, "")
    assert await runner("cp", f"artifact:{out.strip()}", str(tmp_path / "out.bin")) == (0, "", "")
    assert (tmp_path / "out.bin").read_bytes() == noise(9_000_000)
    # A copy that was cut goes on; what was damaged meanwhile is noticed.
    part = tmp_path / f"third.bin.{out.strip()}.part"
    part.write_bytes(noise(9_000_000)[:5_000_000])
    assert (await runner("cp", f"artifact:{out.strip()}", str(tmp_path / "third.bin")))[0] == 0
    assert (tmp_path / "third.bin").read_bytes() == noise(9_000_000)
    part.write_bytes(b"not that")
    code, _, err = await runner("cp", f"artifact:{out.strip()}", str(tmp_path / "third.bin"))
    assert code == 1
    assert "damaged" in err
    assert not part.exists()
    assert (await runner("cp", "nowhere", "nothing"))[0] == 2


async def test_by_http(http: httpx.AsyncClient) -> None:
    data = noise(700_000)
    reply = await http.post(
        "/api/v2/artifacts", params={"name": "a.bin", "mediaType": "application/x-noise"}, content=data
    )
    assert reply.status_code == 200, reply.text
    artifact = reply.json()["artifact"]
    assert (int(artifact["size"]), artifact["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    url = f"/api/v2/artifacts/{artifact['artifactId']}/content"
    whole = await http.get(url)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["content-type"] == "application/x-noise"
    assert whole.headers["etag"] == f'"{artifact["sha256"]}"'
    for asked, start, end in (("0-9", 0, 10), ("699990-", 699_990, 700_000), ("-5", 699_995, 700_000),
                              ("100000-399999", 100_000, 400_000), ("5-99999999", 5, 700_000)):  # fmt: skip
        piece = await http.get(url, headers={"range": f"bytes={asked}"})
        assert (piece.status_code, piece.content) == (206, data[start:end])
        assert piece.headers["content-range"] == f"bytes {start}-{end - 1}/700000"
    assert (await http.get(url, headers={"range": "lines=1-2"})).status_code == 200
    assert (await http.get(url, headers={"range": "bytes=700000-"})).status_code == 400
    corrupt = await http.post("/api/v2/artifacts", params={"name": "a", "sha256": "00" * 32}, content=data)
    assert corrupt.status_code == 400
    assert "ARTIFACT_CORRUPT" in corrupt.text
    assert (await http.delete(f"/api/v2/artifacts/{artifact['artifactId']}")).status_code == 200
    assert (await http.get(url)).status_code == 404


class Killing(io.BytesIO):
    """A file that kills the server in the middle of being read, once."""

    def __init__(self, data: bytes, kill: Callable[[], None]) -> None:
        super().__init__(data)
        self.kill: Callable[[], None] | None = kill

    def read(self, size: int | None = -1, /) -> bytes:
        if self.kill is not None and self.tell() > 9_000_000:
            kill, self.kill = self.kill, None
            kill()
        return super().read(size)


async def test_a_server_that_is_killed_in_the_middle_goes_on(own_server: ServerProcess) -> None:
    own_server.start()
    data = noise(16_000_000)

    def restart() -> None:
        own_server.kill()
        own_server.start()

    async with own_server.client() as client:
        artifact = await client.artifacts.upload(Killing(data, restart), "big")
        assert artifact.sha256 == hashlib.sha256(data).hexdigest()
        got = b"".join([piece async for piece in client.artifacts.download(artifact)])
    assert got == data
