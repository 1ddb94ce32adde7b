"""BertConfig and BertEncoder against the reference's arguments, names and numbers."""

import functools
import json
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from support.checkpoints.networks import arrays_of
from support.commands import DATA

from model.checkpoints.families import family_of
from model.network.config import PRESETS, BertConfig
from model.network.encoder import INPUT_NAMES, BertEncoder

ORACLE = DATA / "oracle"
TINY = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_layers": 2,
    "num_attention_heads": 4,
    "inner_dim": 32,
    "max_sequence_length": 16,
    "type_vocab_size": 2,
}


def inputs(name: str) -> dict[str, np.ndarray]:
    sets = arrays_of(ORACLE / "inputs.npz")
    return {key: sets[f"{name}/{key}"] for key in INPUT_NAMES}


@functools.cache
def tiny() -> BertEncoder:
    """For tests that change no weight of it."""
    return BertEncoder(**TINY)


@functools.cache
def regressor() -> BertEncoder:
    """The same, with the weights of a case."""
    return restored("reg1_pooler_v1")


def restored(case: str, **arguments: object) -> BertEncoder:
    encoder = BertEncoder(**TINY, **arguments)
    holder = tf.train.Checkpoint(_network=encoder)
    tf.train.Checkpoint(model=holder).read(str(ORACLE / case / "ckpt_model" / "ckpt")).expect_partial()
    return encoder


@pytest.mark.parametrize("name", ["main", "short", "full", "one", "main_pad16", "edge_allzero_mask", "edge_type_oob"])
def test_both_outputs_equal_the_reference(name: str) -> None:
    expected = arrays_of(ORACLE / "reg1_pooler_v1" / f"outputs_{name}.npz")
    sequence, pooled = regressor()(inputs(name))
    np.testing.assert_allclose(sequence, expected["sequence_output"], atol=1e-5)
    np.testing.assert_allclose(pooled, expected["pooled_output"], atol=1e-5)


def test_dict_outputs_hold_every_layer() -> None:
    expected = arrays_of(ORACLE / "cls3_pooler_v2" / "outputs_main.npz")
    outputs = restored("cls3_pooler_v2", dict_outputs=True)(inputs("main"))
    assert set(outputs) == {"sequence_output", "pooled_output", "encoder_outputs"}
    np.testing.assert_allclose(np.stack(outputs["encoder_outputs"]), expected["encoder_outputs"], atol=1e-5)


def test_list_outputs_hold_every_layer_on_request() -> None:
    layers, pooled = BertEncoder(**TINY, return_all_encoder_outputs=True)(inputs("one"))
    assert [tuple(layer.shape) for layer in layers] == [(1, 4, 16)] * 2
    assert tuple(pooled.shape) == (1, 16)


def test_output_range_computes_only_the_first_rows_of_the_last_layer() -> None:
    expected = arrays_of(ORACLE / "output_range1_v1" / "outputs_main.npz")
    sequence, pooled = restored("output_range1_v1", output_range=1)(inputs("main"))
    assert tuple(sequence.shape) == (6, 1, 16)
    np.testing.assert_allclose(pooled, expected["pooled_output"], atol=1e-5)


def test_inputs_carry_the_reference_names() -> None:
    assert [i.name for i in tiny().inputs] == list(INPUT_NAMES)


def test_the_name_gelu_is_exact_and_the_default_approximate() -> None:
    default, exact = regressor(), restored("reg1_pooler_v1", inner_activation="gelu")
    difference = np.abs(default(inputs("main"))[0] - exact(inputs("main"))[0]).max()
    assert 1e-5 < difference < 1e-2


def test_a_narrow_embedding_is_projected() -> None:
    encoder = BertEncoder(**TINY, embedding_width=8)
    assert tuple(encoder.get_embedding_table().shape) == (64, 8)
    assert tuple(encoder(inputs("one"))[0].shape) == (1, 4, 16)


