"""Mutual TLS: who shows no certificate of the right authority gets no answer, on either port."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest
from access_app import Authority, serve

from runner_client.channel import Tls
from runner_client.errors import ClientError, InvalidTarget
from runner_service import config

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program `openssl` is not installed")


async def test_only_who_shows_a_certificate_is_answered(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    server, mine, foreign = authority.sign("server"), authority.sign("mine"), other.sign("foreign")
    tls = {
        "enabled": True,
        "cert_file": str(server[0]),
        "key_file": str(server[1]),
        "client_ca_file": str(authority.certificate),
    }
    async with serve(tmp_path, {"security": {"tls": tls}}) as served:
        async with served.rest(verify=authority.context(mine)) as rest:
            assert (await rest.get("/health")).status_code == 200
        for shown in (None, foreign):
            async with served.rest(verify=authority.context(shown)) as rest:
                with pytest.raises(httpx.TransportError):
                    await rest.get("/health")
        async with served.client(tls=Tls(authority.certificate, *mine)) as client:
            assert (await client.auth.who_am_i()).anonymous
        for certificate, key in ((None, None), foreign):
            shown_tls = Tls(authority.certificate, certificate, key)
            async with served.client(tls=shown_tls, patience=0.3) as client:
                with pytest.raises(ClientError):
                    await client.auth.who_am_i()


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(InvalidTarget, match="give both"):
        Tls(certificate=tmp_path / "x").credentials()


@pytest.mark.parametrize("tls", [{"client_ca_file": "/nowhere"}, {"client_ca_file": __file__}])
def test_an_authority_that_cannot_be_used_is_an_error_of_the_settings(tls: dict[str, object]) -> None:
    with pytest.raises(config.ConfigError, match="client_ca_file"):
        config.load(None, {"security": {"tls": tls}})


def test_mutual_tls_needs_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    with pytest.raises(config.ConfigError, match="needs TLS"):
        config.load(None, {"security": {"tls": {"client_ca_file": str(authority.certificate)}}})
