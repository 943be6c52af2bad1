"""Images and the names they go by."""

from __future__ import annotations

from typing import Any

import pytest
from store_house import MovingClock

from runner_service.domain.errors import ImageNotFound
from runner_service.domain.images import Image, ImageManifest, Realm, TaggedImage, make_image
from runner_service.ports.store import AnswerKey, Mark
from runner_service.store import SqlStore

BOTH = (Realm.LOCAL, Realm.REGISTRY)


def an_image(**fields: Any) -> Image:
    return make_image(ImageManifest(**{"entrypoint": ("python3", "agent.py"), **fields}))


async def put(
    store: SqlStore, image: Image, name: str, tag: str = "latest", realms: Any = BOTH, blob_key: str = ""
) -> TaggedImage:
    made, _ = await store.images.put(image, name=name, tag=tag, realms=realms, blob_key=blob_key)
    return made


async def test_an_image_comes_back_byte_for_byte_with_its_time(store: SqlStore, clock: MovingClock) -> None:
    image = an_image(model="m", parameters='{"n": 9007199254740993, "x": 0.70}', environment={"A": "b"})
    made = await put(store, image, "user/chatbot")
    assert made.image.created_at == clock.now()
    found = await store.images.get(image.image_id)
    assert found == made.image and found.manifest_json == image.manifest_json
    assert found.manifest.parameters == '{"n": 9007199254740993, "x": 0.70}'
    assert await store.images.find(Realm.LOCAL, "user/chatbot", "latest") == made


async def test_realms_do_not_share_names(store: SqlStore) -> None:
    await put(store, an_image(), "a", realms=(Realm.LOCAL,))
    with pytest.raises(ImageNotFound):
        await store.images.find(Realm.REGISTRY, "a", "latest")
    assert (await store.images.list(Realm.REGISTRY)).total == 0


async def test_the_same_content_is_one_image_and_keeps_its_first_time(store: SqlStore, clock: MovingClock) -> None:
    first = await put(store, an_image(), "a")
    clock.advance(5)
    second = await put(store, an_image(), "b")
    assert second.image == first.image


async def test_moving_the_last_name_away_drops_the_image_and_frees_its_files(store: SqlStore) -> None:
    old, new = an_image(files="sha256:" + "1" * 64), an_image(files="sha256:" + "2" * 64)
    await put(store, old, "a", blob_key="images/aa/old")
    _, freed = await store.images.put(new, name="a", tag="latest", realms=BOTH, blob_key="images/aa/new")
    assert list(freed) == ["images/aa/old"]
    assert await store.images.blob_of(new.manifest.files) == "images/aa/new"
    with pytest.raises(ImageNotFound):
        await store.images.get(old.image_id)


async def test_files_are_freed_with_the_last_image_that_has_them(store: SqlStore) -> None:
    files = "sha256:" + "1" * 64
    one, two = (an_image(files=files, model=model) for model in ("one", "two"))
    with pytest.raises(ImageNotFound):
        await put(store, one, "one")
    await put(store, one, "one", realms=(Realm.LOCAL,), blob_key="images/aa/one")
    # What another has, and what it has itself, is not needed twice.
    for name in ("two", "two"):
        _, freed = await store.images.put(two, name=name, tag="latest", realms=(Realm.LOCAL,), blob_key="images/aa/two")
        assert list(freed) == ["images/aa/two"]
    assert await store.images.untag(Realm.LOCAL, "one", "latest") == ""
    assert await store.images.blob_of(files) == "images/aa/one"
    assert await store.images.untag(Realm.LOCAL, "two", "latest") == "images/aa/one"
    with pytest.raises(ImageNotFound):
        await store.images.blob_of(files)
    with pytest.raises(ImageNotFound):
        await store.images.untag(Realm.LOCAL, "two", "latest")


async def test_images_are_found_by_the_start_of_their_id(store: SqlStore) -> None:
    image = an_image()
    await put(store, image, "a")
    await put(store, image, "a", "v1")
    await put(store, an_image(model="other"), "b")
    for size in (8, 20, len(image.image_id)):
        found = await store.images.tagged(Realm.LOCAL, image.image_id[:size], limit=9)
        assert {(each.name, each.tag) for each in found if each.image == found[0].image} >= {
            ("a", "latest"),
            ("a", "v1"),
        }
    assert list(await store.images.tagged(Realm.LOCAL, "sha256:zz", limit=9)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["a/bot", "b/bot", "c_x"]),
        ("BOT", ["a/bot", "b/bot"]),
        ("claude", ["b/bot"]),
        ("c_", ["c_x"]),
        ("%", []),
        ("!", []),
        ("latest", []),
    ],
)
async def test_a_search_looks_into_name_and_model_literally(store: SqlStore, text: str, expected: list[str]) -> None:
    await put(store, an_image(model="GPT"), "a/bot")
    await put(store, an_image(model="Claude"), "b/bot")
    await put(store, an_image(), "c_x")
    page = await store.images.list(Realm.REGISTRY, text=text)
    assert [each.name for each in page.images] == expected and page.total == len(expected)


async def test_a_list_comes_in_pages_by_name_and_tag(store: SqlStore) -> None:
    for name, tag in (("b", "v1"), ("a", "v2"), ("a", "v1")):
        await put(store, an_image(model=name + tag), name, tag)
    page = await store.images.list(Realm.LOCAL, limit=2, offset=1)
    assert [each.reference for each in page.images] == ["a:v2", "b:v1"] and page.total == 3


async def test_a_push_that_is_said_again_takes_the_name_from_nobody(store: SqlStore) -> None:
    mark = Mark(AnswerKey("ann", "/push", "r-1"), "this")
    old, new = an_image(files="sha256:" + "1" * 64), an_image(model="m")
    first, _ = await store.images.put(old, name="a", tag="v1", realms=BOTH, blob_key="images/aa/old", mark=mark)
    await put(store, old, "b")
    moved = await put(store, new, "a", "v1")
    again, freed = await store.images.put(old, name="a", tag="v1", realms=BOTH, blob_key="images/aa/twice", mark=mark)
    assert (again, list(freed)) == (first, ["images/aa/twice"])
    assert await store.images.find(Realm.LOCAL, "a", "v1") == moved
