"""Data as people have it: tables, folders, names of files, groups, splits; and the tasks that are learned from them."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch

from vqfusion.config import ReadingConfig, ShortConfig
from vqfusion.data import open_dataset
from vqfusion.data.io import write
from vqfusion.data.splits import Unsplit, splits_of
from vqfusion.data.summary import summary
from vqfusion.data.table import read_table
from vqfusion.errors import UserError
from vqfusion.train.fusion.own_data import expand
from vqfusion.types import Sample

MOODS = ("good", "bad")
COLUMNS = {"sentence": "text:en", "mood": "label"}


def sentences(count: int) -> list[tuple[str, str]]:
    return [(f'it is "{i}", {MOODS[i % 2]}\tor so', MOODS[i % 2]) for i in range(count)]


def csv_of(rows: list[tuple[str, str]], delimiter: str = ",", header: tuple[str, str] = ("sentence", "mood")) -> str:
    quoted = [[('"' + cell.replace('"', '""') + '"') for cell in row] for row in (header, *rows)]
    return "".join(delimiter.join(row) + "\n" for row in quoted)


def held(dataset) -> set[tuple]:
    return {tuple(sorted((slot, one.load(slot).data) for slot in one.slots)) for one in dataset.records}


def parquet(path: Path, rows: list[tuple[str, str]]) -> None:
    import pyarrow
    from pyarrow import parquet

    features = {
        "sentence": {"dtype": "string", "_type": "Value"},
        "mood": {"names": list(MOODS), "_type": "ClassLabel"},
    }
    table = pyarrow.table({"sentence": [one for one, _ in rows], "mood": [MOODS.index(two) for _, two in rows]})
    about = json.dumps({"info": {"features": features}})
    parquet.write_table(table.replace_schema_metadata({"huggingface": about}), path)


def arrow(path: Path, rows: list[tuple[str, str]]) -> None:
    """As `datasets.save_to_disk` writes it: a stream in a folder, with JSON beside it."""
    import pyarrow

    (path / "train").mkdir(parents=True)
    (path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    table = pyarrow.table({"sentence": [one for one, _ in rows], "mood": [two for _, two in rows]})
    with pyarrow.ipc.new_stream(str(path / "train" / "data-00000-of-00001.arrow"), table.schema) as out:
        out.write_table(table)


def test_every_form_gives_the_same_records(tmp_path):
    rows = sentences(40)
    (tmp_path / "a.csv").write_text(csv_of(rows))
    (tmp_path / "b.csv").write_bytes(csv_of(rows, ";").replace("\n", "\r\n").encode("utf-16"))
    (tmp_path / "c.tsv").write_text(csv_of(rows, "\t"))
    lines = [json.dumps({"sentence": one, "mood": two}) for one, two in rows]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    parquet(tmp_path / "e.parquet", rows)
    arrow(tmp_path / "f", rows)
    reading = ReadingConfig(columns=COLUMNS)
    opened = [open_dataset(tmp_path / name, reading) for name in ("a.csv", "b.csv", "c.tsv", "d.jsonl", "e.parquet")]
    for one in opened:
        assert held(one) == held(opened[0]) and len(one.records) == 40
        assert Counter(record.split for record in one.records) == Counter(record.split for record in opened[0].records)
    assert held(open_dataset(tmp_path / "f", reading)) == held(opened[0])
    (tmp_path / "g.csv").write_text(csv_of(rows, header=("text", "label")))
    assert held(open_dataset(tmp_path / "g.csv")) == held(opened[0]), "columns that are called as their slots"


def test_quotes_in_a_tsv_are_letters_where_the_lines_fit(tmp_path):
    lines = [f'the "{i}\t{MOODS[i % 2]}' for i in range(20)]
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    assert {record.load("text:en").data for record in open_dataset(tmp_path / "a.tsv").records} == {
        f'the "{i}' for i in range(20)
    }


def test_what_is_empty_or_lost_is_counted(tmp_path):
    rows = [f"a {i},{'nan' if i == 3 else '' if i == 4 else 'x' if i % 2 else 'y'},7" for i in range(300)]
    (tmp_path / "a.csv").write_text("text,label,id\n" + "\n".join([*rows, "one cell"]) + "\n")
    dataset = open_dataset(tmp_path / "a.csv", ReadingConfig(columns={"text": "text", "label": "label"}))
    assert len(dataset.records) == 300 and len(dataset.select(slots=("label",))) == 298
    said = dict(summary(dataset))
    assert said["records"].startswith("300: ") and said["not used"] == "columns id"
    assert said["label"] == "2 names: 'y' 50 %, 'x' 50 %; 2 records have none"
    dropped = [text for topic, text in dataset.remarks if topic == "dropped"]
    assert any("2 cells of 'label' are empty or NaN" in text and "line 5" in text for text in dropped)
    assert any("1 rows with too many or too few cells (the first: line 302)" in text for text in dropped)


def test_signals_in_a_table_are_files_or_bytes(tmp_path):
    tone = torch.sin(torch.arange(800) / 5)[None]
    for i in range(12):
        write(Sample("audio", 0.5 * tone, sample_rate_hz=8000 if i % 2 else 16000), tmp_path / f"{i}.wav")
    (tmp_path / "a.csv").write_text("audio,digit\n" + "".join(f"{i}.wav,{i % 3}\n" for i in range(13)))
    dataset = open_dataset(tmp_path / "a.csv", ReadingConfig(columns={"audio": "audio", "digit": "digit"}))
    assert dataset.slots() == ("audio", "digit") and len(dataset.select(slots=("audio",))) == 12
    said = dict(summary(dataset))
    assert "8,000 Hz (6)" in said["audio"] and "resampled to one rate" in said["audio"]
    assert "files of 'audio' that do not exist" in said["dropped"]
    import pyarrow
    from pyarrow import parquet

    cells = [{"bytes": (tmp_path / f"{i}.wav").read_bytes(), "path": f"{i}.wav"} for i in range(12)]
    parquet.write_table(pyarrow.table({"audio": cells, "speaker": ["a", "b", "c"] * 4}), tmp_path / "b.parquet")
    packed = open_dataset(tmp_path / "b.parquet", ReadingConfig(group="speaker"))
    assert packed.records[0].load("audio").data.shape == (1, 800)
    assert len({(record.load("speaker").data, record.split) for record in packed.records}) == 3


def test_names_of_files_and_folders_are_slots_and_groups(tmp_path):
    tone = Sample("audio", 0.5 * torch.sin(torch.arange(400) / 5)[None], sample_rate_hz=8000)
    for digit in range(3):
        for speaker in ("ann", "bob", "cy"):
            for take in range(2):
                write(tone, tmp_path / f"{digit}_{speaker}_{take}.wav")
    write(tone, tmp_path / "silence.wav")
    reading = ReadingConfig(files="{text:en}_{speaker}_{}", group="speaker")
    dataset = open_dataset(tmp_path, reading)
    assert dataset.slots() == ("audio", "text:en", "speaker") and len(dataset.records) == 18
    assert dataset.records[0].load("text:en").data in "012"
    speakers = {
        split: {one.load("speaker").data for one in dataset.select(split)} for split in ("train", "val", "test")
    }
    assert sorted(len(ones) for ones in speakers.values()) == [1, 1, 1] and len(set.union(*speakers.values())) == 3
    assert "1 files whose name is not like" in dict(dataset.remarks)["dropped"]
    for part in ("train", "valid", "test"):
        (tmp_path / "sorted" / part / "one").mkdir(parents=True)
        for i in range(5):
            write(tone, tmp_path / "sorted" / part / "one" / f"{i}.wav")
            (tmp_path / "sorted" / part / "one" / f"{i}.lab").write_text("a tone")
    dataset = open_dataset(tmp_path / "sorted")
    assert Counter(one.split for one in dataset.records) == {"train": 5, "val": 5, "test": 5}
    assert {one.load("label").data for one in dataset.records} == {"one"}
    assert {one.load("text:en").data for one in dataset.records} == {"a tone"}
    dataset = open_dataset(tmp_path / "sorted", ReadingConfig(folders="site/speaker", group="site"))
    assert dataset.slots() == ("audio", "site", "speaker", "text:en")


def test_texts_in_folders_are_records(tmp_path):
    for i in range(20):
        (tmp_path / MOODS[i % 2]).mkdir(exist_ok=True)
        (tmp_path / MOODS[i % 2] / f"{i}.txt").write_text(f"text {i}")
    dataset = open_dataset(tmp_path)
    assert dataset.slots() == ("label", "text:en") and len(dataset.records) == 20


def test_a_lone_held_out_part_is_the_test_part(tmp_path):
    for name, count in (("train", 60), ("dev", 20)):
        header = ("sentence" if name == "train" else "content", "mood")
        (tmp_path / f"{name}.tsv").write_text(
            csv_of([(f"{name} {i}", MOODS[i % 2]) for i in range(count)], "\t", header)
        )
    dataset = open_dataset(tmp_path, ReadingConfig(columns={"sentence": "text", "content": "text", "mood": "label"}))
    texts = {split: {one.load("text:en").data for one in dataset.select(split)} for split in ("train", "val", "test")}
    assert texts["test"] == {f"dev {i}" for i in range(20)} and 3 <= len(texts["val"]) <= 12


@pytest.mark.parametrize("groups", [2, 3, 6, 30, 200])
def test_groups_never_cross_splits_and_no_part_is_empty(groups):
    records = [Unsplit(None, f"g{min(i % groups, i // 7 % groups)}") for i in range(600)]
    splits, _ = splits_of(records, "site", "x")
    parts = {
        split: {one.group for one, own in zip(records, splits, strict=True) if own == split} for split in set(splits)
    }
    assert parts["train"] and parts["test"] and (len(parts) == 3 or groups == 2)
    assert sum(map(len, parts.values())) == len({one.group for one in records})
    again, _ = splits_of(list(reversed(records)), "site", "x")
    assert list(reversed(again)) == splits


MISTAKES = {
    "missing column": ({"columns": {"text": "text", "mod": "label"}}, "", "no column 'mod'; it has text, mood, where"),
    "unknown meaning": ({}, "", "column 'mood' has no known meaning.*`columns: {text: text:en, mood: label, where:"),
    "group that is absent": ({"columns": {"text": "text"}, "group": "site"}, "", "no column 'site' to group by"),
    "group of one": ({"columns": {"text": "text"}, "group": "where"}, "", "all records are of one where"),
    "no value": ({"columns": {"text": "text", "empty": "label"}}, "", "column 'empty' has no value in any row"),
    "twice": ({"columns": {"text": "text", "mood": "text"}}, "", "columns 'text' and 'mood' are both text:en"),
    "three records": (
        {"columns": {"text": "text"}},
        "text,mood,where,empty\na,b,c,\nb,b,c,\nc,b,c,\n",
        "3 records are",
    ),
    "no split": ({"columns": {"text": "text", "mood": "split"}}, "", "'good' is no split"),
    "no train": (
        {"columns": {"text": "text", "split": "split"}},
        "text,split\n" + "".join(f"{i},test\n" for i in range(20)),
        "no record is in train",
    ),
    "group in two splits": (
        {"columns": {"text": "text", "split": "split"}, "group": "who"},
        "text,split,who\n" + "".join(f"{i},{'test' if i % 2 else 'train'},ann\n" for i in range(20)),
        "who 'ann' is in train and in test",
    ),
    "cells": ({"columns": {"text": "text"}}, "text,mood\n" + "a,b,c\n" * 20, "line 2: 3 cells where the header has 2"),
    "nothing": ({"columns": {"text": "text"}}, "text,mood\n", "holds no rows"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, mistake):
    reading, content, words = MISTAKES[mistake]
    rows = [f"text {i},{MOODS[i % 2]},here," for i in range(20)]
    (tmp_path / "a.csv").write_text(content or "text,mood,where,empty\n" + "\n".join(rows) + "\n")
    with pytest.raises(UserError, match=words) as caught:
        open_dataset(tmp_path / "a.csv", ReadingConfig(**reading))
    assert "\n" not in str(caught.value)


def test_a_slot_that_is_misspelt_or_has_too_many_names_is_told(tmp_path):
    with pytest.raises(ValueError, match="'txet:en' is no slot"):
        ReadingConfig(columns={"a": "txet:en"})
    (tmp_path / "a.csv").write_text(csv_of([(f"s {i}", MOODS[i % 2]) for i in range(300)]))
    reading = {"columns": {"sentence": "words", "mood": "label"}}
    with pytest.raises(UserError, match=r"'words' has 2\d\d names in 2\d\d records, too many.*text:en"):
        expand(
            ShortConfig(name="x", data="a.csv", **reading), open_dataset(tmp_path / "a.csv", ReadingConfig(**reading))
        )


def chain(tmp_path: Path, content: str, **more):
    (tmp_path / "a.csv").write_text(content)
    short = ShortConfig(name="x", data="a.csv", size="tiny", **more)
    return expand(short, open_dataset(tmp_path / "a.csv", short.reading))


def asked(config) -> set[str]:
    return {"+".join(row.given) + ">" + ",".join([*row.target, *sum(row.also, ())]) for row in config.draws}


def test_draws_follow_the_tasks(tmp_path):
    content = "text:en,text:de,label,site\n" + "".join(f"t {i},s {i},{i % 2},{i % 3}\n" for i in range(40))
    columns = {"text:en": "text:en", "text:de": "text:de", "label": "label", "site": "site"}
    both = chain(tmp_path, content, languages=("en", "de"), columns=columns, tasks=("translate",))
    assert (
        asked(both) == {"text:en>text:de,length:de", "text:de>text:en,length:en"} and "label" not in both.fusion.slots
    )
    one = chain(tmp_path, content, columns={"text:en": "text:en", "label": "label", "site": "site"})
    assert asked(one) == {"text:en>label,site"}, "one language and names: to classify"
    assert set(one.fusion.slots) == {"text:en", "label", "site"}, "no length is learned that nobody asks for"
    more = chain(tmp_path, content, columns=columns, tasks=("label + site -> text:en", "write"))
    assert asked(more) == {"label+site>text:en,length:en", ">text:en,length:en"}
    for tasks, words in (
        (("transcribe",), "the data have not what transcribe needs; they have text:en, label, site"),
        (("sing",), "no task 'sing'; use imagine, describe, speak"),
        (("label -> picture",), "no slot 'picture'"),
    ):
        with pytest.raises(UserError, match=words):
            chain(tmp_path, content, columns={k: columns[k] for k in ("text:en", "label", "site")}, tasks=tasks)


def test_parquet_under_any_name_and_damaged_is_one_line(tmp_path):
    named = tmp_path / os.fsdecode(b"caf\xe9.parquet")  # a name that is not UTF-8
    parquet(tmp_path / "a.parquet", sentences(12))
    (tmp_path / "a.parquet").rename(named)
    assert len(read_table(named).rows) == 12
    whole = named.read_bytes()
    for damaged in (whole[:40], whole[:-20] + bytes(20)):
        named.write_bytes(damaged)
        with pytest.raises(UserError, match="is no Parquet table, or is broken"):
            read_table(named)
