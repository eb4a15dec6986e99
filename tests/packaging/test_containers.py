"""Compose file, Dockerfile and entry point: what a security officer would look for, checked without an engine."""

from __future__ import annotations

import http.server
import importlib.util
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from tests.packaging.repository import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SERVICES = ("server", "ui", "qdrant")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return data


@pytest.fixture
def entrypoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("strongroom_entrypoint", ROOT / "deploy" / "entrypoint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SECRETS", tmp_path)
    return module


# ------------------------------------------------------------------------------------------------ compose


def test_it_is_a_compose_file_by_the_published_schema(compose: dict[str, Any]) -> None:
    path = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(compose, schema)
    with pytest.raises(jsonschema.ValidationError):  # the schema does refuse something
        jsonschema.validate({**compose, "services": {"ui": {"imagee": "x"}}}, schema)


def test_the_services_are_those_that_are_documented(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in ("0", "root")
    assert service["healthcheck"]["test"]
    assert service["pids_limit"] > 0
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= set(limits)
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service)


def test_images_are_named_by_version_and_foreign_ones_by_digest(compose: dict[str, Any]) -> None:
    for name in SERVICES:
        assert ":latest" not in compose["services"][name]["image"]
        assert "build" not in compose["services"][name]
    assert re.search(
        r":\$\{QDRANT_VERSION:-v[\d.]+(-\w+)?\}@\$\{QDRANT_DIGEST:\?", compose["services"]["qdrant"]["image"]
    )
    for name in ("server", "ui"):
        assert re.search(r":\d+\.\d+\.\d+\}$", compose["services"][name]["image"])
        assert compose["services"][name]["pull_policy"] == "never"


def test_the_image_version_is_the_projects(compose: dict[str, Any]) -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"strongroom:{version}}}" in compose["services"]["server"]["image"]


