"""The closed part of English that a prompt is read by: what each word or phrase is in it, but the names of things."""

from typing import Literal, NamedTuple

from homeport.backends.scene.colours import COLOURS
from homeport.backends.scene.description import Ground, Relation, Side, Size, Time, Weather
from homeport.backends.scene.words import number

Role = Literal[
    "determiner",  # value: the, a, or another
    "count",  # value: how many
    "colour",  # value: a name of colours.py
    "size",
    "look",  # how a thing is, which is not followed
    "relation",  # what is said before the second of two things
    "with",  # value: with, or wearing
    "of",
    "and",
    "or",
    "comma",
    "stop",
    "is",
    "pronoun",
    "of it",  # value: the relation to what was named: to its left
    "verb",  # value: the relation that it means, or None
    "side",
    "ground",
    "time",
    "weather",
    "no",
    "remove",
    "replace",
    "by",  # what is to be instead
    "background",
    "style of",  # so is what follows, until a comma
    "style",  # how the whole is to look, which is not followed
    "measure",  # a part or vessel of what follows: a slice of
    "skip",
    "command",  # show me, add
    "front",  # in the foreground
    "back",  # in the background
]


class Meaning(NamedTuple):
    role: Role
    value: str | int | None = None
    #: What else it says: of a ground, its time and weather.
    time: Time | None = None
    weather: Weather | None = None
    ground: Ground | None = None


def _each(role: Role, text: str, value: str | int | None = None) -> dict[str, Meaning]:
    """text: phrases, one a line or parted by commas."""
    phrases = (phrase.strip() for line in text.splitlines() for phrase in line.split(","))
    return {phrase: Meaning(role, value) for phrase in phrases if phrase}


def _inflected(verb: str) -> list[str]:
    """`chase`: chases, chasing, chased."""
    stem, _, rest = verb.partition(" ")
    rest = f" {rest}" if rest else ""
    bare = stem.removesuffix("e") if not stem.endswith(("ee", "ie")) else stem
    doubled = stem + stem[-1] if stem in _DOUBLED else bare
    third = stem + "es" if stem.endswith(("ch", "sh", "s", "x")) else stem + "s"
    if stem.endswith("y") and stem[-2] not in "aeiou":
        third = stem[:-1] + "ies"
    ing = "lying" if stem == "lie" else doubled + "ing"
    return [form + rest for form in (stem, third, ing, doubled + "ed")]


_DOUBLED = frozenset("sit run swim jump-no stop put get hug drag nap hop skip grin chat dig".split())

DETERMINERS = {
    **_each("determiner", "a, an", "a"),
    **_each("determiner", "the, this, that, these, those, his, her, its, their, my, your, our, both", "the"),
    **_each("determiner", "another, an other, one more, each, every, any", "another"),
}
_NUMBERS_IN_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million"
).split()
COUNTS: dict[str, Meaning] = {
    **{word: Meaning("count", number(word)) for word in _NUMBERS_IN_WORDS if word != "zero"},
    **{f"a {word}": Meaning("count", number(word)) for word in ("hundred", "thousand", "million")},
    **{f"one {word}": Meaning("count", number(word)) for word in ("hundred", "thousand", "million")},
    **_each("count", "a single, single, exactly one, just one, only one, one single, a lone, lone", 1),
    **_each("count", "a couple of, a couple, couple of, a pair of, pair of, twin, a duo of", 2),
    **_each("count", "a few, few, some, a trio of, trio of, a handful of, handful of, a small group of", 3),
    **_each(
        "count",
        "several, a group of, group of, a bunch of, bunch of, various, a number of, multiple, a family of, a pack of, "
        "a herd of, a school of, a flock of, flock of, herd of, pack of, a pile of, pile of, a stack of, stack of, "
        "a row of, row of, a line of, a collection of, an assortment of, a set of, a cluster of, a circle of, "
        "bunches of",
        5,
    ),
    **_each("count", "half a dozen, half dozen, a half dozen", 6),
    **_each(
        "count",
        "many, lots of, lots and lots of, a lot of, plenty of, tons of, loads of, numerous, a crowd of, a swarm of, "
        "swarm of, so many, too many, a great many, lots, an army of, flocks of, herds of, full of, a forest of",
        8,
    ),
    **_each("count", "a dozen, a dozen of, one dozen, dozen", 12),
    **_each("count", "two dozen, dozens of", 24),
    **_each("count", "three dozen", 36),
    **_each("count", "four dozen", 48),
    **_each("count", "five dozen", 60),
    **_each(
        "count", "countless, hundreds of, thousands of, millions of, a sea of, endless, innumerable, a million of", 30
    ),
}

