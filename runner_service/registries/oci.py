"""Images of agents as artifacts in any OCI registry.

An image is one artifact: its config is our manifest, byte for byte, so that the config's digest is the image's id; its
one layer is the archive of the files, or the empty descriptor where there are none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from runner_service.domain.errors import ImageNotFound, InvalidArgument, RegistryUnavailable
from runner_service.domain.images import (
    MAX_FILES_BYTES,
    MAX_MANIFEST_BYTES,
    Image,
    TaggedImage,
    digest_of,
    is_digest,
    read_manifest,
)
from runner_service.registries.challenge import Challenge, parse_challenge

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.runner-service.agent.v1"
CONFIG_TYPE = "application/vnd.runner-service.agent.config.v1+json"
FILES_TYPE = "application/vnd.runner-service.agent.files.v1.tar"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"

TIMEOUT_SECONDS = 30.0
_SEARCHED_REPOSITORIES = 500
_TITLE = "org.opencontainers.image.title"
_DESCRIPTION = "org.opencontainers.image.description"


class OciRegistry:
    """`RemoteRegistry` at a URL, with or without credentials."""

    def __init__(
        self, url: str, *, username: str = "", password: str = "", transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._basic = (username, password) if username else None
        self._tokens: dict[str, str] = {}
        """The token that a scope needs, as far as known."""
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def push(self, tagged: TaggedImage, files: bytes) -> None:
        """See `RemoteRegistry.push`."""
        image = tagged.image
        config = _descriptor(CONFIG_TYPE, image.manifest_json)
        layer = _descriptor(FILES_TYPE, files) if files else _descriptor(EMPTY_TYPE, EMPTY)
        for descriptor, data in ((config, image.manifest_json), (layer, files or EMPTY)):
            await self._push_blob(tagged.name, descriptor["digest"], data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": config,
            "layers": [layer],
            "annotations": {_TITLE: tagged.reference, _DESCRIPTION: image.manifest.description},
        }
        body = json.dumps(manifest, separators=(",", ":")).encode()
        reply = await self._call(
            "PUT", f"/v2/{tagged.name}/manifests/{tagged.tag}", content=body, headers={"content-type": MANIFEST_TYPE}
        )
        self._expect(reply, 201)

    async def pull(self, name: str, tag: str) -> tuple[Image, bytes]:
        """See `RemoteRegistry.pull`."""
        image, layer = await self._image(name, tag)
        if layer.get("mediaType") != FILES_TYPE:
            return image, b""
        return image, await self._blob(name, layer, MAX_FILES_BYTES * 2)

    async def search(self, text: str, *, limit: int) -> Sequence[TaggedImage]:
        """See `RemoteRegistry.search`."""
        reply = await self._call("GET", "/v2/_catalog", params={"n": str(_SEARCHED_REPOSITORIES)})
        if reply.status_code in (401, 403, 404, 405):
            return []  # a catalogue is a favour that many registries do not do
        self._expect(reply, 200)
        found: list[TaggedImage] = []
        for name in sorted(_strings(self._json(reply).get("repositories"))):
            if text.casefold() not in name.casefold():
                continue
            tags = await self._call("GET", f"/v2/{name}/tags/list")
            for tag in sorted(_strings(self._json(tags).get("tags"))) if tags.status_code == 200 else ():
                try:
                    found.append(TaggedImage(name=name, tag=tag, image=(await self._image(name, tag))[0]))
                except (ImageNotFound, InvalidArgument):
                    continue  # an image of another kind
                if len(found) == limit:
                    return found
        return found

    async def close(self) -> None:
        """Closes the connections. May be called twice."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _image(self, name: str, tag: str) -> tuple[Image, Mapping[str, Any]]:
        """An image, and the descriptor of its files."""
        reply = await self._call("GET", f"/v2/{name}/manifests/{tag}", headers={"accept": MANIFEST_TYPE})
        if reply.status_code == 404:
            raise ImageNotFound(reference=f"{name}:{tag}")
        self._expect(reply, 200)
        manifest = self._json(reply)
        config, layers = manifest.get("config"), manifest.get("layers")
        if not isinstance(config, dict) or config.get("mediaType") != CONFIG_TYPE:
            # There is something of that name, and it is no agent.
            raise ImageNotFound(reference=f"{name}:{tag}")
        data = await self._blob(name, config, MAX_MANIFEST_BYTES)
        layer = layers[0] if isinstance(layers, list) and layers and isinstance(layers[0], dict) else {}
        return Image(image_id=digest_of(data), manifest_json=data, manifest=read_manifest(data)), layer

    async def _push_blob(self, name: str, digest: str, data: bytes) -> None:
        known = await self._call("HEAD", f"/v2/{name}/blobs/{digest}")
        if known.status_code == 200:
            return
        begun = await self._call("POST", f"/v2/{name}/blobs/uploads/")
        self._expect(begun, 202)
        place = httpx.URL(begun.headers.get("location", ""))
        reply = await self._call(
            "PUT",
            str(httpx.URL(self._url).join(place).copy_merge_params({"digest": digest})),
            content=data,
            headers={"content-type": "application/octet-stream"},
        )
        self._expect(reply, 201)

    async def _blob(self, name: str, descriptor: Mapping[str, Any], most: int) -> bytes:
        digest, size = descriptor.get("digest"), descriptor.get("size")
        if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or size > most:
            raise self._broken("a descriptor makes no sense")
        reply = await self._call("GET", f"/v2/{name}/blobs/{digest}", follow_redirects=True)
        self._expect(reply, 200)
        if digest_of(reply.content) != digest:
            raise self._broken(f"the content of {digest} is not what its digest says")
        return reply.content

    async def _call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        if self._client is None:
            self._client = httpx.AsyncClient(transport=self._transport, timeout=TIMEOUT_SECONDS, trust_env=False)
        url = path if "://" in path else self._url + path
        sent = dict(headers or {})
        # What a registry wants for one repository it will want again.
        scope = "/".join(httpx.URL(url).path.split("/")[:-2])
        if token := self._tokens.get(scope):
            sent["authorization"] = token
        try:
            reply = await self._client.request(method, url, headers=sent, **rest)
            if reply.status_code == 401 and (challenge := parse_challenge(reply.headers.get("www-authenticate", ""))):
                sent["authorization"] = self._tokens[scope] = await self._authorization(challenge)
                reply = await self._client.request(method, url, headers=sent, **rest)
        except httpx.HTTPError as error:
            raise RegistryUnavailable(registry=self._url, problem=str(error) or type(error).__name__) from None
        return reply

    async def _authorization(self, challenge: Challenge) -> str:
        """What the registry asks for in its refusal: our name and password, or a token that they buy."""
        if challenge.scheme == "basic":
            if self._basic is None:
                raise self._broken("it wants a name and a password, and none are set")
            return "Basic " + base64.b64encode(":".join(self._basic).encode()).decode()
        assert self._client is not None
        query = {name: value for name in ("service", "scope") if (value := challenge.parameters.get(name))}
        auth = httpx.BasicAuth(*self._basic) if self._basic else None
        reply = await self._client.get(challenge.parameters.get("realm", ""), params=query, auth=auth)
        self._expect(reply, 200)
        body = self._json(reply)
        return f"Bearer {body.get('token') or body.get('access_token') or ''}"

    def _expect(self, reply: httpx.Response, status: int) -> None:
        if reply.status_code != status:
            raise self._broken(f"it answers {reply.status_code} to {reply.request.method} {reply.request.url.path}")

    def _json(self, reply: httpx.Response) -> dict[str, Any]:
        try:
            value = reply.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._broken("it answers with what is no JSON object")
        return value

    def _broken(self, problem: str) -> RegistryUnavailable:
        return RegistryUnavailable(registry=self._url, problem=problem)


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
