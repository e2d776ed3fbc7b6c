"""How an answer joins its prompt: the text that a writer would put between them, a space or nothing."""

import re
from unicodedata import category

# Scripts written without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Kana and Han with their punctuation.
UNSPACED = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    r"\uff00-\uffef\U00020000-\U0003ffff]"
)
# What follows a word at once: punctuation, a closing bracket, the end of a contraction.
CLOSES = re.compile(r"[,;:!?.…%)\]}](?!\w)|['’](?:s|t|m|d|re|ve|ll)\b")
QUOTES = frozenset("\"'`")
# Symbols that glue what stands around them where no space stands before them, as in 12+30= or https://.
GLUE = "=+*/\\|<>^&~_#@$€£¥–—-"
GLUED = re.compile(rf"[^\s{re.escape(GLUE)}][{re.escape(GLUE)}]+$")


def joins(prompt: str, answer: str) -> tuple[str, ...]:
    """The joins of a prompt and an answer that may be meant, the likeliest first: " ", "" or both.

    Both only where the text does not decide: never a space within a bracket, nothing between two words.
    """
    if not prompt or prompt[-1].isspace() or answer[0].isspace() or CLOSES.match(answer):
        return ("",)
    last, first = prompt[-1], answer[0]
    if opens(prompt) or (UNSPACED.match(last) and UNSPACED.match(first)):
        return ("",)
    if UNSPACED.match(last) or GLUED.search(prompt):
        return ("", " ")
    if is_word(last) and is_word(first) and not UNSPACED.match(first):
        return (" ",)
    return (" ", "")


def opens(prompt: str) -> bool:
    """Whether a prompt ends in a bracket or quotation mark that the answer stands in."""
    last, before = prompt[-1], prompt[-2:-1] or " "
    if category(last) == "Ps":
        return True
    if last not in QUOTES and category(last) not in ("Pi", "Pf"):
        return False
    return not (is_word(before) or before in ".,;!?…%" or category(before) in ("Pe", "Pf"))


def is_word(character: str) -> bool:
    """A letter, a digit, or a mark on one."""
    return category(character)[0] in "LNM"
