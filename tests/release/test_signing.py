"""Signed manifests: what is not signed by a trusted key, or was changed afterwards, is found, and promoted by nobody."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from converters.contract.errors import BadInput, SignatureFailed
from converters.formats import digest
from converters.release import publish, signing
from converters.release.files import changed_files, record_files
from converters.release.manifest import FileRecord, Manifest, SourceRecord
from converters.release.manifest import read as read_manifest
from converters.release.signing import NO_KEYS, Keys
from converters.release.staging import staging

FLIPS = 300


@pytest.fixture(name="pair")
def _pair(tmp_path: Path) -> tuple[Path, Path]:
    return signing.generate(tmp_path / "keys")


@pytest.fixture(name="keys")
def _keys(pair: tuple[Path, Path]) -> Keys:
    return Keys.read(*pair)


def released(releases: Path, keys: Keys) -> Path:
    """The next version of a model, as it is published."""
    with staging(releases, "m") as place:
        (place.release / "model.bin").write_bytes(b"weights" * 100)
        written = Manifest(
            model="m", version=place.version, status="passed", created="2026-11-22T02:00:07Z", seconds=1.0,
            source=SourceRecord(kind="module", digest="sha256:0", signatures={}), environment={}, targets=[],
            files=record_files(place.release),
        )  # fmt: skip
        return place.publish(written.sealed(), keys)


def edit_consistently(release: Path) -> None:
    """Change a file, and the manifest so that nothing tells."""
    (release / "model.bin").write_bytes(b"malware" * 100)
    written = read_manifest(release)
    record = FileRecord(sha256=digest.of_file(release / "model.bin"), bytes=700)
    fresh = written.model_copy(update={"files": {**written.files, "model.bin": record}}).sealed()
    (release / "manifest.json").write_text(fresh.to_json())
    assert changed_files(release, fresh) == {}


def sign_anew(release: Path) -> None:
    other = Keys(signing=Ed25519PrivateKey.generate()).sign((release / "manifest.json").read_bytes())
    assert other is not None
    (release / "manifest.sig").write_bytes(other)


def claim(release: Path) -> None:
    """Another's signature, under the name of the trusted key."""
    key = json.loads((release / "manifest.sig").read_text())["key"]
    sign_anew(release)
    forged = json.loads((release / "manifest.sig").read_text())
    (release / "manifest.sig").write_text(json.dumps(forged | {"key": key}, indent=1) + "\n")


ATTACKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "edited consistently": (edit_consistently, "is not what ed25519:[0-9a-f]{16} signed"),
    "unsigned": (lambda release: (release / "manifest.sig").unlink(), "is not signed"),
    "signed by another": (sign_anew, "which is none of the 1 keys"),
    "signed by another who claims to be trusted": (claim, "is not what ed25519:[0-9a-f]{16} signed"),
    "no signature at all": (lambda release: (release / "manifest.sig").write_text("{}"), "is no signature"),
    "a large signature": (lambda release: (release / "manifest.sig").write_text("{" * 10**6), "is no signature"),
    "a signature of an earlier version": (
        lambda release: (release / "manifest.sig").write_bytes((release.parent / "1" / "manifest.sig").read_bytes()),
        "is not what",
    ),
}


def test_verify_names_the_signer_when_nothing_was_changed(keys: Keys, tmp_path: Path) -> None:
    release = released(tmp_path, keys)
    signature = keys.verify(release)
    assert signature is not None
    assert signature.signer == f"ed25519:{next(iter(keys.trusted))[:16]}"
    assert changed_files(release, read_manifest(release)) == {}
    assert NO_KEYS.verify(release) == signature


@pytest.mark.parametrize("attack", ATTACKS)
def test_promote_and_verify_refuse_and_nothing_moves(attack: str, keys: Keys, tmp_path: Path) -> None:
    change, said = ATTACKS[attack]
    for _ in range(2):
        release = released(tmp_path, keys)
    publish.promote(tmp_path, "m", 1, keys=keys)
    change(release)
    with pytest.raises(SignatureFailed, match=said):
        keys.verify(release)
    with pytest.raises(SignatureFailed, match=said):
        publish.promote(tmp_path, "m", 2, keys=keys)
    assert publish.current(tmp_path, "m") == 1


def test_rollback_refuses_what_is_not_signed(keys: Keys, tmp_path: Path) -> None:
    older = released(tmp_path, keys)
    released(tmp_path, keys)
    for version in (1, 2):
        publish.promote(tmp_path, "m", version, keys=keys)
    edit_consistently(older)
    with pytest.raises(SignatureFailed, match="is not what"):
        publish.rollback(tmp_path, "m", keys=keys)
    assert publish.current(tmp_path, "m") == 2