#: Beside the names of colours.py and `light`, `dark` before them.
_OTHER_COLOURS = {
    "gray": "grey",
    "light gray": "light grey",
    "dark gray": "dark grey",
    "rosy": "pink",
    "rose coloured": "pink",
    "reddish": "red",
    "blood red": "dark red",
    "ruby red": "crimson",
    "cherry red": "crimson",
    "wine red": "burgundy",
    "brick red": "dark red",
    "fuchsia": "magenta",
    "snow white": "white",
    "pure white": "white",
    "milk white": "white",
    "off white": "ivory",
    "whitish": "white",
    "pitch black": "black",
    "jet black": "black",
    "coal black": "black",
    "charcoal": "dark grey",
    "slate": "dark grey",
    "ash grey": "light grey",
    "silvery": "silver",
    "blonde": "blond",
    "ginger": "orange",
    "orangish": "orange",
    "lemon yellow": "yellow",
    "bright yellow": "yellow",
    "sunny yellow": "yellow",
    "yellowish": "yellow",
    "greenish": "green",
    "lime green": "lime",
    "grass green": "green",
    "forest green": "dark green",
    "olive green": "olive",
    "emerald green": "emerald",
    "mint green": "mint",
    "sea green": "teal",
    "neon green": "lime",
    "bright green": "lime",
    "pale green": "light green",
    "bluish": "blue",
    "baby blue": "light blue",
    "pale blue": "light blue",
    "azure": "sky blue",
    "deep blue": "dark blue",
    "midnight blue": "navy",
    "navy blue": "navy",
    "bright blue": "blue",
    "cobalt": "royal blue",
    "cobalt blue": "royal blue",
    "electric blue": "royal blue",
    "purplish": "purple",
    "mauve": "lilac",
    "pale pink": "light pink",
    "baby pink": "light pink",
    "bright pink": "hot pink",
    "neon pink": "hot pink",
    "bright red": "red",
    "deep red": "dark red",
    "pale yellow": "light yellow",
    "bright orange": "orange",
    "brownish": "brown",
    "chestnut brown": "brown",
    "chocolate brown": "dark brown",
    "sandy": "tan",
    "khaki": "tan",
    "brazen": "bronze",
}
_DARKER = ("dark", "deep")
_LIGHTER = ("light", "pale", "bright", "pastel")


def _colours() -> dict[str, Meaning]:
    found = {name: Meaning("colour", name) for name in COLOURS}
    found.update({name: Meaning("colour", colour) for name, colour in _OTHER_COLOURS.items() if colour in COLOURS})
    for name in list(COLOURS):
        for words, shade in ((_DARKER, "dark"), (_LIGHTER, "light")):
            if " " not in name:
                nearest = f"{shade} {name}" if f"{shade} {name}" in COLOURS else name
                found.update(
                    {f"{word} {name}": Meaning("colour", nearest) for word in words if f"{word} {name}" not in found}
                )
    found.update({f"{name} {ending}": one for name, one in list(found.items()) for ending in ("coloured", "colored")})
    # Grown before it was seen: a coral, a peach, a lime are things unless something follows (grammar.py).
    return found


_SIZES: dict[Size, str] = {
    "tiny": "tiny, teeny, teeny tiny, minuscule, microscopic, very small, very little, itsy bitsy, minute, "
    "really small",
    "small": "small, baby, little, mini, miniature, short, petite, smaller",
    "medium": "medium, medium sized, mid sized, normal sized",
    "large": "large, big, tall, great big, bigger, larger, life size, oversized, grand, long",
    "huge": "huge, giant, gigantic, enormous, massive, very big, very large, humongous, colossal, immense, towering, "
    "really big, really large, super big, monumental",
}

_RELATIONS: dict[Relation, str] = {
    "on": "on, on top of, across, atop, upon, onto, on the top of, at the top of",
    "under": "under, underneath, beneath, at the foot of, at the bottom of",
    "above": "above, over, high above",
    "below": "below, further below, hanging from, hung from, dangling from, suspended from",
    "left of": "left of, to the left of, on the left of, at the left of, on the left side of, "
    "to the left side of, on left of",
    "right of": "right of, to the right of, on the right of, at the right of, on the right side of, "
    "to the right side of, on right of",
    "beside": "beside, next to, besides, by, alongside, near, near to, close to, nearby, at the side of, "
    "by the side of, "
    "side by side with, adjacent to, along with, together with, accompanied by, against, at, opposite, facing, toward, "
    "towards, along, across from, accompanying, touching, leaning against, not far from, beside of, in the vicinity of",
    "behind": "behind, in back of, at the back of, hidden behind, hiding behind, beyond, peeking from behind",
    "in front of": "in front of, before, ahead of, at the front of, in the front of",
    "in": "in, inside, inside of, into, within, in the middle of, in the centre of, in the center of, through, amid, "
    "among, amongst, in between of",
    "between": "between, in between, in the middle between",
    "around": "around, surrounding, encircling, all around, circling",
}
#: Of the first: what is said second is around it.
SURROUNDED = "surrounded by, encircled by, ringed by"

