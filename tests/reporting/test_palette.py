"""The colours of a page: seen by everybody, on a light and on a dark ground."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from agentnn.reporting.assets import page_style

PAIRS = {
    name: pair
    for name, *pair in re.findall(r"--([\w-]+): light-dark\(\s*(#[0-9a-f]{6}),\s*(#[0-9a-f]{6})\)", page_style())
}
STEPS = {
    name: pair
    for name, *pair in re.findall(r"\.((?:up|down)\d) \{ background: light-dark\((#\w{6}), (#\w{6})\)", page_style())
}
SERIES = [f"series-{number}" for number in range(1, 9)]
LIGHT, DARK = 0, 1
Colour = tuple[float, float, float]

# Machado, Oliveira and Fernandes (2009), "A physiologically-based model for simulation of color vision deficiency",
# severity 1.0; on linear RGB.
DEFICIENCIES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> Colour:
    """The linear light of a colour."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def contrast(one: str, other: str) -> float:
    """The contrast of WCAG 2."""
    lights = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (linear(one), linear(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def seen(colour: str, deficiency: str) -> Colour:
    """Where a colour is in Oklab, for eyes with a deficiency."""
    light = linear(colour)
    red, green, blue = (
        min(max(sum(weight * part for weight, part in zip(row, light, strict=True)), 0), 1)
        for row in DEFICIENCIES[deficiency]
    )
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("text", ["text", "muted", "accent", "good", "bad", "warn"])
@pytest.mark.parametrize("ground", ["ground", "surface", "raised"])
def test_text_stands_out(text: str, ground: str, theme: int) -> None:
    assert contrast(PAIRS[text][theme], PAIRS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_text_stands_out_on_its_own_ground(theme: int) -> None:
    for text, ground in (
        ("good", "good-ground"),
        ("bad", "bad-ground"),
        ("warn", "warn-ground"),
        ("accent", "open-ground"),
    ):
        assert contrast(PAIRS[text][theme], PAIRS[ground][theme]) >= 4.5
    for name, pair in STEPS.items():
        assert contrast(PAIRS["text"][theme], pair[theme]) >= 4.5, name
    assert len(STEPS) == 10


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("line", [*SERIES, "other", "strong-border"])
def test_lines_stand_out(line: str, theme: int) -> None:
    assert contrast(PAIRS[line][theme], PAIRS["surface"][theme]) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize(
    ("deficiency", "least"), [("none", 0.12), ("protanopia", 0.07), ("deuteranopia", 0.07), ("tritanopia", 0.07)]
)
def test_the_lines_can_be_told_apart_by_all_eyes(deficiency: str, least: float, theme: int) -> None:
    colours = {name: seen(PAIRS[name][theme], deficiency) for name in SERIES}
    near = {
        (one, other): math.dist(colours[one], colours[other])
        for one, other in itertools.combinations(SERIES, 2)
        if math.dist(colours[one], colours[other]) < least
    }
    assert near == {}


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_scale_goes_one_way_in_lightness(deficiency: str, theme: int) -> None:
    lightness = [seen(PAIRS[f"scale-{step}"][theme], deficiency)[0] for step in range(1, 6)]
    assert lightness == sorted(lightness, reverse=theme == LIGHT)
