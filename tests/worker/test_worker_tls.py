"""TLS to the server, and being told when the two sides do not speak the same."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from worker_house import House

from runner_client.channel import Tls
from runner_client.contact import misunderstanding, unwelcome
from runner_service.worker.times import ExitCode

JOIN = "import sys; from runner_service.commands import join; sys.exit(join(sys.argv[1:]))"


class Certificate(NamedTuple):
    certificate: Path
    key: Path

    @property
    def credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([(self.key.read_bytes(), self.certificate.read_bytes())])


def make_certificate(directory: Path, name: str, *addresses: str) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("the program `openssl` is not installed: TLS of workers is not tested")
    made = Certificate(directory / f"{name}.crt", directory / f"{name}.key")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=" + ",".join(f"IP:{one}" for one in addresses)),
            *("-keyout", str(made.key), "-out", str(made.certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "server", "127.0.0.1")


@pytest.fixture
async def safe(house: House, certificate: Certificate) -> House:
    """The house's server on TCP with TLS."""
    house.target = await house.server.start_tcp(certificate.credentials)
    return house


@pytest.fixture
async def plain(house: House) -> House:
    """The same without."""
    house.target = await house.server.start_tcp()
    return house


async def test_a_worker_joins_over_tls(safe: House, certificate: Certificate) -> None:
    safe.worker(tls=Tls(certificate.certificate))
    attempt = safe.server.submit("fake", "stdout=safe")
    await safe.finished(attempt)
    assert attempt.data == b"safe"


async def test_the_command_joins_over_tls(safe: House, certificate: Certificate) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", JOIN, "--server", safe.target, "--tls-ca", str(certificate.certificate)),
        *("--data-dir", str(safe.directory), "--slots", "1"),
    )
    try:
        attempt = safe.server.submit("echo", "safe")
        await safe.finished(attempt)
        assert attempt.data == b"safe\n"
    finally:
        program.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(program.wait(), 60) == 0


async def test_a_worker_without_tls_is_told_to_speak_it(safe: House, caplog: pytest.LogCaptureFixture) -> None:
    assert await safe.ended(safe.worker()) is ExitCode.USAGE
    (said,) = (one.getMessage() for one in caplog.records if getattr(one, "action", "") == "misunderstood")
    assert "speaks TLS: give --tls-ca FILE" in said
    assert safe.target in said


async def test_a_worker_with_tls_is_told_that_the_server_speaks_none(
    plain: House, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    assert await plain.ended(plain.worker(tls=Tls(certificate.certificate))) is ExitCode.USAGE
    (said,) = (one.getMessage() for one in caplog.records if getattr(one, "action", "") == "misunderstood")
    assert "does not speak TLS: leave out --tls" in said


@pytest.mark.parametrize("name", ["stranger", "elsewhere"])
async def test_a_certificate_that_is_not_accepted_is_said_to_be_so(house: House, tmp_path: Path, name: str) -> None:
    served = make_certificate(tmp_path, "served", "127.0.0.1" if name == "stranger" else "192.0.2.1")
    trusted = make_certificate(tmp_path, "stranger", "127.0.0.1") if name == "stranger" else served
    house.target = await house.server.start_tcp(served.credentials)
    said = await misunderstanding(house.target, Tls(trusted.certificate))
    assert "is not accepted" in said
    assert ("--tls-ca FILE" if name == "stranger" else "by a name that stands there") in said


async def test_who_has_to_show_a_certificate_is_told_so(house: House, certificate: Certificate) -> None:
    demanding = grpc.ssl_server_credentials(
        [(certificate.key.read_bytes(), certificate.certificate.read_bytes())],
        root_certificates=certificate.certificate.read_bytes(),
        require_client_auth=True,
    )
    house.target = await house.server.start_tcp(demanding)
    unknown = Tls(certificate.certificate)
    assert await misunderstanding(house.target, unknown) == ""
    assert "give --tls-cert FILE and --tls-key FILE" in await unwelcome(house.target, unknown)
    assert await unwelcome(house.target, Tls(None, certificate.certificate, certificate.key)) == ""


async def test_a_server_that_has_the_first_word_is_welcoming(safe: House, certificate: Certificate) -> None:
    assert await unwelcome(safe.target, Tls(certificate.certificate)) == ""


async def test_a_file_without_certificates_is_said_to_be_so(safe: House, certificate: Certificate) -> None:
    assert f"no certificates in {certificate.key}" in await misunderstanding(safe.target, Tls(certificate.key))


async def test_nothing_is_said_of_a_server_that_is_not_there_or_is_silent(tmp_path: Path) -> None:
    assert await misunderstanding("127.0.0.1:1", None) == ""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await misunderstanding(f"127.0.0.1:{port}", None) == ""


async def test_certificates_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", JOIN, "--server", "127.0.0.1:1", "--tls-ca", str(tmp_path / "none.crt")),
        *("--data-dir", str(tmp_path / "data")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(program.communicate(), 60)
    assert program.returncode == ExitCode.USAGE
    assert b"cannot read the certificates in" in said
