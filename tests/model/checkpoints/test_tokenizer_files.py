"""Tokenizer files beside a checkpoint: read where ours do the same, refused where they do not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints.tokenizer_files import TOKENS, settings_json, template, tokenizer_json

from model.checkpoints.tokenizer_files import read_tokenizer
from model.errors import CheckpointError


def folder_with(
    tmp_path: Path,
    *,
    tokenizer: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    tokens: list[str] | None = TOKENS,
) -> Path:
    if tokens is not None:
        (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", settings)):
        if content is not None:
            (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def read(**found: Any) -> dict[str, Any]:
    """What is read of a folder that says nothing but `found`."""
    return {"vocabulary": None, "lower_case": None, "strip_accents": None, "seq_length": None, **found}


@pytest.mark.parametrize("lower_case", [True, False])
def test_the_files_of_a_standard_tokenizer_agree_on_vocabulary_and_case(tmp_path: Path, lower_case: bool) -> None:
    settings = {"do_lower_case": lower_case, "tokenize_chinese_chars": True, "strip_accents": None}
    tokenizer = tokenizer_json(normalizer__lowercase=lower_case)
    found = read_tokenizer(folder_with(tmp_path, tokenizer=tokenizer, settings=settings), 7)
    assert found == read(vocabulary=tuple(TOKENS), lower_case=lower_case)


def test_tokenizer_json_alone_has_the_vocabulary_and_the_options(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, tokenizer=tokenizer_json(), tokens=None)
    assert read_tokenizer(folder, 7) == read(vocabulary=tuple(TOKENS), lower_case=True)


@pytest.mark.parametrize("with_vocabulary", [True, False])
@pytest.mark.parametrize(("lower_case", "strips"), [(True, None), (True, False), (False, None), (False, True)])
def test_the_two_files_that_transformers_5_writes_say_case_and_accents(
    tmp_path: Path, lower_case: bool, strips: bool | None, with_vocabulary: bool
) -> None:
    tokenizer = tokenizer_json(normalizer__lowercase=lower_case, normalizer__strip_accents=strips)
    settings = settings_json(do_lower_case=lower_case, strip_accents=strips, model_max_length=12)
    tokens = TOKENS if with_vocabulary else None
    found = read_tokenizer(folder_with(tmp_path, tokenizer=tokenizer, settings=settings, tokens=tokens), 7)
    expected = read(vocabulary=tuple(TOKENS), lower_case=lower_case, strip_accents=strips, seq_length=12)
    assert found == expected
    if with_vocabulary:
        (tmp_path / "tokenizer.json").unlink()
        assert read_tokenizer(tmp_path, 7) == expected


def test_files_of_before_an_entry_existed_are_read(tmp_path: Path) -> None:
    tokenizer = tokenizer_json()
    for part, key in (("model", "type"), ("normalizer", "strip_accents")):
        del tokenizer[part][key]
    folder = folder_with(tmp_path, tokenizer=tokenizer, tokens=None)
    assert read_tokenizer(folder, 7) == read(vocabulary=tuple(TOKENS), lower_case=True)


def test_without_files_nothing_is_known(tmp_path: Path) -> None:
    nothing = read()
    assert read_tokenizer(tmp_path, 7) == nothing
    assert read_tokenizer(folder_with(tmp_path), 7) == {**nothing, "vocabulary": tuple(TOKENS)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer__type": "NFC"}, "normalizer.type is 'NFC', but only 'BertNormalizer'"),
        ({"normalizer": None}, "normalizer.type is None"),
        ({"normalizer__clean_text": False}, "normalizer.clean_text is False"),
        ({"normalizer__handle_chinese_chars": False}, "normalizer.handle_chinese_chars is False"),
        ({"normalizer__strip_accents": "no"}, "normalizer.strip_accents is 'no'; it must be true or false"),
        ({"normalizer__lowercase": None}, "normalizer.lowercase is None; it must be true or false"),
        ({"normalizer__replace": {"a": "b"}}, "normalizer.replace is an option that no standard BERT tokenizer has"),
        ({"pre_tokenizer__split": "x"}, "pre_tokenizer.split is an option"),
        ({"model__dropout": 0.1}, "model.dropout is an option"),
        ({"version": "2.0"}, "version is '2.0', but only '1.0'"),
        ({"pre_tokenizer__type": "Whitespace"}, "pre_tokenizer.type is 'Whitespace'"),
        ({"model__type": "BPE"}, "model.type is 'BPE', but only 'WordPiece'"),
        ({"model__max_input_chars_per_word": 200}, "model.max_input_chars_per_word is 200, but only 100"),
        ({"truncation": {"direction": "Left", "max_length": 8}}, "truncation.direction is 'Left'"),
        ({"padding": {"direction": "Left"}}, "padding.direction is 'Left'"),
        ({"post_processor": None}, "post_processor.type is None"),
        ({"post_processor__type": "RobertaProcessing"}, "post_processor.type is 'RobertaProcessing'"),
        ({"post_processor__single": template("A:0 [SEP]:0")}, "post_processor.single is 'A:0 .SEP.:0'"),
        (
            {"post_processor__pair": template("[CLS]:0 A:0 [SEP]:0 B:0 [SEP]:0")},
            "post_processor.pair is .* B:0 .SEP.:0'",
        ),
        ({"post_processor__special_tokens": {"[CLS]": {"ids": [4]}}}, r"special_tokens.\[CLS\] is \[4\]"),
        ({"post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 3], "sep": ["[SEP]", 3]}}, "cls is .*, 3"),
        ({"model": []}, "model.unk_token is None"),
        ({"model": ["WordPiece"]}, r"is no tokenizer as Hugging Face writes it \(TypeError\)"),
        ({"post_processor__single": ["[CLS]"]}, r"is no tokenizer as Hugging Face writes it \(AttributeError\)"),
        ({"added_tokens": [{"id": 3, "content": "[CLS]"}]}, r"numbers \[CLS\] 3, but the vocabulary 2; keep the files"),
        ({"added_tokens": ["<url>"]}, "1 added tokens, first '<url>'"),
        ({"model__unk_token": "<unk>"}, "model.unk_token is '<unk>'"),
        ({"model__continuing_subword_prefix": "@@"}, "continuing_subword_prefix is '@@'"),
        ({"added_tokens": [{"id": 9, "content": "<url>"}]}, "1 added tokens, first '<url>'"),
        ({"model__vocab": {"[PAD]": 0, "a": 2}}, "does not number its 2 tokens from 0 on, each once"),
        ({"model__vocab": {"[PAD]": 0, "a": 1, "b": 1}}, "does not number its 3 tokens from 0 on, each once"),
        ({"model__vocab": {"[PAD]": "0", "a": 1}}, "does not number its 2 tokens"),
        ({"model__vocab": ["[PAD]", "a"]}, r"is no tokenizer as Hugging Face writes it \(AttributeError\)"),
        ({"model__vocab": {"[PAD]": 0, "a": 1}}, r"not \[UNK\], \[CLS\]"),
        ({"model__vocab": {token: i for i, token in enumerate([*TOKENS[::-1]])}}, "not that of vocab.txt"),
    ],
)
def test_a_tokenizer_that_cannot_be_imitated_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"tokenizer\.json: .*{message}"):
        read_tokenizer(folder_with(tmp_path, tokenizer=tokenizer_json(**changes)), 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars is False"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize is False"),
        ({"strip_accents": 0}, "strip_accents is 0; it must be true or false"),
        ({"added_tokens_decoder": {"3": {"content": "[CLS]"}}}, r"numbers \[CLS\] 3, but the vocabulary 2"),
        ({"never_split": ["x"]}, "never_split has 1 words"),
        ({"cls_token": "<s>"}, "cls_token is '<s>'; only '.CLS.'"),
        ({"sep_token": {"content": "</s>"}}, "sep_token is '</s>'"),
        ({"added_tokens_decoder": {"9": {"content": "<url>"}}}, "has 1 added tokens, first '<url>'"),
        ({"additional_special_tokens": ["[E1]"]}, r"has 1 added tokens, first '\[E1\]'"),
        ({"extra_special_tokens": {"entity": "[E1]"}}, r"has 1 added tokens, first '\[E1\]'"),
        ({"truncation_side": "left"}, "truncation_side is 'left', but only 'right'"),
        ({"padding_side": "left"}, "padding_side is 'left', but only 'right'"),
        ({"do_lower_case": "false"}, "do_lower_case is 'false'; it must be true or false"),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class is 'BertJapaneseTokenizer'"),
    ],
)
def test_settings_that_cannot_be_imitated_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"tokenizer_config\.json: {message}"):
        read_tokenizer(folder_with(tmp_path, settings=settings), 7)


FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
UNSAID = "tokenizer_config.json does not say, which BertTokenizer takes for"


@pytest.mark.parametrize(
    ("fast", "settings", "message"),
    [
        ((True, None), {"do_lower_case": False}, "case? tokenizer.json says True, tokenizer_config.json says False"),
        ((False, None), {"do_lower_case": True}, "case? tokenizer.json says False, tokenizer_config.json says True"),
        ((False, None), {**FAST, "do_lower_case": True}, "case? tokenizer.json says False, tokenizer_config.json says"),
        # transformers 5.24 folds case in these two, whatever tokenizer.json says.
        ((False, None), {}, f"is the tokenizer lower case? tokenizer.json says False, {UNSAID} True"),
        ((False, None), None, f"is the tokenizer lower case? tokenizer.json says False, {UNSAID} True"),
        ((True, False), {}, f"does the tokenizer strip accents? tokenizer.json says False, {UNSAID} True"),
        ((True, False), {"do_lower_case": True}, "accents? tokenizer.json says False, tokenizer_config.json says True"),
        ((True, None), {"strip_accents": False}, "accents? tokenizer.json says True"),
        ((True, None), {**FAST, "strip_accents": False}, "accents? tokenizer.json says True"),
        (
            (False, True),
            {"do_lower_case": False},
            "accents? tokenizer.json says True, tokenizer_config.json says False",
        ),
    ],
)
def test_two_files_that_disagree_are_refused(
    tmp_path: Path, fast: tuple[bool, bool | None], settings: dict[str, Any] | None, message: str
) -> None:
    tokenizer = tokenizer_json(normalizer__lowercase=fast[0], normalizer__strip_accents=fast[1])
    with pytest.raises(CheckpointError, match=re.escape(message)):
        read_tokenizer(folder_with(tmp_path, tokenizer=tokenizer, settings=settings), 7)


@pytest.mark.parametrize("place", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(("lower_case", "strips"), [(False, None), (True, False), (False, True)])
def test_a_fast_tokenizer_that_is_nobodys_needs_no_second_file(
    tmp_path: Path, lower_case: bool, strips: bool | None, place: str
) -> None:
    tokenizer = tokenizer_json(normalizer__lowercase=lower_case, normalizer__strip_accents=strips)
    (tmp_path / place).write_text(json.dumps(FAST))
    found = read_tokenizer(folder_with(tmp_path, tokenizer=tokenizer), 7)
    assert (found["lower_case"], found["strip_accents"]) == (lower_case, strips)


def test_a_vocabulary_longer_than_the_embedding_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt: the vocabulary has 7 tokens.*table 6 rows"):
        read_tokenizer(folder_with(tmp_path), 6)


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"2 tokens but not .*\[CLS\]"):
        read_tokenizer(folder_with(tmp_path, tokens=["a", "b"]), 7)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("special_tokens_map.json", {"cls_token": "<s>"}, "cls_token is '<s>'"),
        ("special_tokens_map.json", {"additional_special_tokens": ["[E1]"]}, r"1 added tokens, first '\[E1\]'"),
        ("added_tokens.json", {"<url>": 6}, "1 added tokens, first '<url>'"),
        ("added_tokens.json", {"[CLS]": 3}, r"numbers \[CLS\] 3, but the vocabulary 2"),
        ("config.json", {"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class is 'BertJapaneseTokenizer'"),
    ],
)
def test_the_files_of_older_versions_count_too(
    tmp_path: Path, name: str, content: dict[str, Any], message: str
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=f"{name}: .*{message}"):
        read_tokenizer(folder_with(tmp_path), 7)


def test_what_older_and_newer_files_say_of_a_standard_tokenizer_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"cls_token": {"content": "[CLS]"}}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[MASK]": 4}))
    processor = {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}
    settings = {"tokenizer_class": "BertTokenizerFast", "padding_side": "right", "extra_special_tokens": {}}
    folder = folder_with(tmp_path, tokenizer=tokenizer_json(post_processor=processor), settings=settings)
    assert read_tokenizer(folder, 7)["vocabulary"] == tuple(TOKENS)


@pytest.mark.parametrize(("said", "length"), [(256, 256), (10**30, 10**30), (0, None), ("512", None)])
def test_the_longest_text_is_what_the_tokenizer_says(tmp_path: Path, said: object, length: int | None) -> None:
    assert read_tokenizer(folder_with(tmp_path, settings={"model_max_length": said}), 7)["seq_length"] == length


@pytest.mark.parametrize("token", ["[CLS]", "a", "x\ny", "x\r"])
def test_a_token_whose_number_would_be_another_here_is_refused(tmp_path: Path, token: str) -> None:
    tokens = [*TOKENS[:6], token]
    if tokens.count(token) == 1:
        vocabulary = {token: i for i, token in enumerate(tokens)}
        folder = folder_with(tmp_path, tokenizer=tokenizer_json(model__vocab=vocabulary), tokens=None)
    else:
        folder = folder_with(tmp_path, tokens=tokens)
    with pytest.raises(CheckpointError, match=r"token 6 is .*stands there twice or holds the end of a line"):
        read_tokenizer(folder, 7)


def test_a_vocabulary_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes("\n".join([*TOKENS, "été"]).encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"vocab\.txt: cannot be read as UTF-8 text \(UnicodeDecodeError\)"):
        read_tokenizer(tmp_path, 8)
