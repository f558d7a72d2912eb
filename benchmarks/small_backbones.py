"""The backbones of keras-hub, small and with random weights: what each is built of, and what it takes."""

import importlib
import inspect
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """A class of keras-hub, by its name, and its arguments: a part of a backbone."""

    name: str
    arguments: dict


ENCODER = {"vocabulary_size": 31, "num_layers": 2, "num_heads": 4, "hidden_dim": 16, "intermediate_dim": 32}
DECODER = {"vocabulary_size": 31, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32} | {
    "num_query_heads": 4,
    "num_key_value_heads": 2,
}
GEMMA = DECODER | {"head_dim": 4}
MOE = DECODER | {"num_experts": 3, "top_k": 2}
QWEN_MOE = MOE | {"moe_intermediate_dim": 8, "shared_expert_intermediate_dim": 8, "head_dim": 4}
QWEN3_5 = (
    GEMMA
    | {"layer_types": ["linear_attention", "full_attention"], "partial_rotary_factor": 0.5}
    | {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    | {"linear_key_head_dim": 4, "linear_value_head_dim": 4}
)
T5GEMMA_HALF = (
    {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 2, "head_dim": 4}
    | {"num_attention_heads": 4, "num_key_value_heads": 2}
    | {"layer_types": ["sliding_attention", "full_attention"]}
)
T5GEMMA = (
    {f"encoder_{name}": value for name, value in T5GEMMA_HALF.items()}
    | {f"decoder_{name}": value for name, value in T5GEMMA_HALF.items()}
    | {"vocabulary_size": 31, "sliding_window": 4, "cross_attention_hidden_size": 16}
)
IMAGE = {"image_shape": (32, 32, 3)}
TRANSFORMER = {"num_layers": 2, "num_heads": 4, "hidden_dim": 16, "intermediate_dim": 32}
VISION = TRANSFORMER | IMAGE | {"patch_size": 8}
TEXT = ENCODER | {"embedding_dim": 16, "max_sequence_length": 8}
GEMMA_VISION = TRANSFORMER | {"image_size": 16, "patch_size": 4, "pool_size": 2, "output_dim": 16}
SSCP = {"kernel": ((3, 3), (3, 3)), "stride": ((2, 2), (2, 2))}
VAE = {
    f"{half}_num_{name}": [number] * 4
    for half in ("encoder", "decoder")
    for name, number in {"filters": 32, "blocks": 1}.items()
} | {"sampler_method": "mode"}
MIT = (
    {"layerwise_depths": [1, 1], "num_layers": 2, "layerwise_num_heads": [1, 2], "hidden_dims": [8, 16]}
    | {"layerwise_sr_ratios": [2, 1], "layerwise_patch_sizes": [7, 3], "layerwise_strides": [4, 2]}
    | {"max_drop_path_rate": 0.1}
)
# A stage of convolution, then one of attention.
STAGES = (
    {"num_filters": (8, 16), "strides": (2, 1), "act_layers": ("relu", "relu"), "exp_ratios": (2.0, 2.0)}
    | {"exp_kernel_sizes": (3, 0), "pw_kernel_sizes": (1, 0), "se_ratios": (0.0, 0.0)}
    | {"dw_kernel_sizes": (0, 3), "dw_start_kernel_sizes": (0, 3), "dw_end_kernel_sizes": (0, 3)}
    | {"num_heads": (0, 4), "key_dims": (0, 4), "value_dims": (0, 4), "kv_strides": (0, 2)}
    | {"use_cpe": (False, False)}
)
MOBILE = (
    {f"stackwise_{name}": [[one], [other, other]] for name, (one, other) in STAGES.items()}
    | {"stackwise_block_types": [["er"], ["mqa", "mqa"]], "stackwise_num_blocks": [1, 2]}
    | {"stem_size": 8, "num_features": 16, "use_msfa": False}
)
VIT_DET = {"hidden_size": 16, "num_layers": 2, "intermediate_dim": 32, "num_heads": 4, "patch_size": 4} | {
    "global_attention_layer_indices": [1],
    "window_size": 3,
    "num_output_channels": 16,
}
BLIP2_VISION = (
    TRANSFORMER
    | {"image_size": 32, "patch_size": 8, "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6}
    | {f"use_{name}": True for name in ("patch_bias", "class_token", "mha_bias", "mlp_bias")}
    | {"initializer_range": 0.02}
)
QFORMER = (
    TRANSFORMER
    | {"num_query_tokens": 3, "vision_dim": 16, "cross_attention_frequency": 2}
    | {"dropout": 0.0, "layer_norm_epsilon": 1e-6}
)
BLIP2 = {
    "vision_encoder": Part("BLIP2VisionEncoder", BLIP2_VISION),
    "qformer": Part("BLIP2QFormer", QFORMER),
}
BLIP2_TEXT = ENCODER | {"num_query_tokens": 3, "qformer_hidden_dim": 16, "dropout": 0.0}
SAM_PROMPT = {"hidden_size": 16, "image_embedding_size": (8, 8), "input_image_size": (32, 32)}
SAM_MASK = {"hidden_size": 16, "num_layers": 2, "intermediate_dim": 32, "num_heads": 4} | {
    "embedding_dim": 16,
    "iou_head_hidden_dim": 16,
}
SAM = {
    "image_encoder": Part("ViTDetBackbone", VIT_DET | IMAGE),
    "prompt_encoder": Part("SAMPromptEncoder", SAM_PROMPT),
    "mask_decoder": Part("SAMMaskDecoder", SAM_MASK),
}
SAM3 = {
    "vision_encoder": Part(
        "SAM3VisionEncoder",
        TRANSFORMER
        | {"image_shape": (64, 64, 3), "patch_size": 8, "pretrain_image_shape": (32, 32, 3)}
        | {"fpn_hidden_dim": 16, "fpn_scale_factors": [4.0, 2.0, 1.0, 0.5]}
        | {"window_size": 2, "global_attn_indexes": [1]},
    ),
    "text_encoder": Part("SAM3TextEncoder", TEXT),
    "geometry_encoder": Part("SAM3GeometryEncoder", TRANSFORMER | {"roi_size": 3}),
    "detr_encoder": Part("SAM3DetrEncoder", TRANSFORMER),
    "detr_decoder": Part(
        "SAM3DetrDecoder", TRANSFORMER | {"image_shape": (64, 64, 3), "patch_size": 8, "num_queries": 5}
    ),
    "mask_decoder": Part("SAM3MaskDecoder", {"num_upsampling_stages": 3, "hidden_dim": 16, "num_heads": 4}),
}
HGNET = (
    {"stem_channels": [3, 8, 8], "stackwise_stage_filters": [[8, 8, 16, 1, 3, 3], [16, 8, 32, 1, 3, 3]]}
    | {"apply_downsample": [False, True], "use_lightweight_conv_block": [False, True], "depths": [1, 1]}
    | {"hidden_sizes": [16, 32], "embedding_size": 8, "use_learnable_affine_block": True}
    | {"hidden_act": "relu", "image_shape": (64, 64, 3), "out_features": ["stage1", "stage2"]}
)
D_FINE = (
    {"backbone": Part("HGNetV2Backbone", HGNET), "image_shape": (64, 64, 3), "anchor_image_size": (64, 64)}
    | {"decoder_in_channels": [16, 16], "encoder_in_channels": [16, 32], "encode_proj_layers": [1]}
    | {"encoder_hidden_dim": 16, "hidden_dim": 16, "lqe_hidden_dim": 16, "num_lqe_layers": 2}
    | {"num_labels": 5, "num_denoising": 0, "num_queries": 7, "learn_initial_query": False}
    | {"feat_strides": [4, 8], "num_feature_levels": 2, "out_features": ["stage1", "stage2"]}
    | {"num_attention_heads": 4, "encoder_ffn_dim": 32, "num_encoder_layers": 1, "hidden_expansion": 0.34}
    | {"decoder_attention_heads": 4, "decoder_ffn_dim": 32, "num_decoder_layers": 2, "eval_idx": -1}
    | {"decoder_n_points": [3, 3], "depth_multiplier": 0.5, "seed": 0}
)
GEMMA3N_AUDIO = (
    {"hidden_size": 8, "input_feat_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    | {"sscp_conv_kernel_size": SSCP["kernel"], "sscp_conv_stride_size": SSCP["stride"]}
    | {"sscp_conv_channel_size": [4, 8], "sscp_conv_group_norm_eps": 1e-5, "rms_norm_eps": 1e-6}
    | {"attention_chunk_size": 4, "num_attention_context_right": 0, "num_attention_context_left": 5}
    | {"attention_logit_cap": 50.0, "conv_kernel_size": 5, "reduction_factor": 1}
    | {"gradient_clipping": 1.0, "residual_weight": 0.5}
)
GEMMA3N = (
    {"text_vocab_size": 31, "text_hidden_size": 16, "num_hidden_layers": 2, "pad_token_id": 0}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": [32, 32]}
    | {"hidden_activation": "gelu_approximate", "layer_types": ["sliding_attention", "full_attention"]}
    | {"sliding_window": 4, "rope_theta": 10000.0, "max_position_embeddings": 16}
    | {"vocab_size_per_layer_input": 31, "hidden_size_per_layer_input": 2}
    | {"altup_num_inputs": 2, "laurel_rank": 1}
    | {"vision_encoder_config": Part("MobileNetV5Backbone", MOBILE | IMAGE), "vision_hidden_size": 16}
    | {"vision_vocab_offset": 31, "vision_vocab_size": 8, "vision_soft_tokens_per_image": 4}
    | {"audio_encoder_config": Part("Gemma3nAudioEncoder", GEMMA3N_AUDIO), "audio_hidden_size": 8}
    | {"audio_vocab_offset": 39, "audio_vocab_size": 8, "audio_soft_tokens_per_image": 4}
    | {"image_token_id": 29, "audio_token_id": 30}
)
GEMMA4_AUDIO = (
    {"input_feat_size": 8, "hidden_size": 8, "num_heads": 2, "num_layers": 1}
    | {"chunk_size": 4, "context_left": 5, "output_proj_dims": None, "output_dim": 16}
    | {"sscp_conv_channels": (4, 2)}
    | {"sscp_kernel_sizes": SSCP["kernel"], "sscp_stride_sizes": SSCP["stride"]}
)
QWEN_VISION = {"depth": 2, "hidden_size": 16, "num_heads": 4, "intermediate_size": 32} | {
    "patch_size": 4,
    "out_hidden_size": 16,
    "num_position_embeddings": 16,
}
FLUX = (
    {"input_channels": 16, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2.0, "depth": 2}
    | {"depth_single_blocks": 2, "axes_dim": [2, 2, 4], "theta": 10_000, "use_bias": True}
    | {"guidance_embed": True, "image_shape": (7, 16), "image_ids_shape": (7, 3)}
    | {"text_shape": (5, 16), "text_ids_shape": (5, 3), "y_shape": (16,)}
)
SMOLLM3 = (
    {"num_attention_heads": 4, "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False}
    | {"rope_layer_enabled_list": [True, False], "layer_types": ["attention", "attention"]}
    | {"layer_norm_epsilon": 1e-5, "max_position_embeddings": 16}
    | {"rope_theta": 10000.0, "partial_rotary_factor": 1.0}
)
STABLE_DIFFUSION = (
    {"mmdit_patch_size": 2, "mmdit_hidden_dim": 16, "mmdit_num_layers": 2, "mmdit_num_heads": 4}
    | {"mmdit_position_size": 16, "mmdit_qk_norm": None, "mmdit_dual_attention_indices": (0,)}
    | {"vae": Part("VAEBackbone", VAE), "t5": Part("T5Encoder", ENCODER | {"hidden_dim": 32})}
    | {
        name: Part("CLIPTextEncoder", TEXT | {"intermediate_output_index": -2, "name": name})
        for name in ("clip_l", "clip_g")
    }
    | {"image_shape": (32, 32, 3)}
)
# The name of a class, and in brackets what its parts are where it is built in more than one way.
BACKBONES = {
    "Attention2d": {"filters": 16, "num_heads": 4, "channel_axis": -1},
    "AlbertBackbone": ENCODER | {"embedding_dim": 16},
    "BLIP2Backbone (OPT)": BLIP2
    | {"language_model": Part("BLIP2CustomOPT", BLIP2_TEXT | {"max_sequence_length": 16})},
    "BLIP2Backbone (Flan-T5)": BLIP2 | {"language_model": Part("BLIP2FlanT5", BLIP2_TEXT)},
    "BartBackbone": ENCODER,
    "BertBackbone": ENCODER,
    "BloomBackbone": ENCODER,
    "CLIPBackbone": {
        "vision_encoder": Part("CLIPVisionEncoder", VISION),
        "text_encoder": Part("CLIPTextEncoder", TEXT),
        "projection_dim": 16,
    },
    "DFineBackbone": D_FINE,
    "DINOV2Backbone": VISION,
    "DINOV3Backbone": VISION,
    "DebertaV3Backbone": ENCODER | {"bucket_size": 8},
    "DeiTBackbone": VISION,
    "DepthAnythingBackbone": {
        "image_encoder": Part(
            "DINOV2Backbone", VISION | {"num_layers": 4, "apply_layernorm": True, "image_shape": (64, 64, 3)}
        ),
        "reassemble_factors": [4, 2, 1, 0.5],
        "neck_hidden_dims": [8, 8, 16, 16],
        "fusion_hidden_dim": 16,
        "head_hidden_dim": 8,
        "head_in_index": -1,
        "feature_keys": ["stage1", "stage2", "stage3", "stage4"],
    },
    "DistilBertBackbone": ENCODER,
    "ESMBackbone": ENCODER,
    "EdRecBackbone": ENCODER | {"vocab_size": 31, "num_layers_enc": 2, "num_layers_dec": 2},
    "ElectraBackbone": ENCODER | {"vocab_size": 31, "embedding_dim": 16},
    "FNetBackbone": ENCODER,
    "FalconBackbone": ENCODER | {"num_attention_heads": 4},
    "FluxBackbone": FLUX,
    "GPT2Backbone": ENCODER,
    "GPTNeoXBackbone": ENCODER | {"hidden_dim": 32, "rotary_percentage": 0.5},
    "Gemma3Backbone": GEMMA | {"image_size": 16},
    "Gemma3Backbone (vision)": GEMMA
    | {"image_size": 16, "vision_encoder": Part("Gemma3VisionEncoder", GEMMA_VISION)},
    "Gemma3nBackbone": GEMMA3N,
    "Gemma4Backbone (vision)": GEMMA
    | {"image_size": 16, "sliding_window_size": 4}
    | {"vision_encoder": Part("Gemma4VisionEncoder", GEMMA_VISION | {"head_dim": 4})},
    "Gemma4Backbone (audio)": GEMMA
    | {"image_size": 16, "sliding_window_size": 4, "num_audio_tokens_per_clip": 4}
    | {"audio_encoder": Part("Gemma4AudioEncoder", GEMMA4_AUDIO)},
    "GemmaBackbone": GEMMA,
    "GptOssBackbone": MOE | {"sliding_window": 4, "head_dim": 4},
    "Llama3Backbone": DECODER,
    "LlamaBackbone": DECODER,
    "MetaCLIP2Backbone": {
        "vision_encoder": Part("MetaCLIP2VisionEncoder", VISION),
        "text_encoder": Part("MetaCLIP2TextEncoder", TEXT),
        "projection_dim": 16,
    },
    "MiTBackbone": MIT | IMAGE,
    "MistralBackbone": DECODER,
    "MixtralBackbone": MOE,
    "MobileNetV5Backbone": MOBILE | IMAGE,
    "MoonshineBackbone": ENCODER
    | {"filter_dim": 16, "encoder_num_layers": 2, "decoder_num_layers": 2}
    | {"encoder_num_heads": 4, "decoder_num_heads": 4},
    "OPTBackbone": ENCODER,
    "PARSeqBackbone": {
        "image_encoder": Part("ViTBackbone", VISION | {"mlp_dim": 32, "use_class_token": False}),
        "vocabulary_size": 31,
        "max_label_length": 8,
        "decoder_hidden_dim": 16,
        "num_decoder_layers": 1,
        "num_decoder_heads": 4,
        "decoder_mlp_dim": 32,
    },
    "PaliGemmaBackbone": GEMMA
    | {"image_size": 16, "vit_patch_size": 8, "vit_num_heads": 4, "vit_hidden_dim": 16, "vit_num_layers": 2},
    "PaliGemmaVit": TRANSFORMER
    | {"image_size": 16, "patch_size": 8, "pooling": "map", "num_classes": 5, "dtype": "float32"},
    "Phi3Backbone": DECODER,
    "Qwen3Backbone": GEMMA,
    "Qwen3MoeBackbone": QWEN_MOE,
    "Qwen3_5Backbone": QWEN3_5,
    "Qwen3_5Backbone (vision)": QWEN3_5 | {"vision_encoder": Part("Qwen3_5VisionEncoder", QWEN_VISION)},
    "Qwen3_5MoeBackbone": QWEN3_5 | MOE | {"moe_intermediate_dim": 8, "shared_expert_intermediate_size": 8},
    "QwenBackbone": DECODER,
    "QwenMoeBackbone": QWEN_MOE,
    "RWKV7Backbone": ENCODER
    | {"hidden_size": 16, "head_size": 4, "gate_lora": 8, "mv_lora": 8, "aaa_lora": 8, "decay_lora": 8},
    "RobertaBackbone": ENCODER,
    "RoformerV2Backbone": ENCODER | {"head_size": 4},
    "SAM3PromptableConceptBackbone": SAM3,
    "SAMImageSegmenter": {"backbone": Part("SAMBackbone", SAM)},
    "SegFormerBackbone": {"image_encoder": Part("MiTBackbone", MIT | IMAGE), "projection_filters": 16},
    "SigLIPBackbone": {
        "vision_encoder": Part("SigLIPVisionEncoder", VISION),
        "text_encoder": Part("SigLIPTextEncoder", TEXT | {"projection_dim": 16}),
    },
    "SmolLM3Backbone": DECODER | SMOLLM3,
    "StableDiffusion3Backbone": STABLE_DIFFUSION,
    "SwinTransformerBackbone": IMAGE
    | {"patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    "T5Backbone": ENCODER,
    "T5Gemma2Backbone": T5GEMMA,
    "T5GemmaBackbone": T5GEMMA,
    "VAEBackbone": VAE,
    "ViTBackbone": VISION | {"mlp_dim": 32},
    "ViTDetBackbone": VIT_DET | IMAGE,
    "VideoPrismBackbone": VISION
    | {"num_frames": 3, "num_spatial_layers": 1, "num_temporal_layers": 1, "num_auxiliary_layers": 1}
    | {"vocabulary_size": 31, "num_text_layers": 1, "attention_logit_soft_cap": 50.0},
    "WhisperBackbone": ENCODER
    | {"num_mels": 8, "max_encoder_sequence_length": 16, "max_decoder_sequence_length": 8},
    "XLMRobertaBackbone": ENCODER,
    "XLNetBackbone": ENCODER,
}

STEPS = np.arange(8)[None].repeat(2, 0)
FIRST, IS_FIRST = STEPS[:, :4], (STEPS < 4).astype("int32")
SEEN = {"vision_indices": FIRST, "vision_mask": IS_FIRST}
HEARD = {"audio_indices": FIRST, "audio_mask": IS_FIRST}
GRID = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(1, 1, 16, 2).repeat(2, 0)
BOXES = np.array([[[sample, 0.5, 0.5, 0.5, 0.5]] for sample in range(2)], "float32")
# Shapes that the models leave open, and what noise would not do for.
INPUTS = {
    "Gemma3Backbone (vision)": SEEN | {"images": (1, 16, 16, 3)},
    "Gemma3nBackbone": {"images": (1, 32, 32, 3), "input_features": (1, 16, 16)}
    | {"input_features_mask": np.zeros((2, 1, 16), bool)},
    "Gemma4Backbone (audio)": HEARD
    | {"audio_mel": (1, 16, 8), "audio_mel_mask": (1, 16), "position_ids": STEPS},
    "Gemma4Backbone (vision)": SEEN
    | {"pixel_values": (1, 16, 48), "pixel_position_ids": GRID, "position_ids": STEPS},
    "MoonshineBackbone": {"encoder_input_values": (4000, 1), "encoder_padding_mask": (4000,)},
    "Qwen3_5Backbone (vision)": {"pixel_values": (16, 2, 4, 4, 3), "vision_indices": FIRST}
    | {"image_grid_thw": np.array([[[1, 4, 4]]] * 2, "int32")},
    "SAM3PromptableConceptBackbone": {"boxes": BOXES, "box_labels": np.zeros((2, 1), "int32")},
    "SAMImageSegmenter": {"points": (1, 2), "labels": np.ones((2, 1), "float32")}
    | {"boxes": (1, 2, 2), "masks": (0, 32, 32, 1)},
    "VAEBackbone": {"": (32, 32, 3)},
    "WhisperBackbone": {"encoder_features": (16, 8)},
}


def hub_classes():
    """`{(module, name): class}` of all that the modules of keras-hub's layers and models define."""
    import keras_hub.src

    root, found = Path(keras_hub.src.__file__).parent, {}
    for path in sorted((*root.glob("layers/**/*.py"), *root.glob("models/**/*.py"))):
        name = ".".join(("keras_hub.src", *path.relative_to(root).with_suffix("").parts))
        for cls in vars(importlib.import_module(name)).values():
            if inspect.isclass(cls) and cls.__module__ == name:
                found[name, cls.__name__] = cls
    return found


def hub_backbones(names=BACKBONES):
    """`(name, model, inputs)` of each; a model that could not be built is an exception."""
    import keras

    classes = {name: cls for (_, name), cls in hub_classes().items()}
    for name in names:
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        try:
            model = _built(Part(name.split()[0], BACKBONES[name]), classes)
            if not isinstance(model, keras.Model):  # a layer that does without one
                x = keras.Input(batch_shape=(2, 4, 4, 16))
                model = keras.Model(x, model(x))
            takes = model.input
            if isinstance(takes, list):
                takes = {one.name: one for one in takes}
            elif not isinstance(takes, dict):
                takes = {"": takes}
            inputs = {key: _input(key, one, INPUTS.get(name, {}).get(key), rng) for key, one in takes.items()}
            yield name, model, inputs.get("", inputs)
        except Exception as error:
            yield name, error, None


def _built(part, classes):
    """A model or a layer of keras-hub; arguments that its class does not know are those of its likes."""
    cls, arguments = classes[part.name], {}
    known = inspect.signature(cls.__init__).parameters
    for name, value in part.arguments.items():
        if name not in known:
            continue
        if isinstance(value, Part):
            value = _built(value, classes)
            value = value.get_config() if name.endswith("_config") else value
        arguments[name] = value
    return cls(**arguments)


def _input(name, tensor, given, rng):
    """Two samples of eight steps: tokens, masks that hide nothing, or noise."""
    if isinstance(given, np.ndarray):
        return given
    shape = (2, *(given or (8 if n is None else n for n in tensor.shape[1:])))
    if "mask" in name or "segment" in name:
        return np.full(shape, "mask" in name, tensor.dtype)
    if tensor.dtype.startswith("int"):
        return rng.integers(1, 29, shape)
    return rng.normal(size=shape).astype("float32")
