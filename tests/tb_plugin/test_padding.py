"""Padding in the text view, in a real Chromium."""

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo

TOKENS = ["[CLS]", "attention", "wanders", "[SEP]"]


@pytest.mark.parametrize("mass", [0, 0.2])
def test_padding_is_left_out_unless_attended_to(tmp_path, start_tensorboard, open_tab, mass):
    """Padding at the end is no text; where weight lies on it, the reader sees that."""
    padded = zoo.Axis("token", 7, [*TOKENS, *["[PAD]"] * 3])
    weights = np.full((1, 1, 7, 7), mass / 3, "float32")
    weights[..., :4] = (1 - mass) / 4
    zoo.summary.attention("text", zoo.AttentionMap(weights, padded, padded), 0, logdir=tmp_path)
    zoo.summary.close(tmp_path)
    with start_tensorboard(tmp_path) as url:
        tab = open_tab(f"{url}/#attention&p.attention.view=text&p.attention.text=lines")
        tab.wait_for(step=0)
        shown = 7 if mass else 4
        for side in ("query", "key"):
            expect(tab.find(f".token[data-{side}]")).to_have_count(shown)
        caption, words = expect(tab.find("section.text .caption")), "3 padding tokens are left out"
        caption.not_to_contain_text(words) if mass else caption.to_contain_text(words)
        tab.find(".token[data-query='1']").hover()
        caption.to_contain_text("0.2000" if mass else "0.2500")