_SIDES: dict[Side, str] = {
    "left": "left, left side, left hand side, left edge, far left",
    "right": "right, right side, right hand side, right edge, far right",
    "top": "top, upper part, upper half, top half, top edge, top part",
    "bottom": "bottom, lower part, lower half, bottom half, bottom edge, bottom part",
    "centre": "centre, center, middle, very middle, very centre, very center",
    "top left": "top left, upper left, top left corner, upper left corner, left upper corner, left top corner",
    "top right": "top right, upper right, top right corner, upper right corner, right upper corner, right top corner",
    "bottom left": "bottom left, lower left, bottom left corner, lower left corner, left lower corner",
    "bottom right": "bottom right, lower right, bottom right corner, lower right corner, right lower corner",
}
_PICTURE = ("picture", "image", "frame", "scene", "drawing", "canvas", "photo", "composition", "page", "view", "screen")


def _sides() -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}
    for side, text in _SIDES.items():
        for words in (one.strip() for one in text.split(",")):
            for before in (
                "on the",
                "in the",
                "at the",
                "to the",
                "on",
                "at",
                "near the",
                "in",
                "towards the",
                "from the",
            ):
                found[f"{before} {words}"] = Meaning("side", side)
            for before in ("on the", "in the", "at the", "to the", "near the"):
                for picture in _PICTURE:
                    for article in ("the", "this"):
                        found[f"{before} {words} of {article} {picture}"] = Meaning("side", side)
    found["centered"] = found["centred"] = found["in the very middle"] = Meaning("side", "centre")
    return found


_GROUNDS: dict[Ground, str] = {
    "meadow": "meadow, grass, grassland, field, park, garden, lawn, yard, backyard, farm, pasture, countryside, hill, "
    "hills, hillside, valley, savanna, savannah, prairie, plains, flower field, grassy field, green field, backyard, "
    "front yard, farmland, golf course, picnic, nature, landscape, rolling hills, rolling green hills, village green, "
    "playground, courtyard, orchard, vineyard, ground, outdoors, outside, farmyard, clearing, glade",
    "forest": "forest, woods, jungle, rainforest, woodland, grove, thicket, swamp, rain forest, pine forest, "
    "bamboo forest",
    "beach": "beach, shore, seashore, coast, seaside, sandy beach, coastline, sand, tropical island, "
    "lakeside, riverbank, "
    "tropical beach, shoreline, boardwalk",
    "sea": "sea, ocean, lake, river, pond, water, harbour, harbor, pool, swimming pool, bay, lagoon, open sea, stream, "
    "high seas, waters, rough sea, port, fjord, creek, waves, ocean waves",
    "underwater": "underwater, under water, under the sea, under the water, under the ocean, beneath the sea, "
    "beneath the waves, bottom of the sea, ocean floor, seabed, sea floor, bottom of the ocean, coral reef, "
    "deep sea, aquarium, below the surface, deep ocean, at the bottom of the sea, at the bottom of the ocean",
    "mountains": "mountains, mountain, mountain range, alps, mountaintop, mountain top, peak, peaks, cliff, cliffs, "
    "highlands, mountain landscape, snowy mountains, mountain peak, snow capped mountains, himalayas, canyon, "
    "mountainside, summit, rocky mountains, mountain lake, hilltop",
    "desert": "desert, dunes, dune, sand dunes, sahara, wasteland, badlands",
    "snow": "snowy landscape, snowy field, arctic, antarctica, antarctic, north pole, south pole, glacier, tundra, "
    "winter landscape, snowscape, winter wonderland, snowfield, snowy ground, iceberg, deep snow, frozen lake",
    "city": "city, town, downtown, skyline, city skyline, metropolis, new york, cityscape, village, urban, "
    "suburb, tokyo, "
    "paris, london, neighborhood, neighbourhood, plaza, town square, city square, rooftops, market, alley, "
    "times square",
    "road": "road, street, highway, motorway, lane, avenue, path, country road, dirt road, city street, racetrack, "
    "race track, parking lot, sidewalk, pavement, crossroads, crosswalk, driveway, freeway, trail, busy street, runway",
    "room": "room, living room, bedroom, kitchen, bathroom, office, classroom, indoors, indoor, interior, library, "
    "restaurant, cafe, hall, studio, floor, hallway, attic, basement, inside a house, inside the house, dining room, "
    "gym, nursery, cellar, garage, bar, coffee shop, bakery, laboratory, lab, hospital room, wall, "
    "living space, carpet, "
    "wooden floor, warehouse, ballroom, theatre stage, stage, window sill, windowsill, fireplace, rug",
    "table": "table, desk, tabletop, wooden table, wooden desk, kitchen table, dining table, counter, "
    "countertop, coffee table, "
    "table top, picnic table, worktop, round table, nightstand, tablecloth",
    "sky": "sky, blue sky, clear sky, clear blue sky, air, heavens, skies, clear skies, mid air, clouds above",
    "space": "space, outer space, galaxy, cosmos, universe, deep space, milky way, nebula, orbit, starfield, "
    "solar system",
}

