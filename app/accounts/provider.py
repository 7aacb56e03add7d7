"""The provider of single sign-on, spoken to as OpenID Connect says: code flow, PKCE, state and nonce."""

import logging
import time
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ValidationError

from app.core.config import Settings, get_settings
from app.core.errors import DomainError
from app.core.passwords import new_token

SECONDS = 5.0  # that each of its answers may take
KNOWN_FOR = 600.0  # seconds for which what it says of itself and its keys holds
LEEWAY = 60  # seconds that its clock may be off
# Signed by its own key pair: neither unsigned, nor by a secret that others hold too.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
CALLBACK = "/sign-in/sso/callback"
logger = logging.getLogger(__name__)
Claims = dict[str, Any]


class ProviderTrouble(DomainError):
    """The provider does not answer, or answers what can't be believed."""

    status = HTTPStatus.BAD_GATEWAY
    title = "Single sign-on does not work just now"


class Metadata(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]


@dataclass(frozen=True, slots=True)
class Journey:
    """One sign-in on its way to the provider and back; the browser keeps it sealed meanwhile."""

    state: str
    nonce: str
    verifier: str


@dataclass(slots=True)
class _Known:
    metadata: Metadata
    keys: KeySet
    until: float


_known: dict[str, _Known] = {}
_asking = Lock()


def _trouble(what: str, error: object = "") -> ProviderTrouble:
    """For people without what the provider said, which is in the log."""
    name = get_settings().oidc_name
    logger.warning("single sign-on: %s %s", what, str(error)[:300])
    return ProviderTrouble(f"{name} {what}.", mend="Try again in a moment; an admin finds the reason in the log.")


def known(settings: Settings, *, anew: bool = False) -> _Known:
    """What the provider says of itself, and its keys. Asked when first needed: the web starts without it."""
    issuer = str(settings.oidc_issuer)
    with _asking:
        found = _known.get(issuer)
        if found is None or found.until < time.monotonic() or anew:
            found = _known[issuer] = _ask(issuer)
        return found


def _ask(issuer: str) -> _Known:
    try:
        with httpx2.Client(timeout=SECONDS) as client:
            metadata = Metadata.model_validate(_json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
            _check(metadata, issuer)
            keys = KeySet.import_key_set(_json(client, metadata.jwks_uri))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _trouble("does not answer", error) from error
    except (ValidationError, JoseError, ValueError, TypeError, KeyError) as error:
        raise _trouble("does not say what single sign-on needs", error) from error
    return _Known(metadata, keys, time.monotonic() + KNOWN_FOR)


def _json(client: httpx2.Client, address: str) -> Any:
    answer = client.get(address, headers={"Accept": "application/json"})
    answer.raise_for_status()
    return answer.json()


def _check(metadata: Metadata, issuer: str) -> None:
    """It is the one that was meant, and nothing goes to it in plain text that did not before."""
    if metadata.issuer != issuer:
        raise ValueError(f"it calls itself {metadata.issuer}, TOUCHSTONE_OIDC_ISSUER says {issuer}")
    addresses = metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri, metadata.userinfo_endpoint
    if issuer.startswith("https://") and not all(each.startswith("https://") for each in addresses if each):
        raise ValueError("one of its addresses is without TLS")


def _client(settings: Settings, metadata: Metadata) -> OAuth2Client:
    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
    ways = metadata.token_endpoint_auth_methods_supported
    way = "client_secret_post" if "client_secret_basic" not in ways and "client_secret_post" in ways else None
    return OAuth2Client(
        settings.oidc_client_id,
        secret,
        token_endpoint_auth_method=way if secret else "none",
        scope=settings.oidc_scopes,
        redirect_uri=settings.address + CALLBACK,
        code_challenge_method="S256",
        timeout=SECONDS,
    )


def begin() -> tuple[str, Journey]:
    """The provider's address to send the browser to, and what it has to bring back."""
    settings = get_settings()
    metadata, journey = known(settings).metadata, Journey(new_token(), new_token(), new_token())
    with _client(settings, metadata) as client:
        address, _ = client.create_authorization_url(
            metadata.authorization_endpoint,
            state=journey.state,
            nonce=journey.nonce,
            code_verifier=journey.verifier,
        )
    return str(address), journey


def claims_for(code: str, journey: Journey) -> Claims:
    """Who came back with this code, as the provider vouches for them."""
    settings = get_settings()
    metadata = known(settings).metadata
    try:
        with _client(settings, metadata) as client:
            token = client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=journey.verifier,
            )
            claims = _verified(settings, token, journey.nonce)
            return _with_more(client, metadata, claims, str(token.get("access_token")))
    except httpx2.HTTPError as error:
        raise _trouble("does not answer", error) from error
    except AuthlibBaseError as error:
        raise _trouble("did not confirm this sign-in", error) from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _trouble("sent something that can't be believed", error) from error


def _verified(settings: Settings, token: Any, nonce: str) -> Claims:
    """The claims of an ID token that is signed, for us, of now and of this journey (OpenID Connect Core 3.1.3.7)."""
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    sent = str(token["id_token"])
    try:
        read = jwt.decode(sent, known(settings).keys, registry=registry)
    except InvalidKeyIdError:  # its keys change now and then
        read = jwt.decode(sent, known(settings, anew=True).keys, registry=registry)
    client_id = settings.oidc_client_id
    options = {
        "iss": {"essential": True, "value": settings.oidc_issuer},
        "aud": {"essential": True, "value": client_id},
    }
    params = {"nonce": nonce, "client_id": client_id, "access_token": token.get("access_token")}
    claims = CodeIDToken(read.claims, read.header, options, params)
    claims.validate(leeway=LEEWAY)
    return dict(claims)


def _with_more(client: OAuth2Client, metadata: Metadata, claims: Claims, access_token: str) -> Claims:
    """Some providers keep address and groups out of the ID token, and tell them when asked."""
    settings = get_settings()
    wanted = {"email", settings.oidc_role_claim.split(".")[0]} if settings.oidc_roles else {"email"}
    if metadata.userinfo_endpoint is None or wanted <= set(claims):
        return claims
    headers = {"Authorization": f"Bearer {access_token}"}  # authlib's own takes one that lasts a minute for run out
    answer = client.request("GET", metadata.userinfo_endpoint, withhold_token=True, headers=headers)
    answer.raise_for_status()
    more = answer.json()
    if more["sub"] != claims["sub"]:
        raise ValueError("it told of someone else")
    return {**more, **claims}
