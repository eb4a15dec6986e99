"""Settings: one model, read from a TOML file and the environment, with every value's origin known.

Precedence, highest first: command-line option, `STRONGROOM_*` environment variable, TOML file (`--config`,
`STRONGROOM_CONFIG`, or `<data_dir>/strongroom.toml`), default. An unknown key or a malformed value is an error that
names key and value. Reads nothing at import.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from strongroom.errors import ConfigError
from strongroom.people import SecondFactorRule
from strongroom.types import MOST_HITS, IngestEngine, OcrMode, TwoPersonAction

PREFIX = "STRONGROOM_"
# Read before the model, or by `strongroom.crypto.source`, for a secret is no setting that can be shown.
_NOT_SETTINGS = {"STRONGROOM_CONFIG", "STRONGROOM_APPLIANCE_KEY", "STRONGROOM_APPLIANCE_KEY_NEW"}
_TEST_PREFIX = "STRONGROOM_TEST_"  # addresses of real services for the test suite


def data_home() -> Path:
    """The user's data home by the XDG base directory specification."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


class Settings(BaseSettings):
    """Every setting of the appliance. Units are in the names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default_factory=lambda: data_home() / "strongroom" / "data",
        description="Where documents, catalogue, index and keys live. Owned by one user, mode 0700.",
    )
    models_dir: Path = Field(
        default_factory=lambda: data_home() / "strongroom" / "models",
        description="Where installed models live; many data directories can share it.",
    )
    keys_dir: Path | None = Field(
        default=None,
        description="Where keys live (default: `keys` in the data directory). Another disk lets you back it up apart.",
    )
    key_source: Literal["file", "environment", "credential", "prompt"] = Field(
        default="file",
        description="Where the appliance key comes from: a file beside the keys, STRONGROOM_APPLIANCE_KEY, "
        "a systemd credential, or a passphrase asked at the terminal.",
    )
    host: str = Field(default="127.0.0.1", description="Address the server listens on.")
    port: int = Field(default=8600, ge=0, le=65535, description="Port of the server.")
    ui_host: str = Field(default="127.0.0.1", description="Address the UI listens on.")
    ui_port: int = Field(default=8601, ge=0, le=65535, description="Port of the UI.")
    allow_remote: bool = Field(
        default=False,
        description="Permit listening on an address that is not loopback. First set a certificate, or put a TLS "
        "proxy in front.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="Certificate of server and UI (PEM, with its chain); both then speak TLS alone."
    )
    tls_key: Path | None = Field(default=None, description="Private key of the certificate (PEM, mode 0600).")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Hosts of the organisation that the appliance may connect to. Empty: loopback only."
    )
    public_hosts: tuple[str, ...] = Field(
        default=(), description="Host names under which the server may be addressed, besides loopback names."
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="Issuer of an OpenID Connect provider for single sign-on. Its host must be in `allowed_hosts`.",
    )
    oidc_client_id: str = Field(default="strongroom", description="What the provider knows this appliance as.")
    oidc_client_secret: str | None = Field(default=None, description="The appliance's secret at the provider.")
    oidc_name: str = Field(default="single sign-on", description="What the sign-in page calls the provider.")
    oidc_name_claim: str = Field(
        default="preferred_username", description="Claim that names a new account at its first sign-in."
    )
    oidc_groups_claim: str = Field(
        default="groups", description="Claim that lists a person's groups, which replace theirs at each sign-in."
    )
    oidc_admin_group: str | None = Field(
        default=None, description="Members of this group of the provider administer; others of it are viewers."
    )
    oidc_required_group: str | None = Field(
        default=None, description="Only members of this group of the provider may sign in."
    )
    second_factor: SecondFactorRule = Field(
        default="optional",
        description="Who reaches nothing but their own account until a second factor is set up, of those who sign in "
        "by password: nobody (`optional`), `administrators`, or `everybody`.",
    )
    proxies: tuple[str, ...] = Field(
        default=(),
        description="IP addresses of reverse proxies and of a UI on other machines. They speak for many people: no "
        "limit of one address holds for them.",
    )
    embedder: str = Field(default="all-minilm-l6-v2", description="Catalogue id of the embedding model.")
    embedder_backend: Literal["auto", "fast", "reference"] = Field(
        default="auto",
        description="`fast` is OpenVINO, `reference` is fp32 torch, `auto` picks fast when it passes its self-test.",
    )
    embedder_precision: Literal["auto", "bf16", "f32"] = Field(
        default="auto",
        description="Of the fast backend. `auto` embeds passages in 8 bits and questions in bf16, or in fp32 where the "
        "processor has no bf16, if they pass their self-tests; `bf16` and `f32` hold for both. An index may mix them.",
    )
    model: str = Field(default="smollm2-135m-instruct-q4_1", description="Catalogue id of the language model.")
    speech: str = Field(default="whisper-base", description="Catalogue id of the model that transcribes recordings.")
    reranker: str = Field(
        default="",
        description="Catalogue id of a cross-encoder that puts what search found in a better order; none by default. "
        "It must be installed, and takes a second or more a question.",
    )
    nli: str = Field(
        default="auto",
        description="Catalogue id of a model of natural language inference, which checks what a language model wrote "
        "against its quotes; `auto` takes one that is installed, if any is, and `off` none.",
    )
    context_tokens: int = Field(default=4096, ge=512, description="Context window of the language model, in tokens.")
    answer_style: Literal["auto", "exact", "fluent"] = Field(
        default="auto",
        description=(
            "`exact` answers in the documents' own words, `fluent` in the model's, each sentence checked. `auto` is "
            "fluent where the catalogue holds the model capable of it."
        ),
    )
    answer_steps: int = Field(
        default=1, ge=1, le=8, description="Most questions that one may be taken apart into; 1 asks it as it is."
    )
    answer_tokens: int = Field(default=160, ge=16, description="Longest generated answer, in tokens.")
    answers_at_once: int = Field(
        default=4,
        ge=1,
        description="Questions that are answered at a time; others wait in line and are told their place.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads for models; 0 means the CPU quota of this process.")
    chunk_tokens: int = Field(default=200, ge=32, le=2048, description="Longest chunk, in the embedder's tokens.")
    chunk_overlap_tokens: int = Field(default=20, ge=0, description="Tokens that neighbouring chunks share.")
    ocr: OcrMode = Field(
        default="auto",
        description="When to read pages by OCR. What another mode has read stays until `ingest --ocr` asks.",
    )
    workers: int = Field(
        default=0, ge=0, description="Parser processes; 0 means one for each processor of this process."
    )
    detect_personal_data: bool = Field(
        default=False,
        description="Look for personal data in what is ingested; done in any case once a rule withholds some.",
    )
    ingest_engine: IngestEngine = Field(
        default="processes",
        description="Where ingest parses and embeds: processes of this machine, or the machines of a Ray cluster.",
    )
    ray_address: str | None = Field(
        default=None, description="HOST:PORT of the Ray cluster; without, a small one is started on this machine."
    )
    parse_seconds: float = Field(default=300.0, gt=0, description="Wall-clock limit for parsing one file, in seconds.")
    parse_memory_mb: int = Field(default=2048, ge=256, description="Memory limit of one parser process, in MiB.")
    max_file_mb: int = Field(default=512, ge=1, description="Largest file that is ingested, in MiB.")
    search_k: int = Field(default=8, ge=1, le=MOST_HITS, description="Hits a search returns unless told otherwise.")
    abstain_below: float = Field(
        default=0.3, ge=0, le=1, description='Answers whose confidence is lower are replaced by "not found".'
    )
    calibration: Path | None = Field(
        default=None, description="Fits the confidence to own questions: a file made by `strongroom eval calibrate`."
    )
    qdrant_url: str | None = Field(default=None, description="Use this Qdrant server instead of the embedded index.")
    qdrant_api_key: str | None = Field(default=None, description="API key of the Qdrant server.")
    qdrant_ca: Path | None = Field(default=None, description="CA certificate of the Qdrant server.")
    qdrant_collection: str = Field(default="strongroom", description="Collection name on the Qdrant server.")
    two_person: tuple[TwoPersonAction, ...] = Field(
        default=(),
        description="What needs a second person's consent (`strongroom clearances`): `export` of originals, "
        "`delete` in bulk. Empty: nothing.",
    )
    two_person_deletions: int = Field(
        default=10, ge=0, description="Documents that one person may delete in 24 hours before that counts as bulk."
    )
    audit_questions: Literal["none", "hash", "full"] = Field(
        default="hash",
        description="What the audit log holds of a question: nothing, a keyed hash, or its (encrypted) text.",
    )
    audit_checkpoint_dir: Path | None = Field(
        default=None,
        description="Write signed checkpoints of the audit log here. Another machine's folder is the point of it.",
    )
    audit_checkpoint_entries: int = Field(
        default=1000, ge=1, description="Audit entries from one checkpoint to the next; a day at the latest."
    )
    audit_file: Path | None = Field(
        default=None, description="Append every audit entry to this file as a JSON line, for a collector to follow."
    )
    audit_syslog: str | None = Field(
        default=None, description="Send every audit entry to this syslog collector: udp://host:514 or tcp://host:601."
    )

    @field_validator(
        "data_dir",
        "models_dir",
        "keys_dir",
        "tls_certificate",
        "tls_key",
        "qdrant_ca",
        "calibration",
        "audit_checkpoint_dir",
        "audit_file",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_address(each)) for each in value)

    @field_validator("answer_style", mode="before")
    @classmethod
    def _renamed_style(cls, value: object) -> object:
        new = {"quotes": "exact", "mixed": "fluent", "prose": "fluent"}.get(str(value))
        if new is not None:
            raise ValueError(f"the styles are now `exact` and `fluent`; `{value}` is `{new}`")
        return value

    @property
    def keys(self) -> Path:
        """The key directory in force."""
        return self.keys_dir or self.data_dir / "keys"

    @property
    def catalogue(self) -> Path:
        """The catalogue's database."""
        return self.data_dir / "catalog.sqlite"

    @property
    def spool(self) -> Path:
        """Where uploads wait, in the clear, until they are ingested."""
        return self.data_dir / "spool"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only explicit values and the environment: no .env files, no secrets directory."""
        return (init_settings, env_settings)


SECRET_KEYS = frozenset({"qdrant_api_key", "oidc_client_secret"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of each value: `option`, `environment`, `file PATH` or `default`."""

    settings: Settings
    origins: dict[str, str]


