"""The page of the demo: one HTML file that carries its pictures, sounds and style with it."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.types import Sample

UNSEEN = {"concept": "concept unseen", "pair": "style unseen", "voice": "voice unseen"}

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #1f2328; --soft: #667085;
  --line: #e6e3dd; --accent: #3d5afe; --good: #13795b; --bad: #b3401f; --new: #7a4dd8; --bar: #c9d2ff; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1c1f25; --ink: #e8e6e1;
  --soft: #9aa3b2; --line: #2d323b; --accent: #9db0ff; --good: #5fd0a5; --bad: #ff9a76; --new: #c4a7ff;
  --bar: #39468a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
main, header { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 48px; }
h1 { font-size: 34px; margin: 0 0 8px; letter-spacing: -0.02em; }
h2 { font-size: 22px; margin: 0 0 2px; letter-spacing: -0.01em; }
header p, .about { color: var(--soft); margin: 0 0 12px; max-width: 78ch; }
nav { display: flex; flex-wrap: wrap; gap: 6px; margin: 16px 0 8px; }
nav a, .chip { font-size: 13px; padding: 2px 10px; border: 1px solid var(--line); border-radius: 99px;
  color: var(--soft); text-decoration: none; background: var(--card); white-space: nowrap; }
nav a:hover { color: var(--accent); border-color: var(--accent); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 22px 24px;
  margin: 18px 0; overflow-x: auto; }
.top { display: flex; justify-content: space-between; gap: 12px; align-items: baseline; flex-wrap: wrap; }
.right { color: var(--soft); font-size: 14px; white-space: nowrap; }
.right b { color: var(--ink); }
code { font: 13px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; color: var(--accent); }
.grid { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); }
.tile { border: 1px solid var(--line); border-radius: 10px; padding: 12px; min-width: 0; }
.strip { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; }
figure { margin: 0; text-align: center; width: 104px; flex: none; }
figure img { width: 96px; height: 96px; border-radius: 8px; background: #fff; display: block;
  border: 1px solid var(--line); margin: 0 auto; }
figure.small img { image-rendering: pixelated; }
figcaption { font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; color: var(--soft);
  margin-top: 4px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12px; padding: 6px 10px 6px 0; }
td { padding: 6px 10px 6px 0; border-top: 1px solid var(--line); vertical-align: middle; }
.name { font-weight: 600; overflow-wrap: anywhere; }
.tag { font-size: 11px; padding: 1px 7px; border-radius: 99px; border: 1px solid currentColor;
  color: var(--soft); white-space: nowrap; }
.tag.new { color: var(--new); }
.good { color: var(--good); } .bad { color: var(--bad); }
.lang { color: var(--soft); font-size: 11px; padding-top: 3px; }
li { display: grid; grid-template-columns: 26px 1fr; }
ul { list-style: none; margin: 6px 0 0; padding: 0; font-size: 14px; overflow-wrap: anywhere; }
.bar { display: grid; grid-template-columns: 1fr 44px; font-size: 13px; margin-top: 4px; gap: 6px; }
.bar span:first-child { background: linear-gradient(var(--bar), var(--bar)) left / var(--p) 100% no-repeat;
  border-radius: 4px; padding: 1px 6px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.bar span:last-child { text-align: right; color: var(--soft); font-variant-numeric: tabular-nums; }
.side { display: flex; gap: 12px; } .side > div { min-width: 0; flex: 1; } .soft { color: var(--soft); }
.side small { display: block; margin: 4px 0; font-size: 12px; } .strip { margin-top: 8px; }
.sound { min-width: 0; } .sound svg { display: block; width: 100%; height: 34px; color: var(--accent); }
.sound audio { width: 100%; height: 32px; margin-top: 2px; }
.sound small { color: var(--soft); font-size: 12px; }
footer { color: var(--soft); font-size: 13px; padding: 8px 0 48px; }
"""


