#!/usr/bin/env python3
"""Checks the structure of a page of `rosa report` with a real parser: check_report_page.py PAGE prints what is wrong and fails."""
import re
import sys
import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def problems(text):
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return [f"not well-formed: {error}"]
    found = []
    elements = list(root.iter())
    tags = [element.tag for element in elements]
    ids = [element.get("id") for element in elements if element.get("id")]
    if root.tag != "html" or root.get("lang") != "en":
        found.append("no <html lang='en'>")
    if not any(e.tag == "meta" and e.get("name") == "viewport" and "width=device-width" in e.get("content") for e in elements):
        found.append("no viewport")
    if "script" in tags:
        found.append("a script")
    if tags.count("h1") != 1:
        found.append(f"{tags.count('h1')} h1")
    found += [f"id {one} stands {ids.count(one)} times" for one in set(ids) if ids.count(one) > 1]
    for element in elements:
        for name, value in element.attrib.items():
            if name in ("href", "src") and not value.startswith(("#", "data:")):
                found.append(f"asks for {value}")
            if name in ("aria-labelledby", "clip-path"):
                found += [f"{name} names {one}, which isn't there" for one in re.findall(r"[\w-]+", value.replace("url", "")) if one not in ids]
        if element.tag == "th" and element.get("scope") not in ("row", "col", "colgroup"):
            found.append("a th without scope")
        if element.tag == "table" and "lines" not in (element.get("class") or "") and element.find("caption") is None:
            found.append("a table without caption")
        if element.tag.startswith(SVG) or element.tag == "svg":
            found += svg_problems(element)
    return found


def svg_problems(element):
    found = []
    tag = element.tag.replace(SVG, "")
    if tag == "svg" and element.get("class") == "chart":
        children = [child.tag.replace(SVG, "") for child in element]
        if children[:2] != ["title", "desc"] or not all((child.text or "").strip() for child in list(element)[:2]):
            found.append("a chart without title and desc")
        if element.get("role") != "img":
            found.append("a chart without role img")
    for name, value in element.attrib.items():
        if name in ("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "viewBox"):
            if not value or not re.fullmatch(r"[MLHVZalz0-9. -]+", value):
                found.append(f"<{tag} {name}='{value[:60]}'>")
    return found


if __name__ == "__main__":
    wrong = problems(open(sys.argv[1], encoding="utf-8").read())
    if wrong:
        print("\n".join(wrong[:20]))
    sys.exit(1 if wrong else 0)