_TIMES: dict[Time, str] = {
    "day": "day, daytime, daylight, noon, midday, afternoon, during the day, at noon, broad daylight, by day",
    "dawn": "dawn, sunrise, morning, daybreak, early morning, at first light, first light, sun rises, rising sun, "
    "sun is rising, sun rising, foggy morning",
    "sunset": "sunset, dusk, evening, twilight, golden hour, sundown, setting sun, sun is setting, sun sets, "
    "sun setting, nightfall, sun going down, sun goes down, sunset sky",
    "night": "night, nighttime, night time, midnight, starry night, moonlight, moonlit, starlight, starry, nocturnal, "
    "night sky, starry sky, starry night sky, moonlit night, dark sky, by night, full of stars",
}
_BEFORE_TIME = (
    "at",
    "in the",
    "during",
    "during the",
    "by",
    "on a",
    "in",
    "at the",
    "under a",
    "under the",
    "in a",
    "before",
)

_WEATHERS: dict[Weather, str] = {
    "clear": "sunny, sunny day, clear day, bright day, clear weather, sunshine, bright sunny day, sunlight, sunlit, "
    "in the sun, in the sunshine",
    "cloudy": "cloudy, overcast, grey sky, gray sky, cloudy sky, cloudy day, overcast sky",
    "rain": "rain, rainy, raining, drizzle, drizzling, rainy day, rainfall, pouring rain, downpour, heavy rain, "
    "it is raining, it's raining, it rains, rains, monsoon, in the rain, raindrops falling",
    "storm": "storm, stormy, thunderstorm, thunder, stormy sky, lightning storm, hurricane, thunder and lightning, "
    "stormy weather, typhoon, stormy day, lightning in the sky",
    "snow": "snowing, snowfall, snowstorm, blizzard, falling snow, snow falling, it is snowing, it's snowing, "
    "it snows, "
    "snow is falling, snowflakes falling, falling snowflakes",
    "fog": "fog, foggy, mist, misty, haze, hazy, foggy day, thick fog, smog, mist covered",
    "wind": "wind, windy, breeze, breezy, windy day, gale, strong wind",
    "rainbow": "rainbow, rainbow in the sky, rainbow sky, colorful rainbow, beautiful rainbow, rainbows",
}
#: The ground, unless there is another one, on which it falls then.
SNOWY = "snowy"
_SNOWY = "snowy, winter, wintry, in winter, snowy day, winter day, snow covered, winter scene, snowy scene, frozen"
_NO_PREPOSITION_WANTED = (
    "in the",
    "in",
    "under a",
    "beneath a",
    "with a",
    "and a",
    "on a",
    "under a",
    "during a",
    "in a",
    "on the",
    "under the",
    "through the",
)

#: Words for a ground that are things to be seen in it, and have no drawing.
SEEN_IN_IT = frozenset(("fireplace", "rug", "carpet", "tablecloth", "window sill", "windowsill", "nightstand"))

#: Verbs, in the plain form -> where the first is then to the second.
_VERBS: dict[Relation | None, str] = {
    "on": "ride, climb, wear-no, sit, perch, stand, mount",
    "beside": "chase, follow, hold, carry, eat, drink, watch, play, hug, kiss, push, pull, catch, throw, kick, hit, "
    "feed, pet, walk, read, paint, cook, face, meet, fight, guard, use, love, like, admire, see, find, bring, "
    "sniff, bite, lick, greet, help, visit, repair, fix, cut, open, touch, hunt, juggle, bounce, look, stare, talk, "
    "dance, sing, lead, drag, examine, deliver, build, make, sell, buy, pick, shake, wave, listen, speak, gaze",
    "above": "jump, leap, hop, tower, cross",
    "in": "drive, fill, enter, hide, swim, bathe",
    "around": "surround, circle, encircle, orbit",
    "in front of": "block, approach",
    "between": "",
    None: "fly, hover, soar, run, sleep, nap, smile, laugh, cry, shine, glow, grow, float, rest, lie, fall, "
    "bark, meow, roar, yawn, "
    "graze, gallop, rise, blow, burn, rain-no, sail, surf, crawl, wander, explore, land, race, lean, blink, "
    "frown, grin, "
    "bloom, blossom, melt, roll, spin, twinkle, sparkle, travel, wait, study, work, pose, appear, live, stay, "
    "hang, park, "
    "place, locate, arrange, scatter, sprinkle, decorate, cover, point, drift, stroll, march, slide, trot, "
    "prowl, relax, "
    "think, dream, celebrate, enjoy, happen, contain, show, feature, include, consist, depict, overlook, "
    "come, go, move, "
    "dive, splash, flap, peck, chirp, howl, purr, growl, squeak, wag, stretch, bow, kneel, jog, sprint, "
    "skate, ski, fish, "
    "do, abduct, have, has, having, had, lay, laid, lies, ran, sat, stood, swam, flew, ate, rode, drove, "
    "held, slept, flown",
}
#: Of these it goes without saying: what is shown stands somewhere.
_PLAIN_VERBS = frozenset(
    "do sit stand lie rest place locate arrange hang park appear live stay perch lay float grow scatter shine "
    "wait have has having had laid lies sat stood show feature include contain consist depict come go happen fly "
    "hover soar swim make use fill surround circle encircle cover ride mount tower orbit find see decorate sail "
    "drift flown flew swam".split()
)
#: As nouns they are things (vocabulary.py): as verbs only in the forms that no thing has.
_RATHER_THINGS = frozenset("watch fish cook face park guard bow hit seal ski skate rest paint tower show land".split())