def png(picture: Float[Tensor, "C H W"]) -> bytes:
    from PIL import Image

    array = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array.squeeze()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def wav(sound: Sample) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    data = sound.data.reshape(-1).cpu().numpy()
    soundfile.write(buffer, data, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def picture(data: Float[Tensor, "C H W"], caption: str = "", small: bool = False) -> str:
    """A figure; `caption` is HTML. Small ones are shown with their pixels."""
    source = base64.b64encode(png(data)).decode()
    kind = ' class="small"' if small else ""
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure{kind}><img alt="" src="data:image/png;base64,{source}">{text}</figure>'


def player(sound: Sample, caption: str = "") -> str:
    """A sound with its outline; `caption` is HTML."""
    source = base64.b64encode(wav(sound)).decode()
    wave = sound.data.reshape(-1).abs()
    pieces = torch.nn.functional.adaptive_max_pool1d(wave[None, None], 90)[0, 0]
    heights = (16 * pieces / pieces.max().clamp_min(1e-6)).tolist()
    lines = "".join(f"M{2 * i + 1} {17 - h:.1f}V{17 + h:.1f}" for i, h in enumerate(heights))
    outline = f'<path d="{lines}" stroke="currentColor" stroke-width="1.2" fill="none"/>'
    drawing = f'<svg viewBox="0 0 180 34" preserveAspectRatio="none" aria-hidden="true">{outline}</svg>'
    audio = f'<audio controls preload="metadata" src="data:audio/wav;base64,{source}"></audio>'
    return f'<div class="sound"><small>{caption}</small>{drawing}{audio}</div>'


def word(text: str, language: str = "", right: bool | None = None) -> str:
    """A text in its own script and direction; green or red when it was an answer."""
    mark = {True: "good", False: "bad", None: "name"}[right]
    sign = {True: " ✓", False: " ✗", None: ""}[right]
    lang = f' lang="{html.escape(language)}"' if language else ""
    return f'<span class="{mark}"><bdi{lang}>{html.escape(text) or "(nothing)"}</bdi>{sign}</span>'


def plain(text: str) -> str:
    return html.escape(text)


def said(language: str, text: str, right: bool | None = None) -> str:
    return f'<li><span class="lang">{html.escape(language)}</span> {word(text, language, right)}</li>'


def tag(held_out: str) -> str:
    """A badge that says whether training saw the item."""
    if held_out in UNSEEN:
        return f'<span class="tag new">{UNSEEN[held_out]}</span>'
    return '<span class="tag">seen</span>'


def bars(distribution: dict[str, float], truth: str, count: int = 3) -> str:
    """The most probable names; the true one is marked."""
    rows = []
    for name, p in sorted(distribution.items(), key=lambda item: -item[1])[:count]:
        mark = ' class="good"' if name == truth else ""
        label = f"{html.escape(name)}{' ✓' if name == truth else ''}"
        share = f"{100 * p:.0f}"
        rows.append(f'<div class="bar" style="--p:{share}%"><span{mark}>{label}</span><span>{share} %</span></div>')
    return "".join(rows)


def grid(tiles: Iterable[str], least_px: int = 230) -> str:
    body = "".join(f'<div class="tile">{tile}</div>' for tile in tiles)
    columns = f"grid-template-columns:repeat(auto-fill,minmax(min({least_px}px,100%),1fr))"
    return f'<div class="grid" style="{columns}">{body}</div>'


def strip(parts: Iterable[str]) -> str:
    return f'<div class="strip">{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def section(name: str, title: str, about: str, command: str, body: str, right: str = "") -> str:
    shown = f"<p><code>{html.escape(command)}</code></p>" if command else ""
    score = f'<span class="right">{right}</span>'
    return (
        f'<section id="{name}"><div class="top"><h2>{html.escape(title)}</h2>{score}</div>'
        f'<p class="about">{html.escape(about)}</p>{shown}{body}</section>'
    )


def page(title: str, about: str, chips: Sequence[str], sections: dict[str, str], footer: str) -> str:
    """The whole document; it asks for nothing from anywhere else."""
    links = "".join(f'<a href="#{name}">{html.escape(name)}</a>' for name in sections)
    facts = "".join(f'<span class="chip">{html.escape(chip)}</span>' for chip in chips)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><header>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(about)}</p><nav>{facts}</nav><nav>{links}</nav></header>"
        f"<main>{''.join(sections.values())}<footer>{html.escape(footer)}</footer></main></body></html>\n"
    )
