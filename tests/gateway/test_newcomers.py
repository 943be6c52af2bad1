"""A newcomer serves a proto of their own with the lines of the how-to page, from a wheel, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "serve-your-own-proto.md").read_text()

PROTO = """
syntax = "proto3";
package newcomer.v1;
import "google/api/annotations.proto";
import "runner/gateway/v1/options.proto";

// Lends books.
service Library {
  option (runner.gateway.v1.service) = { owns_prefix: "/shelf" json_names: JSON_NAMES_PROTO };
  // Returns a book.
  rpc GetBook(GetBookRequest) returns (Book) {
    option (google.api.http) = { get: "/shelf/{name}" };
  }
  // Returns its pages.
  rpc ReadBook(GetBookRequest) returns (stream Book) {
    option (google.api.http) = { get: "/shelf/{name}/pages" };
  }
}
message GetBookRequest { string name = 1; }
message Book { string name = 1; int32 page_number = 2; }
"""
SERVICER = """
import library_pb2
import library_pb2_grpc


class Library(library_pb2_grpc.LibraryServicer):
    async def GetBook(self, request, context):
        return library_pb2.Book(name=request.name)

    async def ReadBook(self, request, context):
        for number in (1, 2):
            yield library_pb2.Book(name=request.name, page_number=number)


"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of what the page makes."""
    wheels, packages, own = tmp_path / "wheels", tmp_path / "packages", tmp_path / "own"
    own.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(packages), str(wheel)], check=True)
    (own / "library.proto").write_text(PROTO)
    # The page finds the packages where they are installed; here the wheel lies beside what it depends on.
    environment = {
        **os.environ,
        "PYTHONPATH": str(packages),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (compiling,) = (block for block in blocks("sh") if "protoc" in block)
    compiling = compiling.replace('-I"$packages"', f'-I{packages} -I"$packages"')
    subprocess.run(["sh", "-ec", compiling], cwd=own, env=environment, check=True)
    whose = [sys.executable, "-c", "import gateway, runner; print(gateway.__file__, runner.__file__)"]
    found_in = subprocess.run(whose, cwd=own, env=environment, check=True, capture_output=True, text=True).stdout
    assert found_in.count(str(packages)) == 2, "the wheel's, not the repository's"
    (own / "library.py").write_text(SERVICER + blocks("python")[0])
    command = [sys.executable, "-m", "uvicorn", "library:app", "--port", "0", "--no-use-colors"]
    with subprocess.Popen(command, cwd=own, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.search(r"running on (http://\S+)", line):
                    yield found[1]
                    break
            else:
                pytest.fail("".join(lines))
        finally:
            process.kill()


@pytest.mark.slow
def test_the_pages_lines_serve_a_proto_that_nobody_has_seen(served: str) -> None:
    assert len(blocks("python")[0].strip().splitlines()) == 5, "five lines, with the blank one"
    with httpx.Client(base_url=served, timeout=60, trust_env=False) as client:
        assert client.get("/shelf/dune").json() == {"name": "dune", "page_number": 0}
        assert client.get("/shelf/dune/pages", headers={"accept": "application/x-ndjson"}).text == (
            '{"name":"dune","page_number":1}\n{"name":"dune","page_number":2}\n'
        )
        assert client.get("/shelf/dune?nope=1").status_code == 400
        assert client.delete("/shelf/dune").headers["allow"] == "GET, HEAD, OPTIONS"
        assert set(client.get("/openapi.json").json()["paths"]) == {"/shelf/{name}", "/shelf/{name}/pages"}
        assert client.get("/docs").status_code == 200