_WITH = "with, holding, carrying, and with, having, has, have, featuring, containing, that has, which has, "
"who has, including"
_WEARING = (
    "wearing, dressed in, in a pair of, wears, wearing a pair of, with a pair of, wear, who wears, that wears, "
    "who is wearing, that is wearing, wearing some"
)

_NO = (
    "no, without, without any, not, not any, never, nor, no more, excluding, except, except for, free of, "
    "avoid, minus, "
    "lacking, do not draw, don't draw, do not include, don't include, do not add, don't add, do not show, don't show, "
    "not a single, instead of, rather than, there are no, there is no, there should be no, with no, and no, not a, "
    "don't, devoid of, zero, neither, but no, there must be no, exclude, must not have, should not have, no other"
)
_REMOVE = "remove, delete, erase, get rid of, take away, take out, eliminate, wipe out, remove all, cut out, clear away"
_REPLACE = "replace, swap, exchange, substitute, change, turn, transform, convert"
_BY = "with, by, for, into, to, in favor of, in favour of"

_LOOKS = """
whimsical, kawaii, pastel, christmas, halloween, easter, birthday, summer, autumn, spring, festive, cheerful, joyful
gloomy, romantic, serene, tranquil, vast, endless, distant, elegant, stylish, trendy, rainbow colored, colourless
gleaming, polished, worn, weathered, cozy, cosy, comfortable, warm-hearted, stunning-looking, ornamental, decorative
geometric, symmetrical, organic, natural, wise-looking, handy, sturdy, solid, hollow, massive-looking, delicate
fragile, sleek, chunky, plump, round-faced, pointed, pointy, spiky, bushy, blossoming, flowering, withered
frozen-over, snow-topped, mossy, overgrown, sandy-looking, muddy, rocky, grassy, wavy-haired, curly-haired, scared
frightened, confused, worried, bored, relaxed, content, amazed, shocked, focused, determined, confident, mighty
powerful, heroic, legendary, mythical, mythological, divine, holy, sacred, cosmic, alien-looking, extraterrestrial
prehistoric, historic, historical, contemporary, happy, quick, sad, angry, old, young, ancient, new, modern, wooden
metal, metallic, plastic, stone-made, golden-haired, fluffy, furry, hairy, shiny, glossy, soft, hard, smooth, rough
round, oval, square-shaped, flat, thin, thick, fat, chubby, slim, skinny, curly, straight, striped, spotted, dotted
patterned, checkered, plaid, transparent, translucent, glass-like, broken, cracked, rusty, dusty, dirty, clean
empty, open, closed, wet, dry, hot, cold, warm, fresh, ripe, rotten, juicy, delicious, tasty, sweet, spicy, magical
mystical, magic, enchanted, haunted, mysterious, scary, spooky, creepy, evil, friendly, angry-looking, brave, lazy
sleepy, hungry, tired, surprised, excited, calm, peaceful, quiet, loud, busy, wild, tame, domestic, baby-faced
majestic, fancy, royal, luxurious, expensive, cheap, vintage, retro, antique, rustic, gothic, medieval, victorian
futuristic, cyberpunk, steampunk, sci-fi, fantasy, abstract, surreal, minimalist, colorful, colourful, multicolored
multicoloured, rainbow-colored, vibrant, vivid, bright, dark, dim, pale, neon, glowing, sparkling, glittering
luminous, crystal-clear, smiling, laughing, crying, sleeping, running, jumping, dancing, walking, running-away
barking, singing, swimming, burning, melting, falling, blooming, rolling, spinning, steaming, crowded, handsome
muscular, strong, weak, fast, slow, heavy, lightweight, sharp, blurry, blurred, detailed, intricate, ornate
decorated, handmade, homemade, traditional, african, american, asian, european, chinese, japanese, indian, italian
french, english, british, german, spanish, mexican, russian, korean, egyptian, roman, greek, elderly, middle-aged
adult, pregnant, bald, bearded, grumpy, silly, funny, goofy, crazy, proud, shy, curious, clever, smart, wise
playful, mischievous, adorable-looking, famous, rich, poor, lonely, loving, gentle, fierce, ferocious, dangerous
deadly, poisonous, electric, digital, mechanical, robotic, flying, floating, talking, tropical, exotic, rare, common
local, wavy, tall-standing, narrow, wide, deep, shallow, steep, leafy, bare, lush, green-leaved, sunlit, abandoned
ruined, tattered, torn, folded, wrapped, stacked, scattered, hanging, standing, sitting, lying, seated, parked
perched, burnt, fried, baked, roasted, grilled, boiled, sliced, chopped, peeled, half-eaten, male, female, mixed
different, assorted, matching, identical, same, similar, opposite-facing, plain-looking, simple-looking, cartoonish
realistic, lifelike, stuffed, toy, half, whole, full, long-haired, short-haired, skinned, eyed, haired, legged
sized, shaped, aged, faced, tailed, winged, lit, painted, carved, knitted, woven, leather, silk, cotton, velvet
denim, paper-thin, iron, steel, brass, marble, granite, concrete, brick-built, porcelain, ceramic, thatched
feathered, scaly, slimy, sticky, foamy, bubbly, dense
"""
_STYLES = """
color palette, colour palette, color scheme, colour scheme, palette, colors, colours, color, colour, pastel colors
theme, photo, photograph, photography, photorealistic, photo realistic, photorealism, realistic, hyperrealistic
ultra realistic, hyper realistic, realism, hyperrealism, oil painting, oil on canvas, watercolor, watercolour
watercolor painting, watercolour painting, acrylic painting, painting, pencil drawing, pencil sketch
charcoal drawing, charcoal sketch, pen and ink, ink drawing, sketch, line art, line drawing, lineart, 3d render
3d rendering, 3d, 3d model, render, rendering, cgi, octane render, unreal engine, blender, ray tracing, pixel art
8 bit, 16 bit, voxel art, low poly, anime, manga, manga style, anime style, studio ghibli, ghibli, disney
disney style, pixar, pixar style, comic, comic book, comic style, graffiti, mosaic, stained glass, collage
sculpture, origami, claymation, embroidery, tapestry, woodcut, engraving, etching, linocut, ukiyo e, impressionist
impressionism, impressionistic, expressionist, expressionism, cubist, cubism, surrealist, surrealism, pop art
art deco, art nouveau, baroque, renaissance, minimalism, pointillism, romanticism, 4k, 8k, hd, uhd, full hd
ultra hd, high resolution, high res, hi res, high quality, best quality, highly detailed, ultra detailed, detailed
very detailed, hyper detailed, intricate details, sharp focus, in focus, depth of field, bokeh, cinematic
cinematic lighting, dramatic lighting, studio lighting, soft lighting, natural lighting, volumetric lighting
backlit, lighting, dramatic, moody, atmospheric, dreamy, ethereal, epic, masterpiece, award winning
trending on artstation, artstation, deviantart, black and white, monochrome, sepia, grayscale, greyscale
high contrast, wide angle, close up, closeup, macro, macro shot, aerial view, bird's eye view, birds eye view
top view, side view, front view, isometric, isometric view, panoramic, panorama, portrait, full body, full body shot
long exposure, 35mm, 50mm, 85mm, dslr, nikon, canon, polaroid, film grain, vintage style, retro style, hdr
shot on iphone, golden ratio, rule of thirds, vaporwave, synthwave, concept art, matte painting, fine art
digital painting, oil pastel, crayon drawing, chalk drawing, movie poster, poster, album cover, magazine cover
book cover, 16:9, 4:3, 1:1, 9:16, 1024x1024, 1920x1080, gouache, watercolors, style of
"""
#: Drawn as they are anyway.
_PLAIN_STYLES = """
drawing, picture, image, illustration, clipart, clip art, vector, vector art, vector illustration, vector graphic
icon, emoji, cartoon, cartoon style, flat design, flat style, flat, graphic, sticker, depiction, artwork, art
digital art, simple drawing, simple illustration, cartoon drawing, minimal, scene, composition, rendition
"""

