"""Images of agents, and the names they go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import delete, func, insert, select, update

from runner_service.domain.blobs import check_age
from runner_service.domain.errors import ImageNotFound
from runner_service.domain.images import Image, Realm, TaggedImage, read_manifest
from runner_service.ports.store import Mark
from runner_service.ports.store.images import ImagePage
from runner_service.store import answers
from runner_service.store.schema import image_tags, images
from runner_service.store.statements import Connection, Query, Row, integer, number, string

ENDLESS = 2**62
_ESCAPE = "!"
_LOCK = 0x494D4147
"""Transactions that take names away or give them happen one after the other, so that an image that has just got a
name is not dropped for having had none."""

_IMAGE = select(images.c.image_id, images.c.manifest, images.c.created_at)
_TAGGED = select(images.c.image_id, images.c.manifest, images.c.created_at, image_tags.c.name, image_tags.c.tag).where(
    images.c.image_id == image_tags.c.image_id
)
_IN_REALM = _TAGGED.where(image_tags.c.realm == string("realm"))
_HERE = (
    image_tags.c.realm == string("realm"),
    image_tags.c.name == string("name"),
    image_tags.c.tag == string("tag"),
)
_MATCHES = image_tags.c.text.like(string("pattern"), escape=_ESCAPE)

IMAGE = Query(_IMAGE.where(images.c.image_id == string("image_id")))
ADD_IMAGE = Query(insert(images))
DROP_IMAGE = Query(delete(images).where(images.c.image_id == string("image_id")))
FOUND = Query(_TAGGED.where(*_HERE))
# A range of ids, among the names of a realm: there are some hundreds at most.
PREFIXED = Query(
    _IN_REALM.where(image_tags.c.image_id >= string("first"), image_tags.c.image_id < string("behind"))
    .order_by(image_tags.c.image_id, image_tags.c.name, image_tags.c.tag)
    .limit(integer("limit"))
)
LISTED = Query(
    _IN_REALM.where(_MATCHES)
    .order_by(image_tags.c.name, image_tags.c.tag)
    .limit(integer("limit"))
    .offset(integer("offset"))
)
COUNTED = Query(select(func.count()).select_from(image_tags).where(image_tags.c.realm == string("realm"), _MATCHES))
ADD_TAG = Query(insert(image_tags))
MOVE_TAG = Query(update(image_tags).values(image_id=string("new_id"), text=string("new_text")).where(*_HERE))
DROP_TAG = Query(delete(image_tags).where(*_HERE))
NAMES_LEFT = Query(select(func.count()).select_from(image_tags).where(image_tags.c.image_id == string("image_id")))
BLOB_OF_IMAGE = Query(select(images.c.blob_key).where(images.c.image_id == string("image_id")))
BLOB_OF_FILES = Query(select(images.c.blob_key).where(images.c.files == string("files")).limit(number(1)))


def _image_of(row: Row) -> Image:
    manifest = bytes(row[1])
    return Image(image_id=row[0], manifest_json=manifest, manifest=read_manifest(manifest), created_at=row[2])


def _tagged_of(row: Row) -> TaggedImage:
    return TaggedImage(name=row[3], tag=row[4], image=_image_of(row))


def get(conn: Connection, image_id: str) -> Image:
    row = conn.one(IMAGE, {"image_id": image_id})
    if row is None:
        raise ImageNotFound(reference=image_id)
    return _image_of(row)


def find(conn: Connection, realm: Realm, name: str, tag: str) -> TaggedImage:
    row = conn.one(FOUND, {"realm": realm.value, "name": name, "tag": tag})
    if row is None:
        raise ImageNotFound(reference=f"{name}:{tag}")
    return _tagged_of(row)


def put(
    conn: Connection, image: Image, name: str, tag: str, realms: Sequence[Realm], blob_key: str, mark: Mark | None
) -> tuple[TaggedImage, list[str]]:
    if (known := answers.known(conn, mark)) is not None:
        return TaggedImage(name=name, tag=tag, image=get(conn, known)), [key for key in (blob_key,) if key]
    conn.serialize(_LOCK)
    files = image.manifest.files
    row = conn.one(BLOB_OF_FILES, {"files": files}) if files else None
    freed = [blob_key] if row is not None else []
    try:
        image = get(conn, image.image_id)
    except ImageNotFound:
        image = replace(image, created_at=conn.now())
        conn.run(
            ADD_IMAGE,
            {
                "image_id": image.image_id,
                "manifest": image.manifest_json,
                "files": files,
                "blob_key": row[0] if row is not None else _new_blob(conn, files, blob_key),
                "created_at": image.created_at,
            },
        )
    text = f"{name}\n{image.manifest.model}".casefold()
    for realm in realms:
        place = {"realm": realm.value, "name": name, "tag": tag}
        before = conn.one(FOUND, place)
        if before is None:
            conn.run(ADD_TAG, {**place, "image_id": image.image_id, "text": text})
        elif before[0] != image.image_id:
            conn.run(MOVE_TAG, {**place, "new_id": image.image_id, "new_text": text})
            freed.append(_drop_nameless(conn, _image_of(before)))
    answers.note(conn, mark, image.image_id)
    return TaggedImage(name=name, tag=tag, image=image), [key for key in freed if key]


def _new_blob(conn: Connection, files: str, blob_key: str) -> str:
    if files and not blob_key:
        raise ImageNotFound(reference=files)
    check_age(blob_key, now=conn.now())
    return blob_key


def blob_of(conn: Connection, files: str) -> str:
    row = conn.one(BLOB_OF_FILES, {"files": files})
    if row is None:
        raise ImageNotFound(reference=files)
    return str(row[0])


def tagged(conn: Connection, realm: Realm, prefix: str, limit: int) -> list[TaggedImage]:
    values = {"realm": realm.value, "first": prefix, "behind": prefix + "~", "limit": limit}
    return [_tagged_of(row) for row in conn.all(PREFIXED, values)]


def list_images(conn: Connection, realm: Realm, text: str, limit: int, offset: int) -> ImagePage:
    escaped = text.casefold()
    for sign in (_ESCAPE, "%", "_"):
        escaped = escaped.replace(sign, _ESCAPE + sign)
    values = {"realm": realm.value, "pattern": f"%{escaped}%"}
    row = conn.one(COUNTED, values)
    rows = conn.all(LISTED, {**values, "limit": limit or ENDLESS, "offset": offset})
    return ImagePage(images=tuple(map(_tagged_of, rows)), total=int(row[0]) if row else 0)


def untag(conn: Connection, realm: Realm, name: str, tag: str, mark: Mark | None) -> str:
    if answers.known(conn, mark) is not None:
        return ""
    conn.serialize(_LOCK)
    image = find(conn, realm, name, tag).image
    conn.run(DROP_TAG, {"realm": realm.value, "name": name, "tag": tag})
    answers.note(conn, mark)
    return _drop_nameless(conn, image)


def _drop_nameless(conn: Connection, image: Image) -> str:
    """Deletes an image that has no name left; returns the key of a blob that has no image left."""
    left = conn.one(NAMES_LEFT, {"image_id": image.image_id})
    if left is None or left[0]:
        return ""
    row = conn.one(BLOB_OF_IMAGE, {"image_id": image.image_id})
    conn.run(DROP_IMAGE, {"image_id": image.image_id})
    files = image.manifest.files
    if row is None or not files or conn.one(BLOB_OF_FILES, {"files": files}) is not None:
        return ""
    return str(row[0])