def test_promote_refuses_a_signed_release_in_another_version_s_place(keys: Keys, tmp_path: Path) -> None:
    older, newer = released(tmp_path, keys), released(tmp_path, keys)
    for name in ("manifest.json", "manifest.sig", "model.bin"):
        (newer / name).write_bytes((older / name).read_bytes())
    assert keys.verify(newer) is not None
    with pytest.raises(BadInput, match="holds m 1"):
        publish.promote(tmp_path, "m", 2, keys=keys)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_verify_refuses_every_flipped_bit(name: str, keys: Keys, tmp_path: Path) -> None:
    release = released(tmp_path, keys)
    content = (release / name).read_bytes()
    bits = random.Random(0).sample(range(len(content) * 8), FLIPS)
    passed = []
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (release / name).write_bytes(flipped)
        try:
            keys.verify(release)
        except SignatureFailed:
            continue
        passed.append(bit)
    print(f"{name}: {FLIPS} bits flipped, {len(passed)} not found")
    assert passed == []


def test_unsigned_releases_are_promoted_when_no_key_is_trusted(tmp_path: Path) -> None:
    release = released(tmp_path, NO_KEYS)
    assert not (release / "manifest.sig").exists()
    assert NO_KEYS.verify(release) is None
    publish.promote(tmp_path, "m", 1)


def test_a_damaged_signature_is_found_when_no_key_is_trusted(keys: Keys, tmp_path: Path) -> None:
    release = released(tmp_path, keys)
    (release / "manifest.sig").write_bytes((release / "manifest.sig").read_bytes()[:-2])
    with pytest.raises(SignatureFailed, match="is no signature"):
        NO_KEYS.verify(release)


def test_unfit_is_what_the_keys_would_not_have_made(keys: Keys, tmp_path: Path) -> None:
    signed, unsigned = released(tmp_path, keys), released(tmp_path, NO_KEYS)
    only_signing = Keys(signing=keys.signing)
    assert keys.unfit(signed) is only_signing.unfit(signed) is NO_KEYS.unfit(unsigned) is NO_KEYS.unfit(signed) is None
    for some in (keys, only_signing):
        assert "is not signed" in str(some.unfit(unsigned))


def test_generate_makes_a_key_that_others_cannot_read_and_overwrites_none(tmp_path: Path) -> None:
    private, public = signing.generate(tmp_path / "deep" / "keys")
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(BadInput, match="never overwritten"):
        signing.generate(private.parent)
    assert (private.read_bytes(), public.read_bytes()) == before
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="no keys can be written"):
        signing.generate(tmp_path / "file")


def test_read_trusts_every_key_of_a_folder(keys: Keys, pair: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = signing.generate(tmp_path / "other")
    folder = tmp_path / "trusted"
    folder.mkdir()
    for number, public in enumerate((pair[1], other)):
        (folder / f"{number}.pub").write_bytes(public.read_bytes())
    both = Keys.read(None, folder)
    assert len(both.trusted) == 2
    assert both.verify(released(tmp_path, keys)) is not None


def _not_ed25519(private: Path, public: Path) -> None:
    key = generate_private_key(65537, 2048)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _encrypted(private: Path, public: Path) -> None:
    key = load_pem_private_key(private.read_bytes(), None)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda private, public: private.unlink(), "FANOUT_SIGNING_KEY: .* cannot be read: No such file"),
        (lambda private, public: private.chmod(0o644), "other users may read or change .*`chmod 600` it"),
        (lambda private, public: private.write_text("secret words"), "no private key in PEM"),
        (lambda private, public: private.write_bytes(public.read_bytes()), "no private key in PEM"),
        (_not_ed25519, "no Ed25519 key"),
        (_encrypted, "is encrypted"),
        (lambda private, public: public.unlink(), "FANOUT_VERIFY_KEYS: .* cannot be read: No such file"),
        (lambda private, public: public.write_bytes(private.read_bytes()), "no public key in PEM"),
        (lambda private, public: (public.unlink(), public.mkdir()), "holds no public key"),
        (
            lambda private, public: public.write_bytes(signing.generate(private.parent / "new")[1].read_bytes()),
            "so what it signs would be refused",
        ),
    ],
)
def test_read_says_what_is_wrong_with_a_key(
    spoil: Callable[[Path, Path], object], said: str, pair: tuple[Path, Path]
) -> None:
    spoil(*pair)
    with pytest.raises(BadInput, match=said) as found:
        Keys.read(*pair)
    assert "secret words" not in str(found.value)


def test_for_signing_wants_a_key_when_signatures_are_asked_for(keys: Keys) -> None:
    assert NO_KEYS.for_signing() is NO_KEYS
    with pytest.raises(BadInput, match="no key to sign with; set FANOUT_SIGNING_KEY"):
        Keys(trusted=keys.trusted).for_signing()
