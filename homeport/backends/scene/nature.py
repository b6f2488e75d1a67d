"""What the drawings are of, as far as one must know it to put them into a picture: how large such a thing is beside
others, and where it is found.

Sizes are those of pictures and not of the world: a mouse beside an elephant is still to be seen.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

#: heaven: behind everything, high up. sky: flies. ground: stands. road: drives. afloat: on water. water: in it.
Place = Literal["heaven", "sky", "ground", "road", "afloat", "water"]

_TONE = re.compile(r"-(light|medium-light|medium|medium-dark|dark)$")

#: Longest side, of a picture in which a grown person is 1.3.
_SIZES: Mapping[float, str] = {
    0.3: "ant bug beetle lady-beetle cockroach cricket fly mosquito worm honeybee spider microbe coin ring key pill "
    "game-die thread safety-pin paperclip nut-and-bolt cherries blueberries olive beans peanuts chestnut candy egg "
    "bone gem-stone sewing-needle tooth",
    0.42: "butterfly snail lizard scorpion red-apple green-apple pear tangerine lemon lime peach mango kiwi-fruit "
    "banana strawberry tomato potato carrot onion garlic cookie doughnut cupcake croissant mushroom brown-mushroom "
    "hot-pepper four-leaf-clover shamrock rose tulip hibiscus blossom cherry-blossom white-flower rosette hyacinth "
    "lotus spiral-shell baseball softball tennis yo-yo feather fallen-leaf maple-leaf watch glasses sunglasses "
    "lollipop baby-bottle hot-beverage teacup-without-handle wine-glass cocktail-glass tumbler-glass glass-of-milk "
    "crab shrimp oyster light-bulb candle bell pen pencil crayon spoon scissors lipstick mobile-phone computer-mouse",
    0.55: "mouse rat hamster chipmunk hedgehog frog baby-chick hatching-chick front-facing-baby-chick bat bird "
    "blackbird dove parrot duck owl eggplant avocado ear-of-corn broccoli cucumber bell-pepper melon pineapple grapes "
    "coconut bread bagel pretzel baguette-bread sandwich hamburger hot-dog taco burrito pizza cheese-wedge beer-mug "
    "teapot jar honey-pot ice-cream soft-ice-cream sunflower wilted-flower potted-plant seedling herb fish "
    "tropical-fish blowfish squid jellyfish soccer-ball basketball volleyball american-football rugby-football "
    "bowling closed-book open-book blue-book green-book orange-book notebook camera clutch-bag handbag top-hat "
    "billed-cap womans-hat crown running-shoe mans-shoe high-heeled-shoe womans-boot hiking-boot teddy-bear "
    "alarm-clock crystal-ball trophy magic-wand flashlight hammer wrench screwdriver axe",
    0.65: "rabbit rabbit-face cat black-cat cat-face chicken rooster turtle snake skunk otter beaver badger dodo "
    "lobster octopus seal birthday-cake pie pot-of-food shallow-pan-of-food basket bucket backpack briefcase violin "
    "wrapped-gift jack-o-lantern balloon kite watermelon baby raccoon eagle goose swan bouquet laptop radio telephone "
    "lab-coat t-shirt dress umbrella closed-umbrella",
    0.82: "dog dog-face guide-dog service-dog poodle fox wolf goat ewe ram pig pig-face boar peacock turkey flamingo "
    "penguin monkey sloth koala kangaroo guitar banjo accordion drum chair television fire boy girl child man woman "
    "person skateboard kick-scooter luggage",
    1.05: "deer leopard tiger tiger-face lion panda bear polar-bear orangutan gorilla donkey llama bicycle "
    "motor-scooter motorcycle door window bathtub toilet bed couch-and-lamp dolphin shark crocodile canoe "
    "desktop-computer mirror ladder postbox unicorn zebra snowman snowman-without-snow",
    1.35: "horse cow ox water-buffalo bison moose camel two-hump-camel rhinoceros hippopotamus automobile taxi "
    "oncoming-taxi police-car oncoming-police-car racing-car sport-utility-vehicle pickup-truck auto-rickshaw "
    "oncoming-automobile tractor speedboat cactus",
    1.7: "elephant giraffe mammoth sauropod t-rex dragon whale spouting-whale bus oncoming-bus trolleybus minibus "
    "ambulance fire-engine delivery-truck articulated-lorry tram tram-car light-rail metro train sailboat motor-boat "
    "tent palm-tree cloud rainbow helicopter small-airplane flying-saucer parachute fountain camping",
    2.0: "deciduous-tree evergreen-tree christmas-tree tanabata-tree house house-with-garden hut derelict-house "
    "rocket locomotive high-speed-train bullet-train airplane statue-of-liberty circus-tent playground-slide "
    "desert-island beach-with-umbrella umbrella-on-ground shinto-shrine moai",
    2.4: "houses church mosque synagogue hindu-temple kaaba school hospital bank hotel love-hotel office-building "
    "post-office japanese-post-office convenience-store department-store factory classical-building stadium wedding "
    "building-construction ferris-wheel carousel-horse roller-coaster ship ferry passenger-ship tokyo-tower",
    2.9: "castle japanese-castle mountain snow-capped-mountain mount-fuji volcano",
    1.0: "sun sun-with-face full-moon full-moon-face new-moon new-moon-face crescent-moon first-quarter-moon "
    "last-quarter-moon ringed-planet globe-showing-americas globe-showing-europe-africa globe-showing-asia-australia",
    0.5: "star glowing-star comet shooting-star dizzy sparkles snowflake",
}
_BY_CATEGORY = {
    "Animals & Nature": 0.75,
    "Food & Drink": 0.5,
    "Objects": 0.6,
    "Activities": 0.6,
    "People & Body": 1.0,
    "Smileys & Emotion": 0.7,
    "Travel & Places": 1.4,
}
#: Most people are drawn down to their shoulders; of these one sees all.
_WHOLE_PEOPLE = (
    "standing walking running dancing kneeling biking cartwheeling golfing lifting playing juggling surfing "
    "levitating lotus wheelchair cane bouncing climbing rowing fencing skier snowboarder swimming wrestling merpeople "
    "racing bunny holding"
).split()
#: Of people, what is less than one.
_PARTS_OF_PEOPLE = (
    "hand fist thumbs finger ear eye eyes nose mouth tongue tooth brain lungs heart foot leg bone footprints victory "
    "salute clapping biceps gesture pinch nail lip shaking bust"
).split()

_PLACES: Mapping[Place, str] = {
    "heaven": "sun sun-with-face full-moon full-moon-face new-moon new-moon-face crescent-moon first-quarter-moon "
    "first-quarter-moon-face last-quarter-moon last-quarter-moon-face waning-crescent-moon waning-gibbous-moon "
    "waxing-crescent-moon waxing-gibbous-moon star glowing-star shooting-star comet ringed-planet milky-way rainbow "
    "cloud sun-behind-cloud sun-behind-large-cloud sun-behind-rain-cloud sun-behind-small-cloud cloud-with-lightning "
    "cloud-with-lightning-and-rain cloud-with-rain cloud-with-snow tornado dizzy sparkles fireworks sparkler "
    "globe-showing-americas globe-showing-europe-africa globe-showing-asia-australia high-voltage snowflake",
    "sky": "bat butterfly honeybee fly mosquito eagle dove airplane airplane-arrival airplane-departure "
    "small-airplane helicopter rocket flying-saucer parachute balloon kite satellite wind-face baby-angel bubbles "
    "red-paper-lantern carp-streamer leaf-fluttering-in-wind flying-disc phoenix-bird feather aerial-tramway "
    "mountain-cableway suspension-railway person-in-suit-levitating thought-balloon speech-balloon",
    "road": "automobile oncoming-automobile taxi oncoming-taxi police-car oncoming-police-car racing-car "
    "sport-utility-vehicle pickup-truck bus oncoming-bus trolleybus minibus ambulance fire-engine delivery-truck "
    "articulated-lorry tractor motorcycle motor-scooter bicycle auto-rickshaw kick-scooter tram tram-car skateboard",
    "afloat": "sailboat speedboat motor-boat ship ferry passenger-ship canoe duck swan goose ring-buoy "
    "person-rowing-boat man-rowing-boat woman-rowing-boat man-surfing woman-surfing person-surfing man-swimming "
    "woman-swimming person-swimming desert-island",
    "water": "fish tropical-fish blowfish shark whale spouting-whale dolphin octopus jellyfish squid seal "
    "man-merpeople woman-merpeople person-merpeople shrimp lobster",
}
#: Things that others are put into: then their front hides these in part.
_VESSELS = frozenset(
    "basket bucket shopping-cart bathtub backpack handbag clutch-bag canoe wastebasket "
    "pot-of-food bowl-with-spoon package cooking shallow-pan-of-food sled jar nest-with-eggs empty-nest shopping-bags "
    "top-hat wrapped-gift pickup-truck cup-with-straw hot-beverage teacup-without-handle inbox-tray hole potted-plant "
    "luggage racing-car amphora funeral-urn".split()
)
#: Boats with a deck: who is in one stands on it, before the sail.
_DECKS = frozenset("sailboat speedboat motor-boat ship ferry passenger-ship".split())
#: What is put on a head, and is no wider than that.
_HATS = frozenset("top-hat crown billed-cap womans-hat graduation-cap military-helmet rescue-workers-helmet".split())
_UPRIGHT = frozenset(
    "spider-web bullseye window door television framed-picture mirror clipboard fork-and-knife-with-plate "
    "white-flag black-flag desktop-computer mobile-phone world-map t-shirt label wheel".split()
)
_SEATS = {"couch-and-lamp": 0.22, "bed": 0.12, "chair": 0.46, "seat": 0.4, "manual-wheelchair": 0.4}
#: What has a front and a back of its own, or letters: it is not shown as in a mirror.
_FACING = frozenset("Animals & Nature,People & Body".split(","))
_DRIVES = ("road", "afloat")


def size(art: str, category: str | None) -> float:
    """Of its longest side, beside others."""
    plain = _plain(art)
    known = _sizes().get(plain)
    if known is not None:
        return known
    if category == "People & Body":
        words = set(plain.split("-"))
        if not words.isdisjoint(_PARTS_OF_PEOPLE):
            return 0.6
        if not words.isdisjoint(_WHOLE_PEOPLE):
            return 1.3
    return _BY_CATEGORY.get(category or "", 0.65)


def place(art: str) -> Place:
    return _places().get(_plain(art), "ground")


def seat(art: str) -> float:
    """How far below its outline one sits on it, of its height: it has a back."""
    return _SEATS.get(art, 0.0)


def is_upright(art: str) -> bool:
    """Whether what is on it is before it: it has a face, and no top."""
    return art in _UPRIGHT


def has_deck(art: str) -> bool:
    return art in _DECKS


def is_worn(art: str) -> bool:
    """On a head."""
    return art in _HATS


def holds(art: str) -> bool:
    """Whether other things are put into it, and look out of it."""
    return art in _VESSELS


def turns(art: str, category: str | None) -> bool:
    """Whether it may look to the other side."""
    return category in _FACING or place(art) in _DRIVES


def _plain(art: str) -> str:
    """Without the tone of its skin."""
    return _TONE.sub("", art)


@cache
def _sizes() -> dict[str, float]:
    return {name: size for size, names in _SIZES.items() for name in names.split()}


@cache
def _places() -> dict[str, Place]:
    return {name: place for place, names in _PLACES.items() for name in names.split()}