_COMMANDS = """
please, draw, draw me, paint, paint me, sketch me, generate, create, make, make me, make it, show, show me, give me
give, design, produce, compose, render me, i want, i would like, i'd like, i need, can you, could you, can you draw
could you draw, would you, let there be, imagine, visualize, visualise, depict, depicting, depicts, showing, shows
featuring, that shows, there is, there are, there's, there was, there were, there will be, there should be, it has
it shows, we see, we can see, you can see, add, insert, put, place, include, add in, put in, also add, also draw
and add, then add, now add, add some, hello, hi, thanks, thank you, image of, picture of, drawing of
illustration of, photo shows, consisting of, composed of, made up of, full scene, in this image, in the picture
in the image, in this picture, in the scene, in the photo, in this scene
"""
_FUNCTION_WORDS = """
i'm, i am, i've, i'll, we're, they're, he's, she's, you're, am, looking for, in search of, of course, for, style
styled, styles, from, just, only, also, too, as well, very, really, quite, rather, somewhat, extremely, incredibly
so, such, like, as, as if, if, than, now, here, there, where, when, because, since, until, although, though, yet
however, that, which, who, whom, whose, what, why, how, 's, to, up, down, off, out, away, back, again, still
already, even, ever, almost, about, approximately, roughly, around about, exactly, precisely, at least, at most
maybe, perhaps, possibly, probably, be, been, being, can, could, would, should, may, might, must, shall, will, do
does, did, done, get, gets, getting, got, let, lets, let's, i, we, you, me, us, one another, each other, all, all of
both of, other, others, same, own, kind of, sort of, type of, beautiful, nice, lovely, pretty, good, great, amazing
awesome, perfect, wonderful, gorgeous, stunning, cute, adorable, charming, cool, interesting, fantastic, magnificent
ideal, simple, plain, normal, regular, ordinary, typical, basic, classic, real, main, entire, certain, particular
specific, overall, general, visible, via, per, vs, etc, and so on, e, g, eg, ie, ok, okay, yes, well, quickly
slowly, happily, peacefully, quietly, together, alone, anywhere, everywhere, somewhere, something, anything
everything, someone, somebody, anyone, everyone, during, after, throughout, despite, according to, due to, thanks to
time, times, way, thing, things, bit, lot, today, tonight, tomorrow, yesterday, always, often, sometimes, usually
more, most, less, least, much, enough, else, background color, color, colour, colors, colours, version, copy
of them, 's own, high up, far, far away, in the distance, distance, upwards, upside, inside out, first, second
third, last, next, side, sides, part, parts, area, place, spot, corner, top part, x, o, each with, one of, isolated
cut out style, a bit, little bit, slightly, full, filled, foreground, viewer, camera angle
"""
#: Pronouns stand for what was named last.
_PRONOUNS = "it, them, they, him, she, he, itself, themselves, this one, that one, the former"

