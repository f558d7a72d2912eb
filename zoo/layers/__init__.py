"""Attention mechanisms as Keras layers: one published mechanism, one file."""

from zoo.layers.attention_decoder_cell import AttentionDecoder, AttentionDecoderCell
from zoo.layers.bahdanau import BahdanauAttention
from zoo.layers.cbam import CBAM, ChannelAttention, SpatialAttention
from zoo.layers.hard_attention import HardAttention
from zoo.layers.keras_self_attention import convert_keras_self_attention_weights
from zoo.layers.luong import LuongAttention
from zoo.layers.multi_head_attention import MultiHeadAttention
from zoo.layers.non_local import NonLocalBlock
from zoo.layers.patch_self_attention import PatchSelfAttention
from zoo.layers.positions import (
    LearnedPositions,
    RelativePositionBias,
    SinusoidalPositions,
    rotary,
    sinusoidal,
)
from zoo.layers.scaled_dot_product_attention import ScaledDotProductAttention
from zoo.layers.seq_self_attention import SeqSelfAttention
from zoo.layers.seq_weighted_attention import SeqWeightedAttention
from zoo.layers.show_attend_tell import ShowAttendTell, doubly_stochastic_penalty
from zoo.layers.squeeze_excite import SqueezeExcite
from zoo.layers.transformer import TransformerDecoder, TransformerEncoder

__all__ = [
    "CBAM",
    "AttentionDecoder",
    "AttentionDecoderCell",
    "BahdanauAttention",
    "ChannelAttention",
    "HardAttention",
    "LearnedPositions",
    "LuongAttention",
    "MultiHeadAttention",
    "NonLocalBlock",
    "PatchSelfAttention",
    "RelativePositionBias",
    "ScaledDotProductAttention",
    "SeqSelfAttention",
    "SeqWeightedAttention",
    "ShowAttendTell",
    "SinusoidalPositions",
    "SpatialAttention",
    "SqueezeExcite",
    "TransformerDecoder",
    "TransformerEncoder",
    "convert_keras_self_attention_weights",
    "doubly_stochastic_penalty",
    "rotary",
    "sinusoidal",
]
