"""Secrets between those who set them, the store, and the attempts that get them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from services_house import House, parked

from runner_service.domain.dispatch import Action, Phase
from runner_service.domain.errors import InvalidArgument
from runner_service.secrets_key import SecretsKeyUnusable, load_key
from runner_service.services.sealing import Sealer
from runner_service.services.secrets import Secrets

VALUE = b"correct horse battery"


async def test_the_store_never_sees_a_value(house: House) -> None:
    await house.secrets.set("token", VALUE, by="me")
    sealed = (await house.store.secrets.get({"token"}))["token"]
    assert VALUE not in sealed
    assert await house.secrets.reveal({"token"}) == {"token": VALUE}
    await house.secrets.set("token", VALUE, by="me")
    assert (await house.store.secrets.get({"token"}))["token"] != sealed


async def test_a_value_under_another_name_or_key_is_no_value(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.secrets.set("token", VALUE)
    sealed = (await house.store.secrets.get({"token"}))["token"]
    await house.store.secrets.put("other", sealed, by="")
    assert await house.secrets.reveal({"other"}) == {}
    stranger = Secrets(store=house.store.secrets, sealer=Sealer(os.urandom(32)))
    assert await stranger.reveal({"token"}) == {}
    assert VALUE.decode() not in caplog.text
    assert "another key" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("", VALUE, "name"), ("a b", VALUE, "name"), ("1a", VALUE, "name"), ("x" * 129, VALUE, "name"),
     ("token", b"short", "value"), ("token", b"", "value"), ("token", bytes(70_000), "value"),
     ("token", b"with\0nul", "value")],
)  # fmt: skip
async def test_what_cannot_be_is_refused_aloud(house: House, name: str, value: bytes, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await house.secrets.set(name, value)
    assert caught.value.metadata["field"] == field
    assert await house.secrets.list() == []


async def test_a_job_that_names_one_that_is_not_there_is_refused(house: House) -> None:
    with pytest.raises(InvalidArgument, match="there is no secret token"):
        await house.job(secrets={"TOKEN": "token"})
    with pytest.raises(InvalidArgument, match="has a value already"):
        await house.job(secrets={"TOKEN": "token"}, environment={"TOKEN": "x"})


async def test_only_the_reply_that_lets_it_start_has_the_values_and_only_in_confidence(house: House) -> None:
    await house.secrets.set("token", VALUE)
    await house.job(secrets={"TOKEN": "token"})
    worker = await house.worker()
    dispatch = house.dispatch
    offer = await dispatch.sync(worker.beat(), confidential=True)
    assert offer.secrets == {}
    assert offer.orders[0].action is Action.OFFER
    worker.apply(offer)
    (attempt_id,) = worker.held
    open_line = await dispatch.sync(worker.beat())
    assert (open_line.orders[0].action, open_line.secrets) == (Action.RUN, {})
    confidential = await dispatch.sync(worker.beat(), confidential=True)
    assert confidential.secrets == {attempt_id: {"TOKEN": VALUE}}
    worker.apply(confidential)
    assert worker.held[attempt_id][1] is Phase.STARTED
    await house.secrets.delete("token")


@pytest.mark.parametrize("confidential", [True, False])
async def test_what_a_report_has_started_has_the_values_in_confidence_alone(house: House, confidential: bool) -> None:
    await house.secrets.set("token", VALUE)
    await house.job()
    worker = await house.worker(slots=1)
    first = await worker.start()
    call = worker.call()
    assert await parked(call)
    await house.job(secrets={"TOKEN": "token"})
    answer = await worker.exchanged(first, number=1, confidential=confidential)
    (order,) = answer.orders
    assert order.action is Action.START
    assert answer.secrets == ({order.attempt_id: {"TOKEN": VALUE}} if confidential else {})
    call.cancel()


def test_the_key_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_key(path)
    assert (len(key), load_key(path)) == (32, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
    with pytest.raises(SecretsKeyUnusable, match="there is no key of the secrets in"):
        load_key(tmp_path / "mistyped", make=False)
    assert not (tmp_path / "mistyped").exists()
    path.chmod(0o640)
    with pytest.raises(SecretsKeyUnusable, match="others may read"):
        load_key(path)
    path.chmod(0o600)
    path.write_bytes(b"torn")
    with pytest.raises(SecretsKeyUnusable, match="holds no key"):
        load_key(path)