_MEASURES = """
slice of, slices of, piece of, pieces of, bowl of, bowls of, plate of, plates of, cup of, cups of, glass of
glasses of, bottle of, bottles of, can of, jar full of, loaf of, loaves of, bit of, patch of, bed of, sheet of
drop of, drops of, bar of, scoop of, stick of, head of, kind of, kinds of, types of, sorts of, part of, parts of
crate of, bag of, bags of, box full of, pitcher of, jug of, mug of, mugs of, chunk of, pieces from, statue of
ball of, tray of, pint of, pints of, portion of, serving of, wedge of, sea of, carpet of, wall of, cluster of
bouquet made of, dish of
"""


#: Many, and where.
_FIELDS = ("a field of", "field of", "fields of", "a meadow of", "meadow of", "a field full of", "a meadow full of")


def _scenery() -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}
    for ground, text in _GROUNDS.items():
        found |= _each("ground", text, ground)
    for time, text in _TIMES.items():
        for words in (one.strip() for one in text.split(",")):
            found[words] = Meaning("time", time)
            for before in _BEFORE_TIME:
                found[f"{before} {words}"] = Meaning("time", time)
    for weather, text in _WEATHERS.items():
        for words in (one.strip() for one in text.split(",")):
            found[words] = Meaning("weather", weather)
            for before in _NO_PREPOSITION_WANTED:
                found[f"{before} {words}"] = Meaning("weather", weather)
    for words in (one.strip() for one in _SNOWY.split(",")):
        found[words] = Meaning("ground", SNOWY)
    found["night sky"] = found["starry night sky"] = found["starry sky"] = Meaning("time", "night")
    found["city at night"] = Meaning("ground", "city", time="night")
    found["snow"] = Meaning("ground", "snow")
    found["snowing"] = Meaning("weather", "snow")
    found["cloudy sky"] = Meaning("weather", "cloudy")
    found["rainy street"] = Meaning("ground", "road", weather="rain")
    found["rainy city"] = Meaning("ground", "city", weather="rain")
    found["snowy mountains"] = found["snow capped mountains"] = Meaning("ground", "mountains")
    return found


def _verbs() -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}
    for relation, text in _VERBS.items():
        for verb in (one.strip() for one in text.split(",")):
            if verb and not verb.endswith("-no"):
                forms = _inflected(verb)
                for form in forms[1:] if verb in _RATHER_THINGS else forms:
                    found[form] = Meaning("verb", relation)
    return found


def _plain_verbs() -> frozenset[str]:
    return frozenset(form for verb in _PLAIN_VERBS for form in _inflected(verb))


#: Verbs that need no word about not being shown.
PLAIN_VERBS = _plain_verbs()
VERBS = _verbs()