def load(overrides: Mapping[str, Any] | None = None, *, config_file: Path | None = None) -> Loaded:
    """Read file and environment and merge them under `overrides`. Raises `ConfigError` naming key and value."""
    given = {k: v for k, v in (overrides or {}).items() if v is not None}
    _refuse_unknown_environment()
    path = config_file or _path_from_environment() or _default_file(given)
    from_file = _read_toml(path, required=config_file is not None or "STRONGROOM_CONFIG" in os.environ)
    from_env = {key for key in Settings.model_fields if PREFIX + key.upper() in os.environ}
    below_env = {key: value for key, value in from_file.items() if key not in from_env}
    try:
        settings = Settings(**{**below_env, **given})
    except ValidationError as exc:
        raise ConfigError(_explain(exc), hint="Run `strongroom config show` to see every key.") from exc
    origins = {}
    for key in Settings.model_fields:
        if key in given:
            origins[key] = "option"
        elif key in from_env:
            origins[key] = f"environment {PREFIX}{key.upper()}"
        elif key in from_file:
            origins[key] = f"file {path}"
        else:
            origins[key] = "default"
    return Loaded(settings, origins)


def _refuse_unknown_environment() -> None:
    known = {PREFIX + key.upper() for key in Settings.model_fields} | _NOT_SETTINGS
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not name.startswith(_TEST_PREFIX):
            raise ConfigError(
                f"unknown environment variable {name}={os.environ[name]!r}",
                hint="Run `strongroom config show` for the known keys, or unset it.",
            )


def _path_from_environment() -> Path | None:
    value = os.environ.get("STRONGROOM_CONFIG")
    return Path(value) if value else None


def _default_file(given: Mapping[str, Any]) -> Path:
    data_dir = given.get("data_dir") or os.environ.get("STRONGROOM_DATA_DIR")
    return (Path(data_dir) if data_dir else data_home() / "strongroom" / "data") / "strongroom.toml"


def _read_toml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigError(f"configuration file {path} does not exist", hint="Check the path.") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"configuration file {path}: {exc}", hint="Mend the file; it must be TOML.") from exc
    for key, value in values.items():
        if key not in Settings.model_fields:
            raise ConfigError(
                f"configuration file {path}: unknown key {key} = {value!r}",
                hint="Run `strongroom config show` for the known keys.",
            )
    return values


def _explain(exc: ValidationError) -> str:
    parts = []
    for error in exc.errors():
        key = ".".join(str(p) for p in error["loc"])
        shown = "(hidden)" if key in SECRET_KEYS else repr(error.get("input"))
        parts.append(f"{key} = {shown}: {error['msg']}")
    return "bad configuration: " + "; ".join(parts)
