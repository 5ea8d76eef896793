"""A page as a reader meets it: its text, its tags, and that it needs nothing from outside."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collect tags and text, and see that every tag is closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.html = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(self.html)
        self.close()
        assert not self.open, self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def having(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def links(self) -> list[str]:
        return [each["href"] or "" for each in self.having("a")]

    def check(self) -> None:
        """See that it is self-contained and can be read without eyes."""
        assert self.html.startswith("<!DOCTYPE html>")
        tags = {tag for tag, _ in self.tags}
        assert tags.isdisjoint({"script", "link", "img", "iframe", "object"})
        assert "@import" not in self.html
        assert all(link.startswith("#") for link in re.findall(r"url\(([^)]*)\)", self.html))
        for tag, attributes in self.tags:
            for name, value in attributes.items():
                assert not name.startswith("on"), "no handlers"
                if name in ("src", "xlink:href", "data") or (name == "href" and tag != "a"):
                    assert (value or "").startswith("#")
        levels = [int(tag[1]) for tag, _ in self.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert all(link in ids for _, a in self.tags if (link := a.get("aria-labelledby")))
        for picture in self.having("svg"):
            assert picture["role"] == "img"
            assert picture["aria-label"]