def test_ports_are_published_on_loopback_alone(compose: dict[str, Any]) -> None:
    published = [port for name in SERVICES for port in compose["services"][name].get("ports", [])]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_what_holds_documents_is_on_the_internal_network_only(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inside"]["internal"] is True
    for name in ("server", "qdrant"):
        assert set(compose["services"][name]["networks"]) == {"inside"}
        assert "ports" not in compose["services"][name]


def test_the_network_that_publishes_has_no_way_out(compose: dict[str, Any]) -> None:
    options = compose["networks"]["front"]["driver_opts"]
    assert options["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    assert [name for name in SERVICES if "front" in compose["services"][name]["networks"]] == ["ui"]


def test_the_ui_holds_no_data_and_no_key(compose: dict[str, Any]) -> None:
    ui = compose["services"]["ui"]
    assert "volumes" not in ui
    assert ui["secrets"] == ["server_token"]


def test_secrets_are_files_without_a_default(compose: dict[str, Any]) -> None:
    assert set(compose["secrets"]) == {"server_token", "qdrant_api_key"}
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    for name in SERVICES:
        environment = compose["services"][name]["environment"]
        suspicious = [key for key in environment if re.search(r"KEY|TOKEN|PASSWORD|SECRET", key)]
        assert suspicious == []


def test_telemetry_of_qdrant_is_off(compose: dict[str, Any]) -> None:
    assert compose["services"]["qdrant"]["environment"]["QDRANT__TELEMETRY_DISABLED"] == "true"


def test_settings_of_the_server_are_settings(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN the environment of the server's container THEN the product accepts each key and value."""
    from strongroom.config import load

    for key, value in compose["services"]["server"]["environment"].items():
        if key.startswith("STRONGROOM_"):
            monkeypatch.setenv(key, value)
    settings = load().settings
    address = compose["services"]["server"]["networks"]["inside"]["ipv4_address"]
    assert settings.host == address
    assert settings.host in settings.public_hosts
    assert compose["services"]["qdrant"]["networks"]["inside"]["ipv4_address"] in settings.allowed_hosts
    assert compose["services"]["ui"]["environment"]["SERVER_URL"] == f"http://{address}:8600"
    assert settings.proxies == (compose["services"]["ui"]["networks"]["inside"]["ipv4_address"],)


# ------------------------------------------------------------------------------------------------ image


def instructions() -> list[str]:
    """Dockerfile instructions with continuation lines joined and comments dropped."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    return [item.strip() for item in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines() if item.strip()]


def test_base_images_have_no_default_and_no_tag_of_their_own() -> None:
    items = instructions()
    assert "ARG BASE" in items
    assert [item for item in items if item.startswith("FROM ")] == ["FROM ${BASE} AS build", "FROM ${BASE}"]
    settings = (ROOT / "deploy" / "images.env").read_text(encoding="utf-8").splitlines()
    digests = [line.partition("=")[2] for line in settings if re.match(r"[A-Z_]+_DIGEST=", line)]
    assert len(digests) == 2
    assert all(re.fullmatch(r"(sha256:[0-9a-f]{64})?", digest) for digest in digests)


def test_the_image_runs_as_somebody_else_than_root() -> None:
    final = instructions()[instructions().index("FROM ${BASE}") :]
    users = [item for item in final if item.startswith("USER ")]
    assert users == ["USER ${UID}:${UID}"]
    assert "ARG UID=1000" in final
    after = final[final.index(users[0]) :]
    assert not any(item.startswith(("RUN", "COPY", "ADD")) for item in after)
    assert any(item.startswith("HEALTHCHECK ") for item in after)


def test_no_compiler_and_no_index_reach_the_final_image() -> None:
    final = " ".join(instructions()[instructions().index("FROM ${BASE}") :])
    assert not re.search(r"g\+\+|build-essential|pip install|curl|wget", final)


def test_secrets_enter_by_mount_and_nothing_is_added_from_the_network() -> None:
    text = "\n".join(instructions())
    assert "ADD " not in text
    assert "# syntax=" not in DOCKERFILE.read_text(encoding="utf-8")  # would fetch a front end
    installing = [item for item in instructions() if item.startswith("RUN") and "/bin/pip " in item]
    assert installing
    assert all("--mount=type=secret,id=pip" in item for item in installing)
    declared = [item for item in instructions() if item.startswith(("ARG", "ENV"))]
    assert not any(re.search(r"TOKEN|PASSWORD|SECRET|API_KEY", item) for item in declared)


def test_every_package_of_the_product_is_copied() -> None:
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["packages"]
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for package in packages:
        assert f"COPY {package} {package}" in instructions()
        assert f"!{package}" in allowed
    assert allowed[1] == "*"  # nothing that is not named goes to the builder


# ------------------------------------------------------------------------------------------------ entry point


@pytest.mark.parametrize("value", [None, "", "change-me", "a" * 64, "0123456789abcdef"])
def test_a_missing_or_weak_secret_stops_the_start(
    entrypoint: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str | None
) -> None:
    if value is not None:
        (tmp_path / "server_token").write_text(value, encoding="utf-8")
    assert entrypoint.main(["server"]) == 2
    assert "make-secrets.sh" in capsys.readouterr().err


def test_made_secrets_are_strong_private_and_kept(entrypoint: ModuleType, tmp_path: Path) -> None:
    command = [str(ROOT / "deploy" / "make-secrets.sh")]
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SECRETS_DIR": str(tmp_path)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    first = entrypoint.read_secret("server_token")
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert first != entrypoint.read_secret("qdrant_api_key")
    assert (tmp_path / "server_token").stat().st_mode & 0o077 == 0
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert entrypoint.read_secret("server_token") == first


def test_the_qdrant_key_is_taken_only_when_a_qdrant_server_is_configured(
    entrypoint: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_QDRANT_API_KEY", "")
    entrypoint.take_qdrant_key()
    assert entrypoint.os.environ["STRONGROOM_QDRANT_API_KEY"] == ""
    monkeypatch.setenv("STRONGROOM_QDRANT_URL", "http://10.89.47.3:6333")
    with pytest.raises(entrypoint.StartError):
        entrypoint.take_qdrant_key()
    (tmp_path / "qdrant_api_key").write_text("0123456789abcdef" * 4 + "\n", encoding="utf-8")
    entrypoint.take_qdrant_key()
    assert entrypoint.os.environ["STRONGROOM_QDRANT_API_KEY"] == "0123456789abcdef" * 4


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def answering() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, 0), (403, 0), (500, 1), (503, 1)])
def test_health_by_status(
    entrypoint: ModuleType, answering: str, monkeypatch: pytest.MonkeyPatch, status: int, healthy: int
) -> None:
    monkeypatch.setenv("HEALTH_URL", f"{answering}/{status}")
    assert entrypoint.main(["health"]) == healthy


def test_health_without_an_answer(entrypoint: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_URL", "http://127.0.0.1:1/healthz")
    assert entrypoint.main(["health"]) == 1


def test_the_server_in_a_container_takes_up_its_watches_before_it_serves(
    entrypoint: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN the entry point over an appliance that only writes down what is asked of it
    done: list[str] = []

    class Noted:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_: done.append(name)

    monkeypatch.setattr("strongroom.app.appliance.Appliance", Noted)
    monkeypatch.setattr("server.run.run", lambda *_, **__: done.append("run"))
    monkeypatch.setattr("strongroom.airgap.enforce", lambda *_, **__: None)
    monkeypatch.setenv("STRONGROOM_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "server_token").write_text("0123456789abcdef" * 4, encoding="utf-8")
    assert entrypoint.serve() == 0
    assert done == ["warm_up", "follow_folders", "run", "close"]
