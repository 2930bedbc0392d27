"""JSON Web Tokens: whether somebody whom we trust has signed one for us."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

#: Algorithms that may be allowed: only those with a private and a public key.
ALGORITHMS: Final = (*_RSA_ALGORITHMS, "ES256", "ES384", "EdDSA")

#: Shorter RSA keys are not used.
MINIMUM_RSA_BITS: Final = 2048

#: Seconds by which the clocks of whoever signs tokens and of this server may differ.
LEEWAY_SECONDS: Final = 60

#: Longest token that is looked at, in characters.
_MAX_TOKEN_LENGTH: Final = 16_384

_REQUIRED_CLAIMS: Final = ["sub", "iss", "aud", "exp", "iat"]


class InvalidTokenError(Exception):
    """A token is not one that we trust. The message is for logs and the command line, not for whoever presents it."""


class KeysUnavailableError(Exception):
    """The keys that tokens are verified with are not to be had now."""


class VerificationKey(NamedTuple):
    """A public key with the algorithms that signatures may have that it verifies."""

    key: PublicKey
    algorithms: tuple[str, ...]


class KeySource(Protocol):
    """Knows public keys."""

    async def find(self, key_id: str | None) -> VerificationKey | None:
        """Return the key that a token names, or None if there is none.

        Raises:
            KeysUnavailableError: it cannot be told now.
        """


class OneKey:
    """A source of one key, whatever a token names."""

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    async def find(self, key_id: str | None) -> VerificationKey:  # noqa: ARG002 - what every source takes
        """Return the key."""
        return self._key


class TokenVerifier:
    """Verifies tokens.

    Args:
        keys: where the keys are.
        issuer: who must have issued a token.
        audience: whom a token must be for, possibly among others.
        algorithms: those that signatures may have.
    """

    def __init__(self, keys: KeySource, *, issuer: str, audience: str, algorithms: Collection[str]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = algorithms

    async def claims(self, token: str) -> Mapping[str, Any]:
        """Return what a token says.

        Raises:
            InvalidTokenError: it is not valid, or not any more.
            KeysUnavailableError: it cannot be told now.
        """
        if len(token) > _MAX_TOKEN_LENGTH:
            raise InvalidTokenError("the token is too long")
        with _refused():
            header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise InvalidTokenError(f"the algorithm {algorithm!r} is not allowed")
        key = await self._keys.find(header.get("kid"))
        if key is None:
            raise InvalidTokenError("no key is known that the token could be signed with")
        with _refused():
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[name for name in key.algorithms if name in self._algorithms],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED_CLAIMS},
            )
        return claims


def fitting_algorithms(key: object) -> tuple[str, ...]:
    """Return the algorithms that a key is for; none if it is of a kind that is not used, or too short."""
    match key:
        case RSAPublicKey() if key.key_size >= MINIMUM_RSA_BITS:
            return _RSA_ALGORITHMS
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return ("ES256",)
        case EllipticCurvePublicKey(curve=SECP384R1()):
            return ("ES384",)
        case Ed25519PublicKey():
            return ("EdDSA",)
    return ()


def key_of_pem(pem: str) -> VerificationKey:
    """Return the public key that a PEM text holds (``PUBLIC KEY`` or ``RSA PUBLIC KEY``).

    Raises:
        ValueError: there is none, or none that can be used; the message says why.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        what = "a private key" if "PRIVATE KEY" in pem else "no public key in PEM form"
        raise ValueError(f"it is {what}") from None
    algorithms = fitting_algorithms(key)
    if isinstance(key, RSAPublicKey) and not algorithms:
        raise ValueError(f"it has {key.key_size} bits; RSA keys must have at least {MINIMUM_RSA_BITS}")
    if not isinstance(key, PublicKey) or not algorithms:
        raise ValueError("it is of an unknown kind; there are RSA, P-256, P-384 and Ed25519")
    return VerificationKey(key, algorithms)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Turn what goes wrong in a foreign token into `InvalidTokenError`."""
    try:
        yield
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InvalidTokenError(str(error) or type(error).__name__) from error
