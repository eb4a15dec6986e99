"""Identifiers with a form: mail addresses, telephone, account, card and identity numbers, by Presidio's recognisers.

Presidio's analyser wants a language model for every text and fetches what it lacks; its recognisers work alone. They
are given the parts of a text that hold an "@" or enough digits, in blocks of bounded size, because some patterns take
time that grows with the square of the length. A weak form counts only with a word beside it that says what it is.

The only module that imports `presidio_analyzer` and `tldextract`. The list of domain endings is the one in the package:
the recogniser as it comes asks the network for a newer one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from strongroom.types import PersonalKind, PersonalSpan

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

_BLOCK = 4_000
_OVERLAP = 120  # longer than any identifier
_DIGITS = 5  # a line with fewer holds no identifier but a mail address
_BEFORE, _AFTER = 60, 30  # characters in which a word may say what a number is
_SURER = 0.4
_HEAVY = ("torch", "transformers", "gliner", "stanza")  # what Presidio and spaCy take along when it is there


@dataclass(frozen=True, slots=True)
class _Rule:
    """A recogniser, what its findings are called, and whether a word beside them must say so."""

    kind: PersonalKind
    recogniser: EntityRecognizer
    hint: re.Pattern[str]
    by_hint_alone: bool


def find(text: str) -> Iterator[PersonalSpan]:
    """Identifiers with a form. They may overlap; scores are 0..1."""
    for start, block in blocks(text):
        for rule in _rules():
            for hit in rule.recogniser.analyze(block, rule.recogniser.supported_entities, None) or ():
                begin, end = start + hit.start, start + hit.end
                while begin < end and text[begin].isspace():  # some patterns take the blank before a number along
                    begin += 1
                hinted = _hinted(text, begin, end, rule.hint)
                if rule.by_hint_alone and not hinted:
                    continue
                score = min(1.0, hit.score + _SURER) if hinted else hit.score
                if rule.kind == "phone" and not hinted:
                    score = _phone_score(text[begin:end])
                if rule.kind == "ip" and not hinted and _numbering(text[begin:end]):
                    continue
                yield PersonalSpan(rule.kind, begin, end, round(score, 2))


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """`(offset, part)` of the parts of a text that can hold an identifier; long ones overlap."""
    begin = end = -1
    for line in re.finditer(r"[^\n]+", text):
        if "@" not in line[0] and sum(map(line[0].count, "0123456789")) < _DIGITS:
            continue
        if begin >= 0 and line.start() - end <= 1 and line.end() - begin <= _BLOCK:
            end = line.end()
            continue
        if begin >= 0:
            yield from _cut(text, begin, end)
        begin, end = line.span()
    if begin >= 0:
        yield from _cut(text, begin, end)


def _cut(text: str, begin: int, end: int) -> Iterator[tuple[int, str]]:
    while end - begin > _BLOCK:
        yield begin, text[begin : begin + _BLOCK]
        begin += _BLOCK - _OVERLAP
    yield begin, text[begin:end]


def _hinted(text: str, begin: int, end: int, hint: re.Pattern[str]) -> bool:
    return bool(hint.search(text[max(0, begin - _BEFORE) : begin]) or hint.search(text[end : end + _AFTER]))


def _phone_score(number: str) -> float:
    """Without a word beside it, a number is a telephone's when it is written as one."""
    if number.lstrip("(").startswith(("+", "00")):
        return 0.8
    return 0.6 if len(re.findall(r"\d+", number)) >= 3 and not re.search(r"\d\.\d{3}\.", number) else 0.3


def _numbering(address: str) -> bool:
    """Whether an IPv4 address could be the number of a section."""
    parts = address.split(".")
    return ":" not in address and all(part.isdigit() and int(part) < 100 for part in parts)


# ------------------------------------------------------------------------------------------------ recognisers


