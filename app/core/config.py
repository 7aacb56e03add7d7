"""Every setting of the installation, read from TOUCHSTONE_* environment variables and an optional file."""

import re
from email.utils import parseaddr
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.addresses import RABBITMQ, is_broker
from app.core.embedded_redis import short_socket
from app.core.errors import DomainError

SHORTEST_KEY = 32  # characters
_ON_THIS_MACHINE = {("http", "localhost"), ("http", "127.0.0.1")}
_PUBLIC_URL = re.compile(r"https?://[^/?#@\s]+(/[A-Za-z0-9][A-Za-z0-9._-]*)*/?", re.IGNORECASE)


class LogFormat(StrEnum):
    text = "text"
    json = "json"


class LogLevel(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class RoleName(StrEnum):
    """As `app.accounts.models.Role`, which is not known down here."""

    labeler = "labeler"
    researcher = "researcher"
    admin = "admin"


class NewPeople(StrEnum):
    """Whom the provider of single sign-on may bring: those who were invited, or whoever has a role by it."""

    invited = "invited"
    welcome = "welcome"


class Passwords(StrEnum):
    """Who may sign in by password: admins always, so that somebody comes in when the provider does not answer."""

    everyone = "everyone"
    admins = "admins"


class SmtpSecurity(StrEnum):
    """How the way to the mail server is kept secret; `none` is for a server on this machine."""

    starttls = "starttls"
    tls = "tls"
    none = "none"


class WrongSettings(DomainError):
    title = "A setting is wrong"


class Settings(BaseSettings):
    """One installation's settings. Nothing here has a secret default: secrets are generated in the state folder."""

    model_config = SettingsConfigDict(env_prefix="TOUCHSTONE_", env_file=".env", env_ignore_empty=True, extra="ignore")

    state_dir: Path = Field(Path("var"), description="The one folder that holds all state of a single machine.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; a SQLite file in the state folder by default.")
    redis_url: str | None = Field(
        None, description="Queue and playground; an embedded Redis on a socket in the state folder by default."
    )
    broker_url: str | None = Field(
        None, description="What carries the queue in Redis's place: amqp:// or amqps:// for RabbitMQ; Redis by default."
    )
    artefacts_url: str | None = Field(None, description="fsspec URL of models and snapshots; a folder by default.")
    host: str = Field("127.0.0.1", description="Address the web process listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port the web process listens on.")
    web_processes: int = Field(1, ge=1, le=64, description="Web processes that `up` shares the port among.")
    public_url: str | None = Field(
        None,
        description="Address people reach it by, when behind a proxy; with the path it stands below, if any.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="Addresses and networks of the proxies in front, with commas between, that are believed when they "
        "say whom they speak for.",
    )
    secure_cookies: bool = Field(
        False, description="Send cookies over HTTPS only; set it behind TLS. Where the public URL is https, it is so."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Seals what the database must not show in plain, the newest first where there are several, with "
        "commas between; by default a file in the state folder, made at the first start.",
    )
    session_days: int = Field(14, ge=1, description="Days until a sign-in must be renewed.")
    session_idle_hours: int = Field(72, ge=1, description="Hours after which a sign-in that nobody uses runs out.")
    second_factor_of_admins: bool = Field(False, description="Whether admins need a second factor to sign in.")
    oidc_issuer: str | None = Field(
        None, description="Provider of single sign-on, as it calls itself: https://id.example.org/realms/team"
    )
    oidc_client_id: str = Field("", description="What the provider calls this Touchstone.")
    oidc_client_secret: SecretStr | None = Field(None, description="Its secret; none where the client is public.")
    oidc_name: str = Field("single sign-on", min_length=1, description="What people call the provider.")
    oidc_scopes: str = Field("openid email profile", pattern=r"(^|\s)openid(\s|$)", description="What is asked for.")
    oidc_new_people: NewPeople = Field(
        NewPeople.invited, description="Whether only the invited come in, or all whom the provider vouches for."
    )
    oidc_role_claim: str = Field("groups", min_length=1, description="The claim that gives roles; a.b leads into a.")
    oidc_roles: dict[str, RoleName] = Field(
        {}, description="Its values and the roles they give, as JSON; without any, roles are given in Touchstone."
    )
    oidc_role_otherwise: RoleName | None = Field(
        None, description="The role of whom no value gives one; by default they don't come in."
    )
    oidc_trusts_emails: bool = Field(
        False, description="Take its addresses for verified though it does not say so: if no one chooses their own."
    )
    oidc_is_second_factor: bool = Field(
        False, description="Whether the provider asks for a second factor, so that Touchstone's is not asked for."
    )
    passwords: Passwords = Field(Passwords.everyone, description="Who may sign in by password.")
    sign_in_link_hours: int = Field(72, ge=1, description="Hours a one-time sign-in link works.")
    lease_minutes: int = Field(30, ge=1, description="Minutes an assignment stays with a labeler who is silent.")
    heartbeat_seconds: float = Field(5.0, gt=0, description="How often a worker says that its run is alive.")
    stale_after_seconds: float = Field(30.0, gt=0, description="Silence after which a run is handed to another worker.")
    sampling_patience_seconds: float = Field(
        60.0,
        gt=0,
        description="How long a trainer waits for sampling workers that give no sign before it draws itself.",
    )
    playground_idle_minutes: float = Field(
        10.0, gt=0, le=10_080, description="How long the playground's models stay loaded after the last question."
    )
    sweep_seconds: float = Field(10.0, gt=0, description="How often stale and lost runs are looked for.")
    webhook_private_addresses: bool = Field(
        False, description="Whether webhooks may go to private networks and this machine, and without TLS."
    )
    api_requests_per_minute: int = Field(
        600, ge=0, description="Requests a minute that a web process answers to one API token; 0: any number."
    )
    upload_mib: int = Field(64, ge=1, description="Largest upload accepted, in MiB, of labels and of plain text.")
    prompt_file_mib: int = Field(2048, ge=1, description="Largest file of prompts accepted, in MiB, as it is sent.")
    prompt_unpacked_mib: int = Field(16384, ge=1, description="Largest file of prompts, in MiB, once it is unpacked.")
    parquet_mib: int = Field(
        1024, ge=128, description="Most memory, in MiB, for reading a foreign Parquet file, in a process of its own."
    )
    log_format: LogFormat = Field(LogFormat.text, description="Log lines as text for people, or as JSON for machines.")
    log_level: LogLevel | None = Field(
        None, description="What is logged; by default warnings as text, and each request and job too as JSON."
    )
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="What Prometheus shows to read /metrics; without it there are none."
    )
    tensorboard_dir: Path | None = Field(
        None, description="Folder in which workers keep the figures of runs as TensorBoard's files too."
    )
    smtp_host: str | None = Field(None, description="Server that takes e-mail; none is sent without it.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port: 587 for starttls, 465 for tls.")
    smtp_security: SmtpSecurity = Field(SmtpSecurity.starttls, description="starttls, tls or none.")
    smtp_user: str = Field("", description="Whom it knows; nobody signs in there when empty.")
    smtp_password: SecretStr | None = Field(None, description="Their password.")
    smtp_from: str = Field("", description="The address that e-mail is from: Touchstone <touchstone@example.org>")
    use_hub: bool = Field(True, description="Whether datasets may be fetched from the Hugging Face Hub.")

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("broker_url")
    @classmethod
    def _a_broker(cls, value: str | None) -> str | None:
        if value is not None and not is_broker(value):
            raise ValueError("write it as amqp://user:password@host:5672/vhost, amqps:// with TLS, or as a Redis's URL")
        return value

    @field_validator("public_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not _PUBLIC_URL.fullmatch(value):
            raise ValueError("write it as https://example.org, or https://example.org/touchstone below a path")
        return value and value.rstrip("/")

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and min(map(len, value.get_secret_value().split(","))) < SHORTEST_KEY:
            raise ValueError(f"a key needs {SHORTEST_KEY} characters or more: openssl rand -hex 32")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _over_tls(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://-")
        if parts.scheme != "https" and (parts.scheme, parts.hostname) not in _ON_THIS_MACHINE:
            raise ValueError("it has to begin with https://")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("TOUCHSTONE_OIDC_ISSUER needs TOUCHSTONE_OIDC_CLIENT_ID beside it")
        if self.passwords is Passwords.admins and not self.oidc_issuer:
            raise ValueError("TOUCHSTONE_PASSWORDS=admins needs TOUCHSTONE_OIDC_ISSUER, or the others can't come in")
        if self.smtp_host and "@" not in parseaddr(self.smtp_from)[1]:
            raise ValueError("TOUCHSTONE_SMTP_HOST needs TOUCHSTONE_SMTP_FROM, the address that e-mail is from")
        return self

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.state_dir / 'touchstone.db'}"

    @property
    def redis_socket(self) -> Path:
        return short_socket(self.state_dir / "redis.sock")

    @property
    def redis(self) -> str:
        return self.redis_url or f"redis+socket://{self.redis_socket}"

    @property
    def redis_address(self) -> str:
        """Redis as its own client writes it: Celery's redis+socket:// is its unix://."""
        return self.redis.replace("redis+socket:", "unix:", 1)

    @property
    def broker(self) -> str:
        return self.broker_url or self.redis

    @property
    def broker_address(self) -> str:
        return self.broker.replace("redis+socket:", "unix:", 1)

    @property
    def is_rabbitmq(self) -> bool:
        return urlsplit(self.broker).scheme in RABBITMQ

    @property
    def artefacts(self) -> str:
        return self.artefacts_url or str(self.state_dir / "artefacts")

    @property
    def lowest_level(self) -> str:
        return self.log_level or (LogLevel.info if self.log_format is LogFormat.json else LogLevel.warning)

    @property
    def is_over_tls(self) -> bool:
        return self.secure_cookies or (self.public_url or "").lower().startswith("https://")

    @property
    def base_path(self) -> str:
        """The path of the public address; empty where the host is Touchstone's alone."""
        return urlsplit(self.public_url or "").path

    @property
    def address(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"


def _shown(wrong: ErrorDetails) -> str:
    """What is wrong with a setting, and what it was set to, unless that is a secret."""
    if not wrong["loc"]:  # several that don't go together
        return wrong["msg"].removeprefix("Value error, ")
    return f"TOUCHSTONE_{_name(wrong)}: {wrong['msg']}"


def _name(wrong: ErrorDetails) -> str:
    name = str(wrong["loc"][0])
    is_secret = name.endswith(("_token", "_key", "_secret", "_password"))
    # An address may hold a password, before the last @.
    return name.upper() if is_secret else f"{name.upper()}={str(wrong['input']).rsplit('@', 1)[-1]}"


@lru_cache
def get_settings() -> Settings:
    """The process's settings, read once. Tests clear the cache with `get_settings.cache_clear()`."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(map(_shown, error.errors()))
        raise WrongSettings(f"A setting is wrong. {wrong}.", mend="Change it in the environment or in .env.") from None
