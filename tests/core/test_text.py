"""What can be stored, what can be printed."""

import json
import unicodedata
from xml.parsers.expat import ParserCreate

import pytest

from costcurve.core.text import printable, shortened, storable, why_unstorable

EVERY_CHARACTER = [chr(code) for code in range(0x110000)]


def test_storable_text_is_what_xml_can_carry_without_controls():
    refused = {character for character in EVERY_CHARACTER if why_unstorable(character) is not None}

    assert refused == {
        character for character in EVERY_CHARACTER if unicodedata.category(character) in {"Cc", "Cs"}
    } | {"\ufffe", "\uffff"}
    everything = "".join(character for character in EVERY_CHARACTER if character not in refused)
    escaped = everything.replace("&", "&amp;").replace("<", "&lt;")
    parser, pieces = ParserCreate(), []
    parser.CharacterDataHandler = pieces.append
    parser.Parse(f"<t>{escaped}</t>", True)
    assert "".join(pieces) == everything
    assert json.loads(json.dumps(everything)) == everything


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1b", "\x7f", "\x9b", "\ud800", "\ufffe", "\uffff"])
def test_what_cannot_be_stored_is_replaced(character):
    assert storable(f"a{character}b") == "a\ufffdb"


def test_printable_text_is_shown_as_it_is_and_all_else_as_an_escape():
    for text in ("MNIST ∂C/∂w", "日本 👩‍🔬", "نمی‌خواهم", ""):
        assert printable(text) == text
    assert printable("\x1b[2J\x9b1m\u202egpj.exe\u2028\ud800") == r"\x1b[2J\x9b1m\u202egpj.exe\u2028\ud800"
    assert printable("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"


@pytest.mark.parametrize("text", ["pay\u200dpal", "\u200dab", "日\u200d", "日\u200d\u200d本", "日\u200c.exe"])
def test_a_joiner_that_joins_nothing_is_shown(text):
    assert printable(text) == text.replace("\u200d", "\\u200d").replace("\u200c", "\\u200c")


def test_long_text_is_cut_with_an_ellipsis():
    assert (shortened("abcd", 4), shortened("abcde", 4)) == ("abcd", "abc…")
