"""Pages are whole documents that need nothing else, and what is put into them never becomes markup."""

from html.parser import HTMLParser

import pytest
import torch

from vqfusion.pages import page
from vqfusion.types import Sample

HOSTILE = 'x"><img src=x onerror=alert(1)>.png'
VOID = {"meta", "img", "path", "rect", "polyline", "polygon"}


class Seen(HTMLParser):
    """Every tag with its attributes, and the tags that were left open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def everything(text):
    """A page with every part, and this text wherever a text can be."""
    picture, sound = torch.rand(3, 4, 4), Sample("audio", torch.randn(1, 400), sample_rate_hz=8000)
    parts = [
        page.picture(picture, text),
        page.picture(picture[:1], text, "small"),
        page.atlas(picture),
        page.player(sound, text),
        page.word(text, text, True),
        page.listed([page.said(text, text, False)]),
        page.chip(text, new=True),
        page.tag("voice"),
        page.bars({text: 0.9, "other": 0.1}, text),
        page.strip([text]),
        page.row("four", [text]),
        page.side(page.picture(picture), text),
        page.table([text], [[text]]),
        page.curve("0,0 1,1", ["0,0"], ["1,1"]),
        page.histogram([1.0, 2.0], text),
        page.marked(text, True),
        page.isolated(text),
        page.strong(text),
        page.soft(text),
        page.heading(text),
        page.paragraph(text, "warn"),
        page.joined(text, page.word(text)),
    ]
    return page.page(text, text, [text], {text: page.section(text, text, text, text, page.grid(parts), text)}, text)


@pytest.mark.parametrize("text", [HOSTILE, "<script>alert(1)</script>", "' onmouseover='x", "a & b", "عربي", ""])
def test_whatever_is_put_in_the_structure_stays(text):
    plain, hostile = Seen(everything("plain")), Seen(everything(text))
    assert plain.open == hostile.open == []
    assert [(tag, sorted(attributes)) for tag, attributes in hostile.tags if tag != "figcaption"] == [
        (tag, sorted(attributes)) for tag, attributes in plain.tags if tag != "figcaption"
    ] or not text


def test_a_page_asks_for_nothing_from_elsewhere():
    tags = Seen(everything("plain")).tags
    for tag, attributes in tags:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), tag


def test_links_lead_to_their_sections():
    tags = Seen(everything(HOSTILE)).tags
    (link,) = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert link.removeprefix("#") in [attributes.get("id") for _, attributes in tags]
