"""Text in pictures: in letters that are there, as wide as it is, and in an SVG that is well-formed whatever it says."""

import re
from xml.parsers.expat import ParserCreate

import pytest
from sqlalchemy import update

from costcurve.store.schema import jobs
from service.plotting.figure import Canvas, picture
from service.plotting.lettering import cut, width, wrapped


def drawn(title: str, file_format: str = "svg", names: tuple[str, ...] = ()) -> bytes:
    def paint(canvas: Canvas) -> None:
        handles = [canvas.panels[0].plot([0, 1], [0, number])[0] for number in range(len(names))]
        if names:
            canvas.legend(handles, names)

    return picture(title, 1, paint, file_format=file_format, names=names)


def texts(svg: bytes) -> str:
    """What an SVG's text elements say, once it is found to be well-formed."""
    found: list[str] = []
    parser = ParserCreate()
    parser.CharacterDataHandler = found.append
    parser.Parse(svg, True)
    return "".join(found)


# A warning of a glyph that is missing is an error here.
@pytest.mark.parametrize("file_format", ["svg", "png"])
@pytest.mark.parametrize("title", ["日本語", "한국어", "中文 😀👩‍🔬", "\U0001fae0", "قلم", "\U000e0041", "a\u202eb"])
def test_every_letter_is_drawn_by_some_font(title, file_format):
    assert drawn(title, file_format) == drawn(title, file_format)
    assert drawn(title, file_format) != drawn("", file_format)


def test_letters_that_no_font_here_has_are_text_in_an_svg_for_the_fonts_of_its_viewer():
    found = drawn("日本 \U0001fae0", names=("損失", "cost"))

    assert re.sub(r"\s+", " ", texts(found)).count("日本 \U0001fae0") == 1
    assert "損失" in texts(found)
    assert b"sans-serif" in found
    assert "cost" not in texts(drawn("cost"))  # what can be drawn stays as it looks everywhere


@pytest.mark.parametrize("bad", ["\uffff", "\ufffe", "\x00", "\x0b", "\ud800", "\x85"])
def test_an_svg_is_well_formed_whatever_its_text_is(bad):
    texts(drawn(f"a{bad}b", names=(f"c{bad}d", "e")))


def test_a_name_that_an_earlier_version_stored_makes_a_well_formed_picture(store, submit, http):
    job = submit()
    with store._database.write() as tx:
        tx.execute(update(jobs).values(name="a\uffffb"))

    texts(http.get(f"/v1/jobs/{job.id}/curve.svg").content)


def test_east_asian_letters_take_two_columns():
    assert (width("ab"), width("日本"), width("a😀")) == (2, 4, 3)
    assert wrapped("日本語 abc", 6) == ["日本語", "abc"]
    assert wrapped("日" * 5, 4) == ["日日", "日日", "日"]
    assert cut("日" * 10, 8) == "日日日 …"
    assert cut("short", 8) == "short"