@contextmanager
def _light() -> Iterator[None]:
    """Let imports find no machine learning library: none is needed here, and they take seconds and 300 MB."""
    hidden = [name for name in _HEAVY if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's way to say "there is none"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


_ID = r"\bID\b|identi|ausweis|passport|reisepass|pasaporte|passaporto|passeport|pass(?:port)?[- ]?n"


@cache
def _rules() -> Sequence[_Rule]:
    with _light():
        import presidio_analyzer.predefined_recognizers as local
        import tldextract
        from presidio_analyzer import Pattern, PatternRecognizer

    endings = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class Email(local.EmailRecognizer):  # type: ignore[misc]  # Presidio has no types
        def validate_result(self, pattern_text: str) -> bool:
            return bool(endings(pattern_text).fqdn)

    class Checked(PatternRecognizer):  # type: ignore[misc]
        """A number with a check digit that Presidio has no recogniser for."""

        def __init__(self, entity: str, pattern: str, valid: object) -> None:
            self.valid = valid
            super().__init__(supported_entity=entity, patterns=[Pattern(entity, pattern, 0.4)])

        def validate_result(self, pattern_text: str) -> bool:
            return bool(self.valid(re.sub(r"[^0-9A-Z]", "", pattern_text.upper())))  # type: ignore[operator]

    iban = local.IbanRecognizer()
    iban.global_regex_flags = re.DOTALL | re.MULTILINE | re.IGNORECASE  # mails write them in lower case

    def rule(kind: PersonalKind, recogniser: EntityRecognizer, hint: str, *, alone: bool = False) -> _Rule:
        return _Rule(kind, recogniser, re.compile(hint, re.IGNORECASE), alone)

    tax = r"\btax|steuer|\bTIN\b|fiscal"
    social = r"social (?:security|insurance)|\bSSN\b|\bSIN\b|sozialversicherung|rentenversicherung|\bSV-?Nr"
    return (
        rule("email", Email(), r"mail"),
        rule("phone", local.PhoneRecognizer(supported_regions=_REGIONS), _PHONE_WORDS),
        rule("iban", iban, r"\bIBAN\b|account|konto|compte|cuenta|conto"),
        rule("card", local.CreditCardRecognizer(), r"card|visa|mastercard|amex|karte|carte|tarjeta|carta"),
        rule(
            "card",
            Checked("CARD", r"\b\d(?:[ -]?\d){11,18}\b", _luhn),
            r"card|visa|mastercard|maestro|amex",
            alone=True,
        ),
        rule(
            "phone",
            Checked("PHONE", r"(?<![\w.])[(+]?\d(?:[ ().-]{0,2}\d){6,14}\b", _long_enough),
            _PHONE_WORDS,
            alone=True,
        ),
        rule("ip", local.IpRecognizer(), r"\bIP(?:v[46])?\b|address|host|server"),
        rule("national_id", local.UsSsnRecognizer(), social, alone=True),
        rule("national_id", local.UsItinRecognizer(), r"\bITIN\b|taxpayer", alone=True),
        rule("national_id", local.UsPassportRecognizer(), r"passport", alone=True),
        rule("national_id", local.UsLicenseRecognizer(), r"driv(?:er|ing)|licen[cs]e n", alone=True),
        rule(
            "national_id", Checked("LICENCE", r"\b[A-Z]{0,2}\d[\dA-Z-]{5,14}\b", _licence), _LICENCE_WORDS, alone=True
        ),
        rule("national_id", local.UkNinoRecognizer(), r"national insurance|\bNINO?\b"),
        rule("national_id", local.UkPassportRecognizer(), r"passport", alone=True),
        rule("national_id", local.CaSinRecognizer(), social, alone=True),
        rule("national_id", local.AuTfnRecognizer(), rf"{tax}|\bTFN\b", alone=True),
        rule("national_id", local.DeTaxIdRecognizer(), rf"{tax}|\bIdNr", alone=True),
        rule("national_id", local.DeSocialSecurityRecognizer(), social),
        rule("national_id", local.DeIdCardRecognizer(), _ID, alone=True),
        rule("national_id", local.DePassportRecognizer(), _ID, alone=True),
        rule("national_id", local.EsNifRecognizer(), r"\bNIF\b|\bDNI\b|identi"),
        rule("national_id", local.EsNieRecognizer(), r"\bNIE\b|extranjero"),
        rule("national_id", local.EsPassportRecognizer(), _ID, alone=True),
        rule("national_id", local.ItFiscalCodeRecognizer(), r"codice fiscale|\bCF\b|\bC\.F\."),
        rule("national_id", local.ItIdentityCardRecognizer(), r"carta d.identit|\bCIE\b|identit", alone=True),
        rule("national_id", local.ItPassportRecognizer(), _ID, alone=True),
        rule("national_id", local.PlPeselRecognizer(), r"PESEL", alone=True),
        rule("national_id", local.FiPersonalIdentityCodeRecognizer(), r"hetu|henkil|identity code"),
        rule(
            "national_id",
            local.SePersonnummerRecognizer(),
            r"personnummer|person(?:al)? (?:number|identity)",
            alone=True,
        ),
        rule("national_id", local.InAadhaarRecognizer(), r"aadha+r|uidai", alone=True),
        rule("national_id", local.SgFinRecognizer(), r"\bNRIC\b|\bFIN\b", alone=True),
        rule("national_id", Checked("FR_NIR", _NIR, _nir), r"sécurité sociale|\bNIR\b|\bINSEE\b"),
        rule(
            "national_id",
            Checked("BE_NRN", r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b", _belgian),
            r"rijksregister|registre",
        ),
        rule(
            "national_id", Checked("NL_BSN", r"\b\d{4}\.?\d{2}\.?\d{3}\b", _bsn), r"\bBSN\b|burgerservice", alone=True
        ),
        rule("national_id", Checked("CH_AHV", r"\b756\.\d{4}\.\d{4}\.\d{2}\b", _ean13), r"\bAHV|\bAVS\b"),
        rule("medical_id", local.NhsRecognizer(), r"\bNHS\b|patient", alone=True),
        rule("medical_id", local.UsMbiRecognizer(), r"medicare|\bMBI\b|beneficiary", alone=True),
        rule(
            "medical_id", local.DeHealthInsuranceRecognizer(), r"krankenversich|versichertennummer|\bKVNR\b", alone=True
        ),
        rule("medical_id", local.AuMedicareRecognizer(), r"medicare", alone=True),
    )


_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT")
_PHONE_WORDS = (
    r"t[eé]l[eé]?[fp]h?on|\btel\b|phone|\bfax|mobile|\bcell(?:ular)?\b|\bhandy\b|\bcall (?:me|us|him|her)\b|\bdial|"
    r"answering at|registered (?:number )?\d|rufnummer"
)
_LICENCE_WORDS = r"driv(?:er|ing).{0,3}\s?licen[cs]e|f[üu]hrerschein|permis de conduire|patente di guida"
_NIR = r"\b[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b"


def _luhn(number: str) -> bool:
    """Check digit of payment cards (ISO/IEC 7812-1)."""
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(number)))
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _licence(number: str) -> bool:
    return sum(map(str.isdigit, number)) >= 6


def _long_enough(number: str) -> bool:
    """Shorter than any subscriber's number, or longer than E.164 allows."""
    return 7 <= len(number) <= 15


def _nir(number: str) -> bool:
    """Key of the French social security number: 97 less the rest of the number by 97; Corsica counts as 19 and 18."""
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and int(number[13:]) == 97 - int(body) % 97


def _belgian(number: str) -> bool:
    """Belgian national number; of people born from 2000 on a 2 stands before it when the key is made."""
    body, key = number[:9], int(number[9:])
    return key in (97 - int(body) % 97, 97 - int("2" + body) % 97)


def _bsn(number: str) -> bool:
    """The eleven test of the Dutch citizen service number."""
    if len(number) != 9 or not number.isdigit():
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return int(number) > 0 and sum(w * int(d) for w, d in zip(weights, number, strict=True)) % 11 == 0


def _ean13(number: str) -> bool:
    """Check digit of EAN-13, which the Swiss insurance number carries."""
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(number[:12]))
    return (10 - total % 10) % 10 == int(number[12])