#: What a phrase is, beside a thing. Where two tables have one, the later wins.
MEANINGS: dict[str, Meaning] = {
    **VERBS,
    **_each("skip", _FUNCTION_WORDS),
    **_each("look", _LOOKS.replace("-", " ")),
    **_each("style", _STYLES),
    **_each("skip", _PLAIN_STYLES),
    **_each("command", _COMMANDS),
    **DETERMINERS,
    **_scenery(),
    **_sides(),
    **{phrase: Meaning("size", size) for size, text in _SIZES.items() for phrase in _each("size", text)},
    **{phrase: Meaning("relation", one) for one, text in _RELATIONS.items() for phrase in _each("relation", text)},
    **_each("relation", SURROUNDED, "surrounded"),
    **_colours(),
    **COUNTS,
    **_each("with", _WITH, "with"),
    **_each("with", _WEARING, "wearing"),
    **_each("relation", "filled with, full of, stuffed with, packed with", "holding"),
    **_each("relation", "covered with, covered in, topped with, decorated with, adorned with", "topped"),
    **_each(
        "style of",
        "in the style of, in style of, in a style of, style of, by artist, inspired by, reminiscent of, as painted by, "
        "painted by, drawn by, by the artist, in the manner of, in the shape of, made of, made from, "
        "made out of, built of, built from, made up from, constructed from, crafted from, carved from, "
        "shaped like, looks like, "
        "look like, looking like, resembling, designed by, photographed by, directed by",
    ),
    **{phrase: Meaning("count", 12, ground="meadow") for phrase in _FIELDS},
    **_each("of", "of"),
    **_each("and", "and, &, +, plus, as well as, along with, together with, and also, and then, and a few others"),
    **_each("or", "or, nor, and or"),
    **_each("stop", ".\n!\n?"),
    **_each(
        "is", "is, are, was, were, is also, are also, that is, that are, which is, which are, looks, look, who is, be"
    ),
    **_each("pronoun", _PRONOUNS),
    **{
        f"{before} {whose} {side}": Meaning("of it", f"{side} of")
        for before in ("to", "on", "at")
        for whose in ("its", "his", "her", "their")
        for side in ("left", "right")
    },
    **_each("no", _NO),
    **_each("remove", _REMOVE),
    **_each("replace", _REPLACE),
    **_each("background", "background, backdrop, wallpaper"),
    **_each("front", "in the foreground, in foreground, in front"),
    **_each("back", "in the background, in background, in the back, in the distance, far away, in the far distance"),
    **_each("measure", _MEASURES),
}
for mark in (",", "but", "then", "while", ";", ":", "(", ")", "/"):
    MEANINGS[mark] = Meaning("comma")
MEANINGS["\n"] = Meaning("stop")
for phrase in [phrase for phrase in MEANINGS if "'s" in phrase and phrase != "'s"]:
    MEANINGS[phrase.replace("'s", " 's")] = MEANINGS.pop(phrase)

#: Before them an unknown word says how: a whimsical illustration.
STYLE_WORDS = frozenset((*_each("style", _STYLES), *_each("skip", _PLAIN_STYLES)))

#: Where no thing of a thing's is drawn by itself: a cat with green eyes.
PARTS = frozenset(
    "eye hair wing ear tail leg tooth fur nose beard face hand arm mouth finger foot skin feather mane horn "
    "tusk whisker paw claw head neck moustache mustache leaf branch root petal trunk roof chimney wheel smile "
    "tongue grin expression stripe spot sail headlight belly shadow reflection pattern hoof beak scale "
    "freckle cheek lip muscle".split()
)
#: Of those, what may be there by itself, too.
LOOSE = frozenset("leaf branch feather horn sail wheel bone petal".split())
#: What one may be on, of the thing that was named: on its roof.
ON_IT = frozenset("roof top back head shoulder lap nose rooftop hand arm saddle tail".split())
#: On a head.
HATS = frozenset(
    "top-hat billed-cap womans-hat graduation-cap rescue-workers-helmet military-helmet crown headphone".split()
)
#: On a body, before it.
WORN = frozenset(
    "glasses sunglasses goggles necktie ribbon t-shirt jeans scarf gloves coat socks dress kimono sari "
    "one-piece-swimsuit briefs shorts bikini womans-clothes backpack lab-coat safety-vest martial-arts-uniform "
    "running-shirt diving-mask ring prayer-beads running-shoe mans-shoe hiking-boot womans-boot high-heeled-shoe "
    " flat-shoe thong-sandal womans-sandal ballet-shoes roller-skate".split()
)
#: One can put something into them.
VESSELS = frozenset(
    "basket bucket package bathtub jar amphora backpack handbag shopping-cart nest-with-eggs empty-nest "
    "toolbox bowl-with-spoon pot-of-food tumbler-glass wine-glass teacup-without-handle shopping-bags "
    "wastebasket bento-box delivery-truck pickup-truck canoe sailboat takeout-box luggage".split()
)
#: A pair of them is one drawing.
PAIRS = frozenset(
    "glasses sunglasses goggles scissors jeans shorts gloves socks ballet-shoes skis chopsticks headphone "
    "briefs bikini crossed-swords cherries maracas".split()
)
#: Colours that go without saying, by ground.
NATURAL = {
    "meadow": ("green", "dark green", "light green", "emerald", "lime"),
    "forest": ("green", "dark green", "emerald", "light green"),
    "sea": ("blue", "dark blue", "light blue", "turquoise", "aqua", "teal", "sky blue", "navy"),
    "underwater": ("blue", "dark blue", "turquoise"),
    "sky": ("blue", "light blue", "sky blue"),
    "beach": ("white", "golden", "yellow", "tan"),
    "desert": ("golden", "yellow", "tan", "orange"),
    "snow": ("white",),
    "table": ("brown", "dark brown", "light brown"),
    "space": ("black", "dark blue"),
    "road": ("grey", "dark grey", "black"),
}
