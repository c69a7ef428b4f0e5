"""Which scene an ImageNet label speaks of, and the mild preset of every scene.

ImageNet's thousand labels are read as words: a label belongs to a scene if its name is in the scene's list. Animals are
the first 398 labels, in the order of WordNet. Labels that say nothing about a scene (abacus, envelope) are in no list;
their probability counts for ``Generic``.
"""

from __future__ import annotations

from collections.abc import Sequence

SCENES = ("Landscape", "Portrait", "Food", "Animal", "Urban", "Vehicle", "Plant", "Generic")
GENERIC = "Generic"
ANIMAL_LABELS = 398
CORRECTION_KEYS = ("gamma", "white_balance_r", "white_balance_g", "white_balance_b", "saturation", "hue_shift")

_WORDS = {
    "Landscape": """
        alp, cliff, coral reef, geyser, lakeside, promontory, sandbar, seashore, valley, volcano, breakwater,
        dam, hay, worm fence, megalith, mountain tent, cliff dwelling, lumbermill, stone wall, yurt, beacon,
        pier, dock, parachute, ski""",
    "Portrait": """
        groom, ballplayer, scuba diver, abaya, academic gown, bathing cap, bikini, bolo tie, bonnet, bow tie,
        brassiere, bulletproof vest, cardigan, cloak, cowboy hat, crash helmet, face powder, feather boa, fur
        coat, gown, hair slide, hair spray, hoopskirt, jean, jersey, kimono, lab coat, lipstick, maillot,
        maillot tank suit, mask, military uniform, miniskirt, mortarboard, neck brace, necklace, overskirt,
        oxygen mask, pajama, poncho, sarong, seat belt, shower cap, ski mask, sombrero, stethoscope, stole,
        suit, sunglass, sunglasses, sweatshirt, swimming trunks, trench coat, vestment, wig, Windsor tie, wool""",
    "Food": """
        bakery, butcher shop, coffee mug, confectionery, dining table, Dutch oven, espresso maker, frying pan,
        hot pot, mixing bowl, plate, soup bowl, wok, guacamole, consomme, trifle, ice cream, ice lolly, French
        loaf, bagel, pretzel, cheeseburger, hotdog, mashed potato, head cabbage, broccoli, cauliflower,
        zucchini, spaghetti squash, acorn squash, butternut squash, cucumber, artichoke, bell pepper, cardoon,
        mushroom, Granny Smith, strawberry, orange, lemon, fig, pineapple, banana, jackfruit, custard apple,
        pomegranate, carbonara, chocolate sauce, dough, meat loaf, pizza, potpie, burrito, red wine, espresso,
        cup, eggnog, menu, tray, beer glass, goblet, wine bottle, corn""",
    "Urban": """
        altar, apiary, bannister, barbershop, bell cote, bookshop, castle, church, cinema, dome, fountain,
        grocery store, library, manhole cover, mailbox, monastery, mosque, obelisk, palace, park bench,
        parking meter, patio, pay-phone, pedestal, planetarium, prison, restaurant, scoreboard, shoe shop,
        stage, steel arch bridge, street sign, stupa, suspension bridge, tile roof, tobacco shop, totem pole,
        toyshop, traffic light, triumphal arch, turnstile, vault, viaduct, water tower, flagpole, chainlink
        fence, barn, boathouse, greenhouse, mobile home, picket fence, thatch, crane, gas pump, theater
        curtain, sundial""",
    "Vehicle": """
        aircraft carrier, airliner, airship, ambulance, amphibian, balloon, beach wagon,
        bicycle-built-for-two, bobsled, bullet train, cab, canoe, car mirror, car wheel, catamaran, container
        ship, convertible, dogsled, electric locomotive, fireboat, fire engine, forklift, freight car, garbage
        truck, go-kart, golfcart, gondola, half track, harvester, horse cart, jeep, jinrikisha, lifeboat,
        limousine, liner, minibus, minivan, Model T, moped, motor scooter, mountain bike, moving van, oxcart,
        passenger car, pickup, police van, racer, recreational vehicle, school bus, schooner, snowmobile,
        snowplow, space shuttle, speedboat, sports car, steam locomotive, streetcar, submarine, tank,
        thresher, tow truck, tractor, trailer truck, tricycle, trimaran, trolleybus, unicycle, warplane,
        wreck, yawl, grille, wing, paddlewheel, plow""",
    "Plant": """
        rapeseed, daisy, yellow lady's slipper, acorn, hip, buckeye, coral fungus, agaric, gyromitra,
        stinkhorn, earthstar, hen-of-the-woods, bolete, ear, pot, vase, maze""",
}

# gamma, red, green, blue, saturation, hue: what most photographs of the scene can take without harm. A scene says
# little about the light on the day, so a preset stays below what an eye notices in a comparison from memory.
_PRESETS = {
    "Landscape": (1.00, 1.00, 1.00, 1.00, 1.06, 0.0),
    "Portrait": (1.03, 1.01, 1.00, 0.99, 0.98, 0.0),
    "Food": (1.03, 1.01, 1.00, 0.99, 1.05, 0.0),
    "Animal": (1.02, 1.00, 1.00, 1.00, 1.03, 0.0),
    "Urban": (1.00, 1.00, 1.00, 1.00, 1.02, 0.0),
    "Vehicle": (1.00, 1.00, 1.00, 1.00, 1.03, 0.0),
    "Plant": (1.00, 1.00, 1.00, 1.00, 1.04, 0.0),
    GENERIC: (1.00, 1.00, 1.00, 1.00, 1.00, 0.0),
}


def scene_of_labels(labels: Sequence[str]) -> list[str]:
    """The scene of each of ImageNet's labels, in their order; ``Generic`` for labels that speak of none."""
    words = {word.strip(): scene for scene, text in _WORDS.items() for word in " ".join(text.split()).split(",")}
    return ["Animal" if number < ANIMAL_LABELS else words.get(label, GENERIC) for number, label in enumerate(labels)]


def scene_words() -> dict[str, list[str]]:
    """The labels of every scene but Animal, for those who want to look at or test the mapping."""
    return {scene: [word.strip() for word in " ".join(text.split()).split(",")] for scene, text in _WORDS.items()}


def preset_of(scene: str) -> dict[str, float]:
    """The ``scene_corrections`` of a scene: a new dictionary with ``CORRECTION_KEYS``."""
    return dict(zip(CORRECTION_KEYS, _PRESETS[scene], strict=True))
