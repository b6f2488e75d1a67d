"""What is said of a drawing: in what a person would write, the same for the same."""

import pytest

from homeport.backends.scene.description import Description, Group, Related
from homeport.backends.scene.reading import Reader
from homeport.backends.scene.saying import said
from tests.backends.scene.vocabulary import vocabulary

BEGINS = "A drawing composed of vector art: "


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat", "a cat."),
        ("an owl and 3 mice", "an owl, three mice."),
        ("21 geese", "21 geese."),
        ("five sheep and two fish", "five sheep, two fish."),
        ("a tiny red boat", "a tiny red boat."),
        ("a cat on a sofa", "a cat on a sofa."),
        ("a house, a dog to the left of it", "a house, a dog to the left of the house."),
        ("a bench between two trees", "a bench (a chair stands for it) between two trees."),
        ("a ball between a dog and a cat", "a ball between a dog and a cat."),
        ("a cat wearing sunglasses", "a cat, sunglasses in front of the cat."),
        ("a star in the top left corner", "a star at the top left."),
        ("two corgis", "two corgis (dogs stand for them)."),
        ("a golden retriever", "a golden retriever (a dog stands for it)."),
        ("bread and cheese", "bread, cheese."),
        ("children on a beach at sunset", "three children; a beach, sunset."),
        ("a city in the rain at night", "a city, night, rain."),
        ("a blue car on a white background", "a blue car; a white background."),
        ("a fluffy cat", "a cat. Not followed: 'fluffy'."),
        ("a cat and a theremin", "a cat. Not drawn, because there is no picture for it: 'theremin'."),
        ("a beach without people", "a beach. Kept out, as wanted: 'people'."),
        (
            "80 cats",
            "60 cats. Left out, because a drawing holds 60 things at most: '20 cats'.",
        ),
        (
            "three red apples on a table, a cat to the left of them; sunset, and a theremin",
            "three red apples, a cat to the left of the red apples; a table, sunset. "
            "Not drawn, because there is no picture for it: 'theremin'.",
        ),
    ],
)
def test_what_is_drawn_is_said(prompt: str, words: str) -> None:
    assert said(Reader(vocabulary()).read_words(prompt)) == BEGINS + words


def test_what_stands_to_something_that_stands_to_something_is_said_once() -> None:
    cat = Group(word="cat", art="cat", related=Related("on", (1,)))
    sofa = Group(word="sofa", art="couch-and-lamp", related=Related("beside", (2,)))
    lamp = Group(word="lamp", art="light-bulb")
    assert said(Description(groups=(cat, sofa, lamp))) == f"{BEGINS}a cat on a sofa, the sofa beside a lamp."


def test_of_a_removal_it_is_said_what_is_gone() -> None:
    description = Reader(vocabulary()).read_words("remove the car", edit=True)
    assert said(description) == f"{BEGINS}nothing but the background. Kept out, as wanted: 'car'."
