"""Images as artifacts in a real registry: what is pushed comes back with its id."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from docker_registry import docker_registry

from runner_service.domain.errors import ImageNotFound, RegistryUnavailable
from runner_service.domain.images import ImageManifest, TaggedImage, make_image
from runner_service.registries import OciRegistry
from runner_service.registries.challenge import parse_challenge
from runner_service.registries.oci import CONFIG_TYPE, MANIFEST_TYPE
from runner_service.services.images import PackedFile
from runner_service.services.images.pack import with_files

# The password is `secret`, its hash made by bcrypt with the least cost.
HTPASSWD = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"

real = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="docker-registry (Debian package) is not installed"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as url:
        yield url


@pytest.fixture
async def registry(url: str) -> AsyncIterator[OciRegistry]:
    registry = OciRegistry(url)
    yield registry
    await registry.close()


def an_image(name: str = "user/bot", tag: str = "v1", data: bytes = b"print()") -> tuple[TaggedImage, bytes]:
    manifest = ImageManifest(entrypoint=("python3", "agent.py"), model="m", parameters='{"n": 1.50}')
    complete, archive = with_files(manifest, {"agent.py": PackedFile(data)} if data else {})
    return TaggedImage(name=name, tag=tag, image=make_image(complete)), archive


@real
async def test_what_is_pushed_is_pulled_byte_for_byte(registry: OciRegistry) -> None:
    tagged, archive = an_image(data=bytes(range(256)) * 1000)
    await registry.push(tagged, archive)
    await registry.push(tagged, archive)  # again: its blobs are there already
    image, files = await registry.pull("user/bot", "v1")
    assert image.manifest_json == tagged.image.manifest_json and image.image_id == tagged.image.image_id
    assert files == archive


@real
async def test_an_image_without_files_has_the_empty_layer(registry: OciRegistry) -> None:
    tagged, archive = an_image(name="bare", data=b"")
    await registry.push(tagged, archive)
    assert await registry.pull("bare", "v1") == (tagged.image, b"")


@real
async def test_a_search_finds_agents_and_passes_over_what_is_none(registry: OciRegistry, url: str) -> None:
    for name, tag in (("find/one", "a"), ("find/one", "b"), ("find/two", "a")):
        tagged, archive = an_image(name=name, tag=tag)
        await registry.push(tagged, archive)
    _push_other(url, "find/other")
    found = await registry.search("FIND/", limit=10)
    assert [each.reference for each in found] == ["find/one:a", "find/one:b", "find/two:a"]
    assert len(await registry.search("find/", limit=2)) == 2
    with pytest.raises(ImageNotFound):
        await registry.pull("find/other", "a")


def _push_other(url: str, name: str) -> None:
    """An image of another kind, as another tool would push it."""
    data, digest = b"{}", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        place = client.post(f"/v2/{name}/blobs/uploads/").headers["location"]
        assert client.put(httpx.URL(place).copy_merge_params({"digest": digest}), content=data).status_code == 201
        descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(data)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": descriptor, "layers": []}
        put = client.put(f"/v2/{name}/manifests/a", json=manifest, headers={"content-type": MANIFEST_TYPE})
        assert put.status_code == 201


@real
async def test_what_is_not_there_is_not_found(registry: OciRegistry) -> None:
    for name, tag in (("never/pushed", "latest"), ("user/bot", "never")):
        with pytest.raises(ImageNotFound):
            await registry.pull(name, tag)


@real
async def test_a_registry_with_a_password_wants_it(tmp_path: Path) -> None:
    tagged, archive = an_image()
    with docker_registry(tmp_path, htpasswd=HTPASSWD) as url:
        for registry in (OciRegistry(url), OciRegistry(url, username="ann", password="wrong")):
            with pytest.raises(RegistryUnavailable):
                await registry.push(tagged, archive)
            await registry.close()
        known = OciRegistry(url, username="ann", password="secret")
        await known.push(tagged, archive)
        assert await known.pull("user/bot", "v1") == (tagged.image, archive)
        await known.close()


async def test_a_registry_that_is_away_is_said_to_be() -> None:
    registry = OciRegistry("http://127.0.0.1:1")
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1"):
        await registry.pull("a", "latest")
    await registry.close()


async def served(answer: Callable[[httpx.Request], httpx.Response]) -> OciRegistry:
    return OciRegistry("http://registry", username="ann", password="pw", transport=httpx.MockTransport(answer))


async def test_a_token_is_bought_where_the_challenge_says_and_used_again() -> None:
    tagged, _ = an_image(data=b"")
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        if request.url.path == "/token":
            assert request.headers["authorization"] == "Basic " + base64.b64encode(b"ann:pw").decode()
            assert dict(request.url.params) == {"service": "s", "scope": "repository:a:pull"}
            return httpx.Response(200, json={"token": "t"})
        if request.headers.get("authorization") != "Bearer t":
            said = 'Bearer realm="http://registry/token",service="s",scope="repository:a:pull"'
            return httpx.Response(401, headers={"www-authenticate": said})
        if "/manifests/" in request.url.path:
            data = tagged.image.manifest_json
            config = {"mediaType": CONFIG_TYPE, "digest": tagged.image.image_id, "size": len(data)}
            return httpx.Response(200, json={"config": config, "layers": []})
        return httpx.Response(200, content=tagged.image.manifest_json)

    registry = await served(answer)
    assert await registry.pull("a", "v1") == (tagged.image, b"")
    assert asked.count("GET /token") == 1
    await registry.close()


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(500),
        httpx.Response(200, content=b"no json"),
        httpx.Response(200, json={"config": {"mediaType": CONFIG_TYPE, "digest": "sha256:x", "size": 1}}),
        httpx.Response(200, json={"config": {"mediaType": CONFIG_TYPE, "digest": "sha256:" + "0" * 64, "size": 2}}),
        httpx.Response(200, json={"config": {"mediaType": CONFIG_TYPE, "digest": "sha256:" + "0" * 64, "size": 1e9}}),
    ],
    ids=["error", "no json", "no digest", "other content", "too large"],
)
async def test_a_registry_that_talks_nonsense_is_not_believed(reply: httpx.Response) -> None:
    registry = await served(lambda request: httpx.Response(reply.status_code, content=reply.content))
    with pytest.raises(RegistryUnavailable):
        await registry.pull("a", "v1")
    await registry.close()


def test_challenges_are_read_with_their_quotes() -> None:
    challenge = parse_challenge(r'Bearer realm="https://a/b?c=d,e",service=plain, scope="x \"y\""')
    assert challenge is not None
    assert challenge.parameters == {"realm": "https://a/b?c=d,e", "service": "plain", "scope": 'x "y"'}
    assert parse_challenge("Negotiate abc") is None and parse_challenge("") is None
    assert json.dumps(parse_challenge('Basic realm="x"').parameters) == '{"realm": "x"}'  # type: ignore[union-attr]