def test_norm_first_leaves_the_last_sum_unnormalised() -> None:
    encoder = BertEncoder(**TINY, norm_first=True, initializer=tf_keras.initializers.RandomNormal(stddev=1.0))
    assert np.asarray(encoder(inputs("main"))[0]).std() > 1.5
    assert np.asarray(tiny()(inputs("main"))[0]).std() == pytest.approx(1, abs=0.01)


def test_public_parts_are_the_ones_in_use() -> None:
    encoder = tiny()
    assert encoder.get_embedding_layer().embeddings is encoder.get_embedding_table()
    assert len(encoder.transformer_layers) == 2
    assert isinstance(encoder.pooler_layer, tf_keras.layers.Dense)
    assert tuple(encoder.pooler_layer.kernel.shape) == (16, 16)


def test_defaults_are_the_reference_defaults() -> None:
    config = BertEncoder(vocab_size=10, hidden_size=4, num_layers=1, num_attention_heads=1).get_config()
    assert config["type_vocab_size"] == 16
    assert (config["inner_dim"], config["max_sequence_length"]) == (3072, 512)
    assert (config["output_dropout"], config["attention_dropout"]) == (0.1, 0.1)


def test_config_round_trip_survives_json() -> None:
    encoder = BertEncoder(**TINY, dict_outputs=True)
    again = BertEncoder.from_config(json.loads(json.dumps(encoder.get_config())))
    again.set_weights(encoder.get_weights())
    assert again.get_config() == encoder.get_config()
    np.testing.assert_array_equal(again(inputs("main"))["pooled_output"], encoder(inputs("main"))["pooled_output"])


def test_trap_10_a_row_longer_than_the_positions_is_refused() -> None:
    ids = np.ones((1, 17), np.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="16 positions"):
        tiny()(dict.fromkeys(INPUT_NAMES, ids))


def test_trap_10_a_token_outside_the_vocabulary_is_refused() -> None:
    batch = inputs("one") | {"input_word_ids": np.full((1, 4), 64, np.int32)}
    with pytest.raises(tf.errors.InvalidArgumentError):
        tiny()(batch)


@pytest.mark.parametrize("value", [2, -1, 0.5, float("nan")])
def test_trap_10_a_mask_value_other_than_0_and_1_is_refused(value: float) -> None:
    batch = inputs("one") | {"input_mask": np.array([[1, 1, value, 0]])}
    encoder = tiny()
    for call in (encoder, tf.function(encoder)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"input_mask has values other than 1 .text. and 0"):
            call(batch)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32, np.bool_])
def test_a_mask_of_0_and_1_may_have_any_type(kind: type) -> None:
    encoder = regressor()
    batch = inputs("main")
    expected = arrays_of(ORACLE / "reg1_pooler_v1" / "outputs_main.npz")["pooled_output"]
    pooled = encoder(batch | {"input_mask": batch["input_mask"].astype(kind)})[1]
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_trap_10_a_type_id_out_of_range_adds_nothing() -> None:
    encoder = restored("reg1_pooler_v1")
    far = encoder(inputs("edge_type_oob"))[1]
    table = encoder._type_embedding_layer.embeddings
    table.assign(tf.zeros_like(table))
    batch = inputs("edge_type_oob")
    np.testing.assert_array_equal(far, encoder(batch | {"input_type_ids": np.zeros_like(batch["input_type_ids"])})[1])


def test_trap_5_a_positional_list_of_inputs_is_refused() -> None:
    with pytest.raises(TypeError, match="A list has no safe order"):
        tiny()(list(inputs("one").values()))


@pytest.fixture
def mixed_precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """Makes a dtype policy of Keras the global one."""
    tf_keras.mixed_precision.set_global_policy(f"mixed_{request.param}")
    yield request.param
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mixed_precision", ["float16", "bfloat16"], indirect=True)
@pytest.mark.parametrize("norm_first", [False, True])
def test_mixed_precision_keeps_norms_and_weights_in_float32(mixed_precision: str, norm_first: bool) -> None:
    encoder = BertEncoder(**TINY, norm_first=norm_first)
    sequence, pooled = encoder(inputs("main"))
    assert pooled.dtype == mixed_precision
    # With the norm first the last step is a sum that no norm follows.
    assert sequence.dtype == (mixed_precision if norm_first else "float32")
    assert {weight.dtype for weight in encoder.weights} == {tf.float32}
    assert np.isfinite(sequence).all()


