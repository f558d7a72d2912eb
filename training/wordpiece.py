"""BERT's tokens: text, cleaned and cut into words, each the longest pieces that the vocabulary has."""

import unicodedata
from collections.abc import Sequence

LONGEST_WORD = 100  # characters; a longer one is unknown


def tokens(text: str, vocabulary: Sequence[str] | set) -> list[str]:
    """`text` as the uncased BERT models cut it, without special tokens.

    Lower case, accents dropped, punctuation and CJK characters words of their own; then each word greedily
    from its beginning, pieces inside a word marked by "##" (Schuster and Nakajima 2012; the cleaning is
    BERT's, https://github.com/google-research/bert/blob/master/tokenization.py).

    >>> tokens("Héllo, unaffable!", {"hello", ",", "un", "##aff", "##able", "!"})
    ['hello', ',', 'un', '##aff', '##able', '!']
    """
    return [piece for word in _words(text) for piece in _pieces(word, vocabulary)]


def _words(text):
    spaced = []
    for character in text:
        category = unicodedata.category(character)
        if character in "\t\n\r" or category == "Zs":
            spaced.append(" ")
        elif category[0] == "C" or character == "\ufffd":
            continue
        elif _is_cjk(character):
            spaced.append(f" {character} ")
        else:
            spaced.append(character)
    plain = unicodedata.normalize("NFD", "".join(spaced).lower())
    plain = (character for character in plain if unicodedata.category(character) != "Mn")
    return "".join(f" {one} " if _is_punctuation(one) else one for one in plain).split()


def _pieces(word, vocabulary):
    pieces, start = [], 0
    if len(word) > LONGEST_WORD:
        return ["[UNK]"]
    while start < len(word):
        mark = "##" if start else ""
        ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in vocabulary)
        end = next(ends, None)
        if end is None:
            return ["[UNK]"]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


def _is_punctuation(character):
    # All ASCII that is neither letter nor digit, "$" and "^" too, and what Unicode calls punctuation.
    ascii_mark = "!" <= character <= "~" and not character.isalnum()
    return ascii_mark or unicodedata.category(character)[0] == "P"


def _is_cjk(character):
    blocks = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    return any(first <= ord(character) <= last for first, last in blocks)
