"""Signatures of manifests: who made a release, told apart from who can write where it lies.

What covers what: `provenance.json` lists the digests of all files but itself, the manifest and its signature; the manifest
lists all files but itself and its signature; `manifest.sig` signs the manifest's bytes by Ed25519 (RFC 8032).
"""

import base64
import binascii
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import Field, ValidationError

from converters.contract.errors import BadInput, SignatureFailed
from converters.contract.layout import MANIFEST, SIGNATURE
from converters.contract.values import Frozen

SIGNING, TRUSTED = "FANOUT_SIGNING_KEY", "FANOUT_VERIFY_KEYS"
"""What names the files that keys are read from, for a person."""
PUBLIC_SUFFIX = ".pub"
"""Of the files that are read where a folder of public keys is named."""
_PRIVATE, _PUBLIC = "fanout-signing.pem", f"fanout-signing{PUBLIC_SUFFIX}"
_MOST = 4096
"""Bytes of a signature file or key at most; each has some hundreds."""


class Signature(Frozen):
    """manifest.sig, as it is on disk. `key` is the SHA-256 of the public key as a SubjectPublicKeyInfo (RFC 8410), in DER."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    algorithm: Literal["ed25519"] = "ed25519"
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    signature: str
    """Base64 of its 64 bytes."""

    def to_json(self) -> bytes:
        """The file's bytes."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=1) + "\n").encode()

    @property
    def signer(self) -> str:
        """The key, for a person."""
        return f"ed25519:{self.key[:16]}"


@dataclass(frozen=True)
class Keys:
    """The key that releases are signed with, and those whose releases are trusted, by their ids; either may be lacking.

    Without `trusted` no signature is asked for.
    """

    signing: Ed25519PrivateKey | None = None
    trusted: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)

    @classmethod
    def read(cls, signing: Path | None, trusted: Path | None) -> "Keys":
        """From a PEM file of a private key, and one of a public key or a folder of such, which end in `.pub`.

        Raises:
            BadInput: a file is no such key, or other users may read the private one; or what the one signs, the other
                does not trust.
        """
        keys = cls(
            signing=None if signing is None else _private(signing),
            trusted={} if trusted is None else {key_id(key): key for key in map(_public, _public_files(trusted))},
        )
        if keys.signing is not None and keys.trusted and key_id(keys.signing.public_key()) not in keys.trusted:
            raise BadInput(
                f"the key of {SIGNING}={signing} is none of those in {TRUSTED}={trusted}, so what it signs would be refused; "
                "add its public key there"
            )
        return keys

    def for_signing(self) -> "Keys":
        """These. Raises BadInput where what is made could not be promoted for want of a signature."""
        if self.trusted and self.signing is None:
            raise BadInput(
                f"{TRUSTED} asks for signed releases and there is no key to sign with; set {SIGNING} to the file of the private "
                "key, or unset the other"
            )
        return self

    def sign(self, content: bytes) -> bytes | None:
        """What manifest.sig is for a manifest of these bytes; None without a key."""
        if self.signing is None:
            return None
        signature = base64.b64encode(self.signing.sign(content)).decode()
        return Signature(key=key_id(self.signing.public_key()), signature=signature).to_json()

    def verify(self, release: Path) -> Signature | None:
        """The signature of a release, verified if any key is trusted; None of one that is unsigned and may be.

        Raises:
            SignatureFailed: it must be signed and is not, or by another key, or its manifest is not what was signed; or the
                file is no signature at all.
        """
        found = read(release)
        if not self.trusted:
            return found
        if found is None:
            raise SignatureFailed(f"{release} is not signed, and {TRUSTED} asks for it; {_REMEDY}")
        key = self.trusted.get(found.key)
        if key is None:
            raise SignatureFailed(
                f"{release} is signed by {found.signer}, which is none of the {len(self.trusted)} keys of {TRUSTED}; {_REMEDY}"
            )
        try:
            key.verify(base64.b64decode(found.signature), (release / MANIFEST).read_bytes())
        except InvalidSignature:
            raise SignatureFailed(
                f"{release / MANIFEST} is not what {found.signer} signed: it was changed afterwards; {_REMEDY}"
            ) from None
        except OSError as error:
            raise BadInput(
                f"{release} is no release: {release / MANIFEST} cannot be read ({error.strerror})"
            ) from error
        return found

    def unfit(self, release: Path) -> str | None:
        """Why a release is not such as these keys would make it; None where it is, or there is none."""
        own = {} if self.signing is None else {key_id(self.signing.public_key()): self.signing.public_key()}
        try:
            Keys(trusted=self.trusted or own).verify(release)
        except BadInput as error:
            return str(error)
        return None


NO_KEYS = Keys()
_REMEDY = "do not use it, and deploy again"


def read(release: Path) -> Signature | None:
    """The signature beside a manifest, not verified; None where there is none. Raises SignatureFailed where it is no such file."""
    path = release / SIGNATURE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SignatureFailed(f"{path} cannot be read: {error.strerror}; {_REMEDY}") from error
    try:
        found = Signature.model_validate_json(content)
        plain = base64.b64decode(found.signature, validate=True)
    except (ValidationError, binascii.Error) as error:
        raise SignatureFailed(f"{path} is no signature of schema 1; {_REMEDY}") from error
    # There is one way to write it, so that no other bytes are taken for it.
    if found.to_json() != content or base64.b64encode(plain).decode() != found.signature:
        raise SignatureFailed(f"{path} is not as it was written; {_REMEDY}")
    return found


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of its SubjectPublicKeyInfo, in hex: `openssl pkey -pubin -outform DER | sha256sum`."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def generate(folder: Path) -> tuple[Path, Path]:
    """Write a new pair of keys; returns the private one's path and the public one's.

    Raises:
        BadInput: the folder cannot be written, or holds such keys, which are never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    private, public = folder / _PRIVATE, folder / _PUBLIC
    written = (
        (private, 0o600, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        (public, 0o644, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    )
    for path in (private, public):
        if os.path.lexists(path):
            raise BadInput(f"{path} exists, and a key is never overwritten; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, mode, content in written:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
    except OSError as error:
        raise BadInput(f"no keys can be written to {folder}: {error.strerror}") from error
    return private, public


def _private(path: Path) -> Ed25519PrivateKey:
    content = _content(path, SIGNING)
    if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(f"{SIGNING}: other users may read or change {path}; `chmod 600` it")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise BadInput(f"{SIGNING}={path} is encrypted; give a PEM file without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(f"{SIGNING}={path} is no private key in PEM; `fanout keygen` makes one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{SIGNING}={path} is no Ed25519 key; `fanout keygen` makes one")
    return key


def _public_files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    files = sorted(place.glob(f"*{PUBLIC_SUFFIX}"))
    if not files:
        raise BadInput(f"{TRUSTED}={place} holds no public key: no file in it ends in {PUBLIC_SUFFIX}")
    return files


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_content(path, TRUSTED))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(f"{TRUSTED}: {path} is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(f"{TRUSTED}: {path} is no Ed25519 key")
    return key


def _content(path: Path, variable: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError as error:
        raise BadInput(f"{variable}: {path} cannot be read: {error.strerror}") from error
