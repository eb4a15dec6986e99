"""Encodings without a mark, and letters that are not what they look like."""

from pathlib import Path

import pytest

from ingest.encoding import decode, looks_binary
from ingest.mime import detect
from ingest.parse import parse_file
from ingest.parse.letters import normalised

JAPANESE = "契約期間は三年とする。賃借人は毎月末日までに翌月分の賃料を支払うものとする。"
KOREAN = "임대차 계약 기간은 3년으로 한다. 임차인은 매월 말일까지 임대료를 지급하여야 한다."
CHINESE = "合同租赁期限为三年，承租人应于每月月底之前支付下个月的租金。"
TAIWANESE = "租賃期限為三年，承租人應於每月月底之前支付下個月的租金。"
RUSSIAN = "Договор аренды заключён на три года. Арендатор обязан вносить плату."
HEBREW = "תקופת השכירות היא שלוש שנים. השוכר ישלם את דמי השכירות."
ARABIC = "مدة عقد الإيجار ثلاث سنوات ويدفع المستأجر الأجرة."


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        (JAPANESE, "cp932 euc_jp iso2022_jp utf-16-le utf-16-be utf-32-le utf-32-be"),
        ("カタカナとひらがな、漢字。", "cp932 euc_jp utf-16-le"),
        (KOREAN, "euc_kr cp949 utf-16-le utf-32-be"),
        ("계약서 제목: 사무실 임대", "euc_kr"),
        (CHINESE, "gb18030 utf-16-le utf-16-be"),
        ("姓名,金额\n张三,100\n", "gb18030 utf-16-le"),
        (TAIWANESE, "big5 utf-16-le"),
        (RUSSIAN, "cp1251 koi8_r utf-16-le"),
        (HEBREW, "cp1255 utf-16-le"),
        (ARABIC, "cp1256 utf-16-be"),
        ("Η σύμβαση μίσθωσης διαρκεί τρία χρόνια.", "cp1253"),
        ("Kira sözleşmesinin süresi üç yıldır, kiracı ödemeyi yapacaktır.", "cp1254"),
        ("Umowa najmu trwa trzy lata, najemca płaci czynsz z góry. Zażółć gęślą jaźń.", "cp1250"),
        ("Größe für Bücher, Straße", "cp1252 utf-16-le utf-32-le"),
        ("สัญญาเช่ามีระยะเวลาสามปี", "cp874"),
    ],
)
@pytest.mark.parametrize("times", [1, 20])
def test_text_without_a_mark_is_read_in_its_encoding(text: str, encodings: str, times: int) -> None:
    whole = (text + "\n") * times
    for encoding in encodings.split():
        data = whole.encode(encoding)
        assert not looks_binary(data), encoding
        assert decode(data)[0] == whole, encoding


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("of\ufb01ce e\ufb03cient \ufb02oor", "office efficient floor"),
        ("con\u00adtract", "contract"),
        ("zero\u200bwidth\ufeff \u2060joined", "zerowidth joined"),
        ("\u202eevil\u202c \u2066and\u2069 \u200fmarks", "evil and marks"),
        ("\ufedf\ufe8e", "لا"),
        ("\ufefb", "لا"),
        ("\u200c\u200d stay", "\u200c\u200d stay"),
        ("½ ² ™ Å", "½ ² ™ Å"),
        ("plain ascii", "plain ascii"),
    ],
)
def test_letters_become_what_people_type(odd: str, plain: str) -> None:
    assert normalised(odd) == plain


def test_right_to_left_text_stays_in_logical_order_and_spans_hold_its_words(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{HEBREW}\n\u200f{ARABIC}\nof\ufb01ce\n", encoding="utf-8")
    document = parse_file(path, detect(path))
    assert document.text == f"{HEBREW}\n{ARABIC}\noffice\n"
    assert document.pages[-1].end == len(document.text)
    start = document.text.index("office")
    assert document.text[start : start + 6] == "office"


@pytest.mark.parametrize(
    ("name", "text", "mime"),
    [
        ("report.xls", "<table><tr><td>Rent</td><td>1200</td></tr></table>", "text/html"),
        ("report.xls", "Name\tSum\nAda\t1\nBob\t2\n", "text/tab-separated-values"),
        ("report.xls", "Name,Sum\nAda,1\nBob,2\n", "text/csv"),
        ("lease.py", "def rent():\n    return 1200\n", "text/plain"),
        ("lease.doc", "{\\rtf1 hello}", "application/rtf"),
    ],
)
def test_the_content_decides_not_the_name(tmp_path: Path, name: str, text: str, mime: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert detect(tmp_path / name) == mime


def test_source_code_is_located_by_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "rent.py"
    path.write_text("".join(f"def rent_{n}():\n    return {n}\n\n" for n in range(40)), encoding="utf-8")
    document = parse_file(path, detect(path))
    assert document.text == path.read_text(encoding="utf-8")
    assert [page.locator.label for page in document.pages] == ["1-60", "61-120"]
