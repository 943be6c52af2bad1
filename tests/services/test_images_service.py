"""Images: packages taken apart, pushed, pulled and found."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.domain.errors import ImageNotFound, InvalidArgument, RegistryUnavailable
from runner_service.domain.images import (
    Image,
    ImageManifest,
    TaggedImage,
    digest_of,
    make_image,
    raw_members,
    read_manifest,
    split_reference,
)
from runner_service.ports.blobs import BlobNotFound
from runner_service.services.images import Images, PackedFile, open_package
from runner_service.store import SqlStore

MANIFEST: dict[str, Any] = {"entrypoint": ["python3", "agent.py"], "model": "m", "tools": [{"name": "clock"}]}
AGENT = b"print('hello')\n"


def tar(*members: tuple[str, bytes], **fields: Any) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def package(**changes: Any) -> bytes:
    return tar(("./agent.json", json.dumps(MANIFEST | changes).encode()), ("agent.py", AGENT))


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.fixture
def images(store: SqlStore, blobs: DirectoryBlobs) -> Images:
    return Images(store=store.images, blobs=blobs)


def test_an_archive_gives_manifest_and_files_whatever_its_times_and_order() -> None:
    manifest, archive = open_package(package())
    assert manifest.entrypoint == ("python3", "agent.py") and manifest.has_tool("clock")
    assert manifest.files == digest_of(archive) and manifest.files_bytes == len(archive)
    moved = tar(("agent.py", AGENT), ("agent.json", json.dumps(MANIFEST).encode()), mtime=99, uid=7)
    assert make_image(open_package(moved)[0]).image_id == make_image(manifest).image_id
    assert open_package(gzip.compress(package())) == (manifest, archive)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert opened.getnames() == ["agent.py"]


def test_a_manifest_alone_and_any_other_file_are_images_too() -> None:
    manifest, archive = open_package(json.dumps(MANIFEST).encode())
    assert manifest.model == "m" and archive == b"" and manifest.files == ""
    manifest, archive = open_package(b"hello")
    assert manifest.entrypoint == () and manifest.files_bytes == len(archive) > 0


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (tar(("../agent.py", b"x")), "leads out"),
        (tar(("/etc/passwd", b"x")), "leads out"),
        (tar(("link", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"), "neither a file nor"),
        (tar(("pipe", b""), type=tarfile.FIFOTYPE), "neither a file nor"),
        (package()[:1300], "damaged"),
        (gzip.compress(package())[:-20], "damaged"),
        (b'{"entrypoint": "python3"}', "a list"),
        (b'{"entrypoint": ["python3"],}', "not a JSON object"),
        (b'{"parameters": [1]}', "give an object"),
        (b'{"environment": {"A": 1}}', "object of strings"),
        (b'{"tools": [1]}', "a name"),
        (tar(("x" * 200, b"x")), "too long"),
    ],
)
def test_what_an_image_may_not_hold_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        open_package(data)


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    with pytest.raises(InvalidArgument, match="at most"):
        open_package(gzip.compress(bytes(130 * 1024 * 1024), 1))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a"}', '{"a":1,}', '{"a":1} x', "{1:2}", "nul"])
def test_members_are_read_from_objects_alone(text: str) -> None:
    with pytest.raises(ValueError):
        raw_members(text)


def test_members_stay_as_they_were_written() -> None:
    assert raw_members(' { "a" : 1.0e5 , "b": {"c": [0.70]} }') == {"a": "1.0e5", "b": '{"c": [0.70]}'}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("a", ("a", "latest")), ("a/b:v1", ("a/b", "v1")), ("host:5000/a", ("host:5000/a", "latest"))],
)
def test_a_reference_has_a_name_and_a_tag(reference: str, expected: tuple[str, str]) -> None:
    assert split_reference(reference) == expected


async def test_what_is_pushed_is_here_and_in_the_registry(images: Images) -> None:
    pushed = await images.push(
        name="user/bot", tag="v1", package=package(), description="Helps", metadata={"author": "me", "team": "x"}
    )
    manifest = pushed.image.manifest
    assert (manifest.description, manifest.author, manifest.model) == ("Helps", "me", "m")
    assert manifest.metadata == {"team": "x"}
    assert read_manifest(pushed.image.manifest_json) == manifest
    assert await images.get("user/bot:v1") == pushed
    found = await images.search("BOT", limit=10)
    assert found.images == (pushed,) and found.total == 1
    with tarfile.open(fileobj=io.BytesIO(await images.files(manifest))) as opened:
        assert opened.getnames() == ["agent.py"]


async def test_an_image_is_found_by_id_prefix_and_name(images: Images) -> None:
    pushed = await images.push(name="bot", tag="latest", package=package())
    digits = pushed.image.image_id.removeprefix("sha256:")
    for reference in (pushed.image.image_id, digits, digits[:12], f"sha256:{digits[:6]}", "bot", "bot:latest"):
        assert await images.get(reference) == pushed
    for reference in ("", "sha256:", "bot:v2", "other", "0000ffff0000"):
        if reference == "sha256:":  # the start of every id, and so of the only one
            continue
        with pytest.raises(ImageNotFound):
            await images.get(reference)
    await images.push(name="bot", tag="v2", package=package(model="other"))
    with pytest.raises(ImageNotFound):
        await images.get("sha256:")


async def test_a_name_that_begins_like_an_id_is_still_a_name(images: Images) -> None:
    pushed = await images.push(name="cafe", tag="latest", package=package())
    assert await images.get("cafe") == pushed


async def test_a_push_by_reference_gives_a_known_image_another_name(images: Images) -> None:
    first = await images.push(name="a", tag="latest", package=package())
    again = await images.push(name="b", tag="v9", reference=first.image.image_id)
    assert again.image == first.image and again.reference == "b:v9"
    with pytest.raises(ImageNotFound):
        await images.push(name="c", tag="latest", reference="sha256:" + "0" * 64)


async def test_a_push_without_content_is_a_description_with_perhaps_an_entrypoint(images: Images) -> None:
    bare = await images.push(name="a", tag="latest", description="Just words")
    assert bare.image.manifest.entrypoint == () and bare.image.manifest.description == "Just words"
    said = {"entrypoint": "python3 -c 'print(1)'", "capabilities": "web, mail", "llm": "gpt"}
    runs = await images.push(name="b", tag="latest", metadata=said)
    assert runs.image.manifest.entrypoint == ("python3", "-c", "print(1)")
    assert runs.image.manifest.capabilities == ("web", "mail") and runs.image.manifest.model == "gpt"


@pytest.mark.parametrize(
    ("name", "tag"), [("Upper", "x"), ("", "x"), ("a//b", "x"), ("a b", "x"), ("a", ""), ("a", "-x"), ("../a", "x")]
)
async def test_names_are_those_that_every_registry_takes(images: Images, name: str, tag: str) -> None:
    with pytest.raises(InvalidArgument):
        await images.push(name=name, tag=tag, package=b"{}")


async def test_a_deleted_image_can_be_pulled_again_until_the_registry_lacks_it(images: Images) -> None:
    pushed = await images.push(name="a", tag="latest", package=package())
    assert await images.delete("a") == pushed
    with pytest.raises(ImageNotFound):
        await images.get("a")
    assert await images.pull("a") == pushed
    assert await images.get("a") == pushed
    with pytest.raises(ImageNotFound):
        await images.pull("b")


async def test_files_go_with_the_last_image_that_has_them(
    images: Images, store: SqlStore, blobs: DirectoryBlobs, tmp_path: Path
) -> None:
    files = (await images.push(name="a", tag="latest", package=package())).image.manifest.files
    key = await store.images.blob_of(files)
    await images.push(name="a", tag="latest", package=package(model="other"))
    assert len(await blobs.read(key, 0, 10)) == 10
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == [tmp_path / "blobs" / key]
    await images.push(name="a", tag="latest", package=b"{}")
    with pytest.raises(BlobNotFound):
        await blobs.read(key, 0, 1)


async def test_files_that_were_lost_come_back_with_the_next_push(
    images: Images, store: SqlStore, blobs: DirectoryBlobs
) -> None:
    manifest = (await images.push(name="a", tag="latest", package=package())).image.manifest
    files = await images.files(manifest)
    await blobs.delete(await store.images.blob_of(manifest.files))
    with pytest.raises(ImageNotFound):
        await images.files(manifest)
    await images.push(name="a", tag="latest", package=package())
    assert await images.files(manifest) == files


class FakeRemote:
    """A registry elsewhere, in memory."""

    def __init__(self) -> None:
        self.images: dict[str, tuple[Image, bytes]] = {}
        self.up = True

    def _check(self) -> None:
        if not self.up:
            raise RegistryUnavailable(registry="elsewhere", problem="it is down")

    async def push(self, tagged: TaggedImage, files: bytes) -> None:
        self._check()
        self.images[tagged.reference] = (tagged.image, files)

    async def pull(self, name: str, tag: str) -> tuple[Image, bytes]:
        self._check()
        if f"{name}:{tag}" not in self.images:
            raise ImageNotFound(reference=f"{name}:{tag}")
        return self.images[f"{name}:{tag}"]

    async def search(self, text: str, *, limit: int) -> Sequence[TaggedImage]:
        self._check()
        found = [(reference, image) for reference, (image, _) in self.images.items() if text in reference]
        return [TaggedImage(name=key.split(":")[0], tag=key.split(":")[1], image=image) for key, image in found][:limit]


async def test_a_registry_elsewhere_gets_and_gives_images(store: SqlStore, blobs: DirectoryBlobs) -> None:
    remote = FakeRemote()
    images = Images(store=store.images, blobs=blobs, remote=remote)
    pushed = await images.push(name="a", tag="latest", package=package())
    assert set(remote.images) == {"a:latest"}
    manifest, archive = open_package(package(model="theirs"))
    remote.images["theirs:latest"] = (make_image(manifest), archive)
    found = await images.search("", limit=10)
    assert [each.reference for each in found.images] == ["a:latest", "theirs:latest"] and found.total == 2
    # An agent of an image that only they have pulls it first.
    assert (await images.resolve("theirs")).image.manifest == manifest
    assert await images.files(manifest) == archive
    remote.up = False
    assert await images.pull("a") == pushed
    with pytest.raises(RegistryUnavailable):
        await images.pull("never")


async def test_what_comes_from_elsewhere_is_checked(store: SqlStore, blobs: DirectoryBlobs) -> None:
    remote = FakeRemote()
    images = Images(store=store.images, blobs=blobs, remote=remote)
    manifest, _ = open_package(package())
    remote.images["bad:latest"] = (make_image(manifest), b"something else")
    with pytest.raises(InvalidArgument, match="digest"):
        await images.resolve("bad")


async def test_images_made_here_are_in_both_realms(images: Images) -> None:
    made = await images.add(ImageManifest(entrypoint=("x",)), {"x": PackedFile(b"#!", executable=True)}, name="own")
    assert await images.list() == (made,)
    assert (await images.search("own", limit=1)).images == (made,)
    with tarfile.open(fileobj=io.BytesIO(await images.files(made.image.manifest))) as opened:
        assert opened.getmember("x").mode == 0o755
