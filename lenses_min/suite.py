"""The built-in prompts: three passes of the lens and fourteen test prompts of the model itself."""

from .types import Prompt

GERMANY = "Give the city name only, plain text. The capital of Germany is called simply"
MAIN = Prompt("pos", "orig", GERMANY, "Berlin", detailed=True)
ABLATION = Prompt("pos", "no_filler", GERMANY.removesuffix(" simply"), "Berlin")
CONTROL = Prompt("ctl", "orig", GERMANY.replace("Germany", "France"), "Paris", rival=MAIN)
PASSES = (MAIN, ABLATION, CONTROL)

TEST_PROMPTS = (
    "Berlin is the capital of",
    "Germany's capital city is called simply",
    "The capital city of Germany is named simply",
    "Germany has its capital at the city called simply",
    "In Germany the capital city is simply",
    "Germany's capital city is called",
    "The capital city of Germany is named",
    "Germany has its capital at",
    "In Germany the capital city is known as",
    "Give the country name only, plain text. Berlin is the capital of",
    "Give the city name only, plain text. Germany's capital city is called",
    "Give the city name only, plain text. The capital city of Germany is named simply",
    "Give the city name only, plain text. Germany has its capital at",
    "Give the city name only, plain text. In Germany, the capital city is known as",
)

TEMPERATURES = (0.1, 2.0)

# A position whose token is one of these shows its top 20, like the last position.
KEYWORDS = frozenset({"germany", "berlin", "capital", "answer", "word", "simply"})
