"""Encrypted files: the known answers, in pieces of any size; forms of messages are read strictly and written whole."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.content import PART_OCTETS
from crypto.errors import Malformed, Unauthentic
from crypto.files.addresses import NotAnAddress, address_of, is_fetchable, name_in, sealed_address, sole_address
from crypto.files.attachment import NotAnAttachment, described, encrypted_file, encrypted_file_in, is_mxc
from crypto.files.digests import SHA256, Digest, WrongDigest
from crypto.files.naming import OCTETS, file_name, media_type
from crypto.files.sharing import Metadata, NotAFile, shared_file, sharing_content
from crypto.files.streams import DamagedFile, Lock, Made, Method, Sealer, UnusableKey, opener
from crypto.xml import Element, parse
from tests.vectors import derive_files

CASES: list[dict[str, Any]] = json.loads((Path(derive_files.__file__).parent / "files.json").read_text())
URL = "https://files.example.org/a/b.jpg"


def _lock(case: dict[str, Any], **changes: Any) -> Lock:
    method, key, iv = Method(case["method"]), bytes.fromhex(case["key"]), bytes.fromhex(case["iv"])
    sealed = (Digest(SHA256, bytes.fromhex(case["sealed_sha256"])),) if method is not Method.GCM else ()
    return Lock(**{"method": method, "key": key, "iv": iv, "sealed": sealed, **changes})


def _opened(lock: Lock, ciphertext: bytes, piece: int = 7) -> bytes:
    running = opener(lock)
    found = b"".join(running.opened(ciphertext[at : at + piece]) for at in range(0, len(ciphertext), piece))
    return found + running.finished()


def test_the_known_answers_are_those_of_the_script() -> None:
    assert (Path(derive_files.__file__).parent / "files.json").read_text() == derive_files.content()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("piece", [1, 16, 33, 5000])
def test_known_files_are_opened_in_pieces_of_any_size(case: dict[str, Any], piece: int) -> None:
    assert _opened(_lock(case), bytes.fromhex(case["sealed"]), piece).hex() == case["plain"]


@pytest.mark.parametrize("case", [c for c in CASES if c["method"] != "cbc"], ids=lambda case: case["name"])
def test_known_files_are_made(case: dict[str, Any]) -> None:
    method, key, iv = Method(case["method"]), bytes.fromhex(case["key"]), bytes.fromhex(case["iv"])
    if len(key) != 32 or len(iv) != (16 if method is Method.CTR else 12):
        with pytest.raises(UnusableKey):
            Sealer(method, key, iv)
        return
    sealer, plain = Sealer(method, key, iv[:8] if method is Method.CTR else iv), bytes.fromhex(case["plain"])
    sealed = sealer.sealed(plain[:9]) + sealer.sealed(plain[9:])
    tail, made = sealer.finished()
    assert (sealed + tail).hex() == case["sealed"]
    assert (made.key, made.iv, made.size, made.sealed_size) == (key, iv, len(plain), len(sealed + tail))
    assert (made.sha256.hex(), made.sealed_sha256.hex()) == (case["sha256"], case["sealed_sha256"])
    assert key.hex() not in repr(made)


@pytest.mark.parametrize("case", [c for c in CASES if c["described"]], ids=lambda case: case["name"])
def test_the_description_of_an_attachment_is_the_known_one_and_opens_it(case: dict[str, Any]) -> None:
    found = encrypted_file_in(json.dumps(case["described"]).encode())
    assert _opened(found.lock, bytes.fromhex(case["sealed"])).hex() == case["plain"]
    sealer = Sealer(Method.CTR, bytes.fromhex(case["key"]), bytes.fromhex(case["iv"])[:8])
    sealer.sealed(bytes.fromhex(case["plain"]))
    assert described(case["described"]["url"], sealer.finished()[1]) == case["described"]


@pytest.mark.parametrize("case", [c for c in CASES if c["address"]], ids=lambda case: case["name"])
def test_an_address_opens_its_file(case: dict[str, Any]) -> None:
    found = sealed_address(case["address"])
    assert (found.url, _opened(found.lock, bytes.fromhex(case["sealed"])).hex()) == (URL, case["plain"])


def test_the_example_of_xep_0454_is_read() -> None:
    url = "download.montague.tld/4a771ac1-f0b2-4a4a-9700-f2a26fa2bb67/tr%C3%A8s%20cool.jpg"
    secret = "8c3d050e9386ec173861778f68e9af38a97aaf82faa4063b4d0878a61261534410c8a84331eaac851759f587"
    found = sealed_address(f"aesgcm://{url}#{secret}")
    assert found.url == f"https://{url}"
    assert (found.lock.iv.hex(), found.lock.key.hex()) == (secret[:24], secret[24:])
    assert name_in(found.url) == "très cool.jpg"
    thumbnail = f"aesgcm://{url}#{secret}\ndata:image/jpeg,/9j/4AAQSkZJRgABAQEBLAEs"
    assert sole_address(thumbnail) == found


@pytest.mark.parametrize("change", ["first", "middle", "last", "short", "long", "empty"])
@pytest.mark.parametrize("name", ["ctr-1000", "gcm-1000-iv12", "gcm128-17", "cbc-1000", "gcm-0-iv12"])
def test_a_changed_file_is_not_authentic(name: str, change: str) -> None:
    case = next(c for c in CASES if c["name"] == name)
    octets = bytearray.fromhex(case["sealed"])
    if change in ("first", "middle", "last"):
        octets[{"first": 0, "middle": len(octets) // 2, "last": -1}[change]] ^= 1
    changed = {"short": octets[:-1], "long": octets + b"\0", "empty": octets[:0]}.get(change, octets)
    with pytest.raises(Unauthentic) as caught:
        _opened(_lock(case), bytes(changed))
    assert case["key"] not in repr(caught.value) + str(caught.value.__context__)


def test_a_file_of_another_key_is_not_authentic() -> None:
    case = next(c for c in CASES if c["name"] == "gcm-1000-iv12")
    with pytest.raises(DamagedFile):
        _opened(_lock(case, key=bytes(32)), bytes.fromhex(case["sealed"]))


def test_a_hash_that_is_stated_must_hold_although_the_tag_does() -> None:
    case = next(c for c in CASES if c["name"] == "gcm-1000-iv12")
    sealed = bytes.fromhex(case["sealed"])
    right = Digest("sha3-256", hashlib.sha3_256(bytes.fromhex(case["plain"])).digest())
    assert _opened(_lock(case, plain=(right,)), sealed).hex() == case["plain"]
    for wrong in (Digest("sha3-256", bytes(32)), Digest(SHA256, b"")):
        with pytest.raises(WrongDigest):
            _opened(_lock(case, plain=(right, wrong)), sealed)
    assert _opened(_lock(case, plain=(Digest("md5", bytes(16)),)), sealed).hex() == case["plain"]


def test_a_file_without_a_tag_is_opened_only_when_size_and_hash_are_stated() -> None:
    case = next(c for c in CASES if c["name"] == "gcm-1000-iv12")
    bare = bytes.fromhex(case["sealed"])[:-16]
    stated = (Digest(SHA256, bytes.fromhex(case["sha256"])),)
    assert _opened(_lock(case, size=1000, plain=stated), bare).hex() == case["plain"]
    for lock in (_lock(case, size=1000), _lock(case, plain=stated), _lock(case, size=999, plain=stated)):
        with pytest.raises(Unauthentic):
            _opened(lock, bare)
    with pytest.raises(WrongDigest):
        _opened(_lock(case, size=1000, plain=(Digest(SHA256, bytes(32)),)), bare)


@pytest.mark.parametrize("method", [Method.CTR, Method.CBC])
def test_what_nothing_would_prove_is_not_opened(method: Method) -> None:
    with pytest.raises(UnusableKey):
        opener(Lock(method, bytes(32), bytes(16)))
    with pytest.raises(UnusableKey):
        opener(Lock(method, bytes(32), bytes(16), sealed=(Digest("sha-1", bytes(20)),)))


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=30), st.sampled_from([Method.CTR, Method.GCM]))
def test_what_is_sealed_in_pieces_is_opened_in_other_pieces(plain: bytes, cuts: list[int], method: Method) -> None:
    sealer = Sealer(method, b"k" * 32, b"i" * (8 if method is Method.CTR else 12))
    pieces, rest = [], plain
    for cut in cuts:
        pieces.append(sealer.sealed(rest[:cut]))
        rest = rest[cut:]
    pieces.append(sealer.sealed(rest))
    tail, made = sealer.finished()
    lock = Lock(method, made.key, made.iv, sealed=(Digest(SHA256, made.sealed_sha256),))
    assert _opened(lock, b"".join(pieces) + tail, 11) == plain


def test_an_opener_hands_out_no_more_than_it_was_given() -> None:
    case = next(c for c in CASES if c["name"] == "gcm-1000-iv12")
    running, given_, taken = opener(_lock(case)), 0, 0
    for at in range(0, 1016, 64):
        piece = bytes.fromhex(case["sealed"])[at : at + 64]
        given_, taken = given_ + len(piece), taken + len(running.opened(piece))
        assert taken == max(0, given_ - 16)
    assert PART_OCTETS == 262_144


# ---------------------------------------------------------------- Matrix
GOOD: dict[str, Any] = next(c for c in CASES if c["name"] == "ctr-17")["described"]


def _changed(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "x",
        {},
        _changed(v="v1"),
        _changed(v=None),
        _changed(url="https://x/y"),
        _changed(url="mxc://one/../two"),
        _changed(url="mxc://one/two?x"),
        _changed(url="mxc://one/two/three"),
        _changed(iv="AAAA"),
        _changed(iv=17),
        _changed(iv="w+sE15fzSc0AAAAAAAAA!A"),
        _changed(hashes={}),
        _changed(hashes={"sha256": "AAAA"}),
        _changed(hashes={"sha1": GOOD["hashes"]["sha256"]}),
        _changed(key={**GOOD["key"], "alg": "A128CTR"}),
        _changed(key={**GOOD["key"], "kty": "RSA"}),
        _changed(key={**GOOD["key"], "k": GOOD["key"]["k"][:-2]}),
        _changed(key={**GOOD["key"], "k": "+" + GOOD["key"]["k"][1:]}),
        _changed(key={**GOOD["key"], "k": "é" * 43}),
        _changed(key="x"),
    ],
)
def test_what_describes_no_attachment_is_refused(bad: object) -> None:
    with pytest.raises(Malformed):
        encrypted_file(bad)


def test_padding_and_missing_key_operations_are_no_reason_to_refuse_it() -> None:
    key = {"kty": "oct", "alg": "A256CTR", "k": GOOD["key"]["k"] + "="}
    padded = _changed(iv=GOOD["iv"] + "==", key=key, hashes={"sha256": GOOD["hashes"]["sha256"] + "="})
    assert encrypted_file(padded) == encrypted_file(GOOD)


@pytest.mark.parametrize("octets", [b"", b"[", b"{", b"[" * 100_000, b"\xff", b"null"])
def test_what_is_no_json_is_refused(octets: bytes) -> None:
    with pytest.raises(NotAnAttachment):
        encrypted_file_in(octets)


def test_media_uris_are_told_from_others() -> None:
    assert is_mxc("mxc://matrix.org:8448/Ab_-9")
    assert is_mxc("mxc://[::1]:80/x")
    for bad in ("mxc://", "mxc:///x", "mxc://a/", "mxc://a/b c", "mxc://a/%2e%2e", "MXC://a/b", 5, None):
        assert not is_mxc(bad)


# ---------------------------------------------------------------- addresses
@pytest.mark.parametrize(
    "bad",
    [
        "",
        "https://x/y",
        "aesgcm://x/y",
        "aesgcm://x/y#" + "a" * 87,
        "aesgcm://x/y#" + "a" * 92,
        "aesgcm://x/y#" + "g" * 88,
        "aesgcm://user@x/y#" + "a" * 88,
        "aesgcm://x /y#" + "a" * 88,
        "aesgcm://x/<y>#" + "a" * 88,
        "aesgcm://x/y#" + "a" * 88 + "\n",
        "aesgcm:///y#" + "a" * 88,
        "aesgcm://x/" + "y" * 2000 + "#" + "a" * 88,
        " aesgcm://x/y#" + "a" * 88,
        "aesgcm://x/y#z#" + "a" * 88,
    ],
)
def test_what_is_no_address_is_refused(bad: str) -> None:
    with pytest.raises(NotAnAddress):
        sealed_address(bad)


@pytest.mark.parametrize("text", ["see aesgcm://x/y#" + "a" * 88, "aesgcm://x/y#" + "a" * 88 + "\nhello", "hello", ""])
def test_an_address_within_a_text_is_a_text(text: str) -> None:
    assert sole_address(text) is None


def test_only_what_stands_at_https_gets_an_address() -> None:
    made = Made(Method.GCM, bytes(32), bytes(12), 1, 17, bytes(32), bytes(32))
    assert address_of(URL, made) == f"aesgcm://files.example.org/a/b.jpg#{'0' * 88}"
    for bad in ("http://x/y", "ftp://x/y", "https://x/y#z", "https://u@x/y"):
        with pytest.raises(NotAnAddress):
            address_of(bad, made)
    assert is_fetchable("http://127.0.0.1:80/y?z=1&w")
    assert not is_fetchable("https://x/y\r\nHost: z")


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://x/a/b.jpg", "b.jpg"), ("https://x", "x"), ("https://x/", "file"), ("https://x/%FF", "file")],
)
def test_the_name_in_a_url(url: str, name: str) -> None:
    assert name_in(url) == name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("cat.jpg", "cat.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.exe", "y.exe"),
        (".bashrc", "bashrc"),
        ("a\x1b[2Jb\n", "a[2Jb"),
        ("..", "file"),
        ("", "file"),
        (None, "file"),
        ("\u202egpj.exe", "gpj.exe"),
        ("x" * 500, "x" * 200),
    ],
)
def test_names_are_made_harmless(given_name: object, name: str) -> None:
    assert file_name(given_name) == name


def test_media_types_are_such_or_those_of_any_octets() -> None:
    assert media_type("Image/JPEG; x=y") == "image/jpeg"
    for bad in ("", "image", "a/b/c", "a b/c", None, 5, "x/" + "y" * 200, "text/html\nX: y"):
        assert media_type(bad) == OCTETS


# ---------------------------------------------------------------- XMPP
def _sharing(made: Made, metadata: Metadata, url: str = URL) -> Element:
    return parse(sharing_content(metadata, url, made).encode())


MADE = Made(Method.GCM, bytes(range(32)), bytes(12), 5, 21, b"p" * 32, b"s" * 32)
ABOUT = Metadata("très <cool>.jpg", "image/jpeg", 5, "a & b", 640, 480, 1500)


def test_a_file_that_is_shared_is_read_as_it_was_written() -> None:
    found = shared_file(_sharing(MADE, ABOUT))
    assert found.metadata == ABOUT
    assert found.url == URL
    assert found.lock == Lock(
        Method.GCM, MADE.key, MADE.iv, 5, (Digest(SHA256, b"p" * 32),), (Digest(SHA256, b"s" * 32),)
    )


def test_the_example_of_xep_0448_is_read() -> None:
    example = (
        "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'>"
        "<media-type>image/jpeg</media-type><name>summit.jpg</name><size>3032449</size><dimension>4096x2160</dimension>"
        "<hash xmlns='urn:xmpp:hashes:2' algo='sha3-256'>2XarmwTlNxDAMkvymloX3S5+VbylNrJt/l5QyPa+YoU=</hash>"
        "<hash xmlns='urn:xmpp:hashes:2' algo='id-blake2b256'>2AfMGH8O7UNPTvUVAM9aK13mpCY=</hash>"
        "<desc>Photo from the summit.</desc></file><sources>"
        "<encrypted xmlns='urn:xmpp:esfs:0' cipher='urn:xmpp:ciphers:aes-256-gcm-nopadding:0'>"
        "<key>SuRJ2agVm/pQbJQlPq/B23Xt1YOOJCcEGJA5HrcYOGQ=</key><iv>T8RDMBaiqn6Ci4Nw</iv>"
        "<hash xmlns='urn:xmpp:hashes:2' algo='sha3-256'>BgKI2gp2kNCRsARNvhFmw5kFf9BBo2pTbV2D8XHTMWI=</hash>"
        "<sources xmlns='urn:xmpp:sfs:0'><url-data xmlns='http://jabber.org/protocol/url-data' "
        "target='https://download.montague.lit/4a771ac1/encrypted.jpg'/></sources></encrypted>"
        "<jinglepub xmlns='urn:xmpp:jinglepub:1' from='romeo@montague.lit/resource' id='9559976B'/>"
        "</sources></file-sharing>"
    )
    found = shared_file(parse(example.encode()))
    assert found.metadata == Metadata("summit.jpg", "image/jpeg", 3_032_449, "Photo from the summit.")
    assert found.url == "https://download.montague.lit/4a771ac1/encrypted.jpg"
    assert base64.b64encode(found.lock.key) == b"SuRJ2agVm/pQbJQlPq/B23Xt1YOOJCcEGJA5HrcYOGQ="
    assert [digest.counts for digest in found.lock.plain] == [True, False]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("urn:xmpp:esfs:0", "urn:xmpp:esfs:9"),
        ("aes-256-gcm", "aes-999-gcm"),
        ("<key>", "<key>AAAA"),
        ("<iv>", "<iv>AAAA"),
        ("https://files", "javascript://files"),
        ("https://files", "https://user@files"),
        ("urn:xmpp:file:metadata:0", "urn:xmpp:file:metadata:9"),
        ("<sources>", "<others>"),
    ],
)
def test_a_file_that_could_not_be_had_is_refused(old: str, new: str) -> None:
    text = sharing_content(ABOUT, URL, MADE)
    if new == "<others>":
        text = text.replace("<sources><encrypted", "<others><encrypted").replace(
            "</encrypted></sources>", "</encrypted></others>"
        )
    with pytest.raises(NotAFile):
        shared_file(parse(text.replace(old, new, 1).encode()))


def test_the_first_source_that_is_usable_is_taken() -> None:
    text = sharing_content(ABOUT, URL, MADE)
    source = text[text.index("<encrypted") : text.index("</encrypted>") + len("</encrypted>")]
    bad = source.replace("aes-256-gcm-nopadding", "unknown")
    found = shared_file(parse(text.replace(source, bad + source).encode()))
    assert found.url == URL
