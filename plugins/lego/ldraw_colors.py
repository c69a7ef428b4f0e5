"""LDraw's colours: read from ``LDConfig.ldr``, or the built-in table where a library comes without that file.

The built-in values are facts of LDraw's colour definition (LDraw.org, CC BY): the solid and transparent plastics and a
few of each other finish. Codes are LDraw's; other numberings (Rebrickable, BrickLink) differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from basicsr.engine.errors import UserError
from plugins.lego.ldraw_library import LDrawLibrary

SOLID, TRANSPARENT, CHROME, PEARL, RUBBER, METAL, GLITTER, MILKY = (
    "solid", "transparent", "chrome", "pearl", "rubber", "metal", "glitter", "milky",
)  # fmt: skip
FINISHES = (SOLID, TRANSPARENT, CHROME, PEARL, RUBBER, METAL, GLITTER, MILKY)
_WORDS = {"CHROME": CHROME, "PEARLESCENT": PEARL, "RUBBER": RUBBER, "MATTE_METALLIC": METAL, "METAL": METAL}
_SEE_THROUGH_ALPHA = 230
_NOT_PLASTIC = (16, 24)

_SOLID_TABLE = """
0 Black 1B2A34|1 Blue 1E5AA8|2 Green 00852B|3 Dark_Turquoise 069D9F|4 Red B40000|5 Dark_Pink D3359D|6 Brown 543324
7 Light_Grey 8A928D|8 Dark_Grey 545955|9 Light_Blue 97CBD9|10 Bright_Green 58AB41|11 Light_Turquoise 00AAA4
12 Salmon F06D61|13 Pink F6A9BB|14 Yellow FAC80A|15 White F4F4F4|17 Light_Green ADD9A8|18 Light_Yellow FFD67F
19 Tan B0A06F|20 Light_Violet AFBED6|22 Purple 671F81|23 Dark_Blue_Violet 0E3E9A|25 Orange D67923|26 Magenta 901F76
27 Lime A5CA18|28 Dark_Tan 897D62|29 Bright_Pink FF9ECD|30 Medium_Lavender A06EB9|31 Lavender CDA4DE
68 Very_Light_Orange FDC383|69 Bright_Reddish_Lilac 8A12A8|70 Reddish_Brown 5F3109|71 Light_Bluish_Grey 969696
72 Dark_Bluish_Grey 646464|73 Medium_Blue 7396C8|74 Medium_Green 7FC475|77 Light_Pink FECCCF|78 Light_Nougat FFC995
84 Medium_Nougat AA7D55|85 Medium_Lilac 441A91|86 Light_Brown 7B5D41|89 Blue_Violet 1C58A7|92 Nougat BB805A
100 Light_Salmon F9B7A5|110 Violet 26469A|112 Medium_Violet 4861AC|115 Medium_Lime B7D425|118 Aqua 9CD6CC
120 Light_Lime DEEA92|125 Light_Orange F9A777|128 Dark_Nougat AD6140|151 Very_Light_Bluish_Grey C8C8C8
191 Bright_Light_Orange FCAC00|212 Bright_Light_Blue 9DC3F7|216 Rust 872B17|218 Reddish_Lilac 8E5597|219 Lilac 564E9D
226 Bright_Light_Yellow FFEC6C|232 Sky_Blue 77C9D8|272 Dark_Blue 19325A|288 Dark_Green 00451A|295 Flamingo_Pink FF94C2
308 Dark_Brown 352100|313 Maersk_Blue ABD9FF|320 Dark_Red 720012|321 Dark_Azure 469BC3|322 Medium_Azure 68C3E2
323 Light_Aqua D3F2EA|326 Yellowish_Green E2F99A|330 Olive_Green 77774E|335 Sand_Red 88605E|351 Medium_Dark_Pink F785B1
353 Coral FF6D77|366 Earth_Orange D86D2C|368 Neon_Yellow EDFF21|370 Medium_Brown 755945|371 Medium_Tan CCA373
373 Sand_Purple 75657D|378 Sand_Green 708E7C|379 Sand_Blue 70819A|450 Fabuland_Brown D27744|462 Medium_Orange F58624
484 Dark_Orange 91501C|503 Very_Light_Grey BCB4A5|507 Light_Orange_Brown FA9C1C|508 Fabuland_Red FF8014
509 Fabuland_Orange CF8A47|510 Fabuland_Lime 78FC78
"""
_TRANSPARENT_TABLE = """
33 Trans_Dark_Blue 0020A0|34 Trans_Green 237841|35 Trans_Bright_Green 56E646|36 Trans_Red C91A09
37 Trans_Dark_Pink DF6695|38 Trans_Neon_Orange FF800D|39 Trans_Very_Light_Blue C1DFF0|40 Trans_Black 635F52
41 Trans_Medium_Blue 559AB7|42 Trans_Neon_Green C0FF00|43 Trans_Light_Blue AEE9EF|44 Trans_Bright_Reddish_Lilac 96709F
45 Trans_Pink FC97AC|46 Trans_Yellow F5CD2F|47 Trans_Clear FCFCFC|52 Trans_Purple A5A5CB|54 Trans_Neon_Yellow DAB000
57 Trans_Orange F08F1C|227 Trans_Bright_Light_Green B5D96C|231 Trans_Bright_Light_Orange FCB76D
234 Trans_Fire_Yellow FBE890|284 Trans_Reddish_Lilac C281A5|285 Trans_Light_Green 7DC291
293 Trans_Light_Blue_Violet 6BABE4
"""
_OTHER_TABLES = {
    CHROME: "334 Chrome_Gold DFC176|383 Chrome_Silver CECECE",
    PEARL: "135 Pearl_Light_Grey A0A0A0|148 Pearl_Dark_Grey 484D48|179 Pearl_Silver 898788|183 Pearl_White F6F2DF"
    "|297 Pearl_Gold AA7F2E",
    METAL: "80 Metallic_Silver 767676|82 Metallic_Gold DBAC34|87 Metallic_Dark_Grey 3E3C39",
    MILKY: "79 Milky_White EEEEEE|294 Glow_In_Dark_Trans BDC6AD",
    GLITTER: "117 Glitter_Trans_Clear EEEEEE",
}


@dataclass(frozen=True)
class LDrawColor:
    """One colour.

    Attributes:
        code: LDraw's code.
        name: LDraw's name, with spaces.
        rgb: 8-bit sRGB.
        alpha: 0 to 255, 255 is opaque.
        finish: One of ``FINISHES``.
    """

    code: int
    name: str
    rgb: tuple[int, int, int]
    alpha: int = 255
    finish: str = SOLID

    @property
    def see_through(self) -> bool:
        """Whether what lies behind can be seen through it."""
        return self.alpha < _SEE_THROUGH_ALPHA


def parse_config(text: str, name: str = "LDConfig.ldr") -> dict[int, LDrawColor]:
    """Read colour definitions.

    Args:
        text: The text of an ``LDConfig.ldr``.
        name: The file's name, for error messages.

    Returns:
        Code to colour, in the file's order; codes 16 and 24, which stand for other colours, are left out.

    Raises:
        UserError: A definition lacks its code or value, or the file defines no colour.
    """
    found: dict[int, LDrawColor] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if len(words) < 3 or words[0] != "0" or words[1].upper() != "!COLOUR":
            continue
        color = _parse_line(words, f"{name}, line {number}")
        if color.code not in _NOT_PLASTIC:
            found[color.code] = color
    if not found:
        raise UserError(f"{name}: defines no colour (no line '0 !COLOUR <name> CODE <n> VALUE #RRGGBB ...').")
    return found


def _parse_line(words: list[str], place: str) -> LDrawColor:
    upper = [word.upper() for word in words]
    own = upper[: upper.index("MATERIAL")] if "MATERIAL" in upper else upper

    def value(key: str) -> str | None:
        at = own.index(key) + 1 if key in own[3:] else 0
        return own[at] if 0 < at < len(own) else None

    code, rgb, alpha = value("CODE"), value("VALUE"), value("ALPHA") or "255"
    if code is None or not code.isdecimal():
        raise UserError(f"{place}: a colour needs CODE and a whole number.")
    if rgb is None or not re.fullmatch(r"(#|0X)[0-9A-F]{6}", rgb):
        raise UserError(f"{place}: a colour needs VALUE #RRGGBB.")
    if not alpha.isdecimal() or int(alpha) > 255:
        raise UserError(f"{place}: ALPHA {alpha} is not a number from 0 to 255.")
    digits = rgb[-6:]
    triple = (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
    return LDrawColor(int(code), words[2].replace("_", " "), triple, int(alpha), _finish(upper, int(alpha)))


def _finish(words: list[str], alpha: int) -> str:
    named = next((finish for word, finish in _WORDS.items() if word in words), None)
    if named is not None:
        return named
    if "MATERIAL" in words:
        return GLITTER
    if alpha == 255:
        return SOLID
    return TRANSPARENT if alpha < _SEE_THROUGH_ALPHA else MILKY


def builtin_colors() -> dict[int, LDrawColor]:
    """Code to colour of the built-in table, ordered by code."""
    tables = {SOLID: _SOLID_TABLE, TRANSPARENT: _TRANSPARENT_TABLE, **_OTHER_TABLES}
    found = {}
    for finish, table in tables.items():
        alpha = {TRANSPARENT: 128, GLITTER: 128, MILKY: 240}.get(finish, 255)
        for entry in table.replace("\n", "|").split("|"):
            if entry:
                code, name, digits = entry.split()
                rgb = (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
                found[int(code)] = LDrawColor(int(code), name.replace("_", " "), rgb, alpha, finish)
    return dict(sorted(found.items()))


def library_colors(library: LDrawLibrary) -> dict[int, LDrawColor]:
    """The colours of a library: its ``LDConfig.ldr``, or the built-in table where it has none.

    Raises:
        UserError: The file is malformed.
    """
    text = library.config_text()
    return builtin_colors() if text is None else parse_config(text, f"{library.path}: LDConfig.ldr")