def test_the_older_names_of_arguments_are_taken() -> None:
    names = {"intermediate_size": 8, "activation": "relu", "dropout_rate": 0.2, "attention_dropout_rate": 0.3}
    config = BertEncoder(**TINY, **names).get_config()
    assert (config["inner_dim"], config["inner_activation"]) == (8, "relu")
    assert (config["output_dropout"], config["attention_dropout"]) == (0.2, 0.3)
    with pytest.raises(ValueError, match="max_sequence_length is None"):
        BertEncoder(**{**TINY, "max_sequence_length": None})


def test_a_config_makes_an_encoder_with_norm_first_and_a_narrow_embedding() -> None:
    config = BertConfig(**TINY, norm_first=True, embedding_width=8)
    found = BertEncoder.from_bert_config(config).get_config()
    assert (found["norm_first"], found["embedding_width"]) == (True, 8)
    assert (config.width, config.replace(embedding_width=None).width) == (8, 16)


# === BertConfig ===


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("tiny", 4_385_920), ("mini", 11_170_560), ("small", 28_763_648)],
)
def test_presets_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    assert BertEncoder.from_bert_config(BertConfig.preset(name)).count_params() == parameters


def test_every_preset_is_valid_and_can_be_changed() -> None:
    for name in PRESETS:
        assert BertConfig.preset(name, vocab_size=7).vocab_size == 7
    with pytest.raises(ValueError, match=r"'huge'.*tiny"):
        BertConfig.preset("huge")


def test_config_dict_round_trip_refuses_unknown_and_missing_keys() -> None:
    config = BertConfig.preset("tiny", activation="gelu_erf", use_encoder_pooler=False)
    fields = json.loads(json.dumps(config.to_dict()))
    assert BertConfig.from_dict(fields) == config
    with pytest.raises(ValueError, match="hiden_size"):
        BertConfig.from_dict(fields | {"hiden_size": 1})
    with pytest.raises(ValueError, match="needs vocab_size"):
        BertConfig.from_dict({k: v for k, v in fields.items() if k != "vocab_size"})


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 0},
        {"hidden_size": 12.0},
        {"num_layers": True},
        {"num_attention_heads": 5},
        {"activation": "gelu"},
        {"output_dropout": 1.0},
        {"attention_dropout": "0.1"},
        {"initializer_range": 0},
        {"use_encoder_pooler": 1},
        {"norm_first": 1},
        {"embedding_width": 0},
    ],
)
def test_impossible_values_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        BertConfig.preset("tiny", **changes)


HUGGING_FACE = {"model_type": "bert", "hidden_size": 16, "num_attention_heads": 2, "hidden_act": "gelu"}


@pytest.mark.parametrize(("name", "activation"), [("gelu", "gelu_erf"), ("gelu_new", "gelu_tanh"), ("relu", "relu")])
def test_hugging_face_names_of_activations_are_understood(name: str, activation: str) -> None:
    assert BertConfig.from_hugging_face(HUGGING_FACE | {"hidden_act": name}).activation == activation


@pytest.mark.parametrize(
    "changes",
    [
        {"position_embedding_type": "relative_key"},
        {"layer_norm_eps": 1e-5},
        {"hidden_act": "silu"},
        {"is_decoder": True},
    ],
)
def test_a_hugging_face_model_with_another_formula_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        BertConfig.from_hugging_face(HUGGING_FACE | changes)


@pytest.mark.parametrize("name", ["roberta", None, "Bert"])
def test_a_model_of_another_family_is_refused(name: str | None) -> None:
    assert family_of(HUGGING_FACE).name == "BERT"
    with pytest.raises(ValueError, match=f"model_type is {name!r}, but only 'bert', 'distilbert', 'electra' can be"):
        family_of(HUGGING_FACE | {"model_type": name})
