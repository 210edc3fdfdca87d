"""Series in files: values that are not asked for stay as they stood, time is what the stamps say, nothing is lost."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vqfusion.data import read, write
from vqfusion.errors import UserError
from vqfusion.models.restoration.autoregressive import fill_gaps
from vqfusion.tasks import TASKS
from vqfusion.types import Sample


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def filled(path: str = "a.csv", to: str = "b.csv") -> Sample:
    """The file with its gaps filled in as `inpaint` does, written to `to`."""
    sample = read(path, "series", keep=True)
    known = sample.data.isfinite()
    made = torch.where(known, sample.data, fill_gaps(sample.data[:, None], known[:, None])[:, 0].to(sample.data))
    write(replace(sample, data=made), to, force=True)
    return sample


def table(times: list[str], gap: int | None = 12, header: str = "time,x", end: str = "\n") -> str:
    rows = [f"{time},{'' if i == gap else f'{5 + np.sin(i / 3):.3f}'}" for i, time in enumerate(times)]
    return end.join([header, *rows]) + end


DIALECTS = {
    "precision": (
        "time,lat,big\n" + "".join(f"{i},52.5200066{i:02d},101325000.19{i % 10}\n" for i in range(30)),
        "utf-8",
    ),
    "semicolons, decimal comma": ("Zeit;Wert\n" + "".join(f"{i};{i},50\n" for i in range(30)), "utf-8"),
    "tabs, Windows ends": ("t\tx\r\n" + "".join(f"{i}\t{i * 0.1:.2f}\r\n" for i in range(30)), "utf-8"),
    "quotes": ('"time","a, b"\n' + "".join(f'"{i}","{i}.25"\n' for i in range(30)), "utf-8"),
    "byte order mark": ("\ufefftime,x\n" + "".join(f"{i},{i}\n" for i in range(30)), "utf-8"),
    "Excel's Unicode": ("\ufefftime\tx\r\n" + "".join(f"{i}\t{i}\r\n" for i in range(30)), "utf-16-le"),
    "Latin 1": ("time,°C\n" + "".join(f"{i},{i}.5\n" for i in range(30)), "latin-1"),
    "remarks, empty lines, sep": (
        "sep=;\n# made by hand\ntime;x\n\n" + "".join(f"{i};{i}\n" for i in range(30)),
        "utf-8",
    ),
    "thousands": ("time;x\n" + "".join(f"{i};1.0{i:02d},5\n" for i in range(30)), "utf-8"),
    "no end of line": ("time,x\n" + "\n".join(f"{i},{i}" for i in range(30)), "utf-8"),
    "spaces": ("time, x\n" + "".join(f"{i}, {i}.0\n" for i in range(30)), "utf-8"),
    "exponents": ("time,x\n" + "".join(f"{i},{1 + i / 7:.4e}\n" for i in range(30)), "utf-8"),
    "text column": ("time,station,x,empty\n" + "".join(f"{i},Aotizhongxin,{i}.0,\n" for i in range(30)), "utf-8"),
    "signs, bare points": ("time,x\n" + "".join(f"{i},{'+' if i % 2 else '-'}.{i}\n" for i in range(30)), "utf-8"),
    "index of a data frame": (",x\n" + "".join(f"{i},{i}.5\n" for i in range(30)), "utf-8"),
}


@pytest.mark.parametrize("case", DIALECTS)
def test_cells_that_do_not_change_stay_as_they_stood(case):
    text, encoding = DIALECTS[case]
    Path("a.csv").write_bytes(text.encode(encoding))
    sample = read("a.csv", keep=True)
    write(sample, "b.csv")
    assert Path("b.csv").read_bytes() == Path("a.csv").read_bytes()
    write(replace(sample, data=sample.data + torch.eye(30)[20] * 7), "c.csv")
    before, after = (Path(name).read_bytes().decode(encoding).splitlines() for name in ("a.csv", "c.csv"))
    changed = [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    assert len(changed) == 1, "one line alone is another"
    again = read("c.csv", keep=True)
    assert torch.allclose(again.data[:, 20], sample.data[:, 20] + 7, atol=1e-3)


def test_new_cells_are_written_like_their_column():
    rows = "".join(
        f"{i};{'' if i == 40 else f'{1234 + i}'};{'NA' if i == 40 else f'{i / 4:.2f}'.replace('.', ',')}\n"
        for i in range(80)
    )
    Path("a.csv").write_text("time;count;x\n" + rows)
    filled()
    assert Path("b.csv").read_text() == ("time;count;x\n" + rows).replace("40;;NA\n", "40;1274;10,00\n")


HALF = dt.timedelta(minutes=30)
START = dt.datetime(2024, 1, 1, 8, 30)
AXES = {
    "from 120 s": [f"{120 + i / 50:.2f}" for i in range(40)],
    "dates": [(START + dt.timedelta(days=i)).strftime("%Y-%m-%d") for i in range(40)],
    "YYYYMMDD": [(START + dt.timedelta(days=i)).strftime("%Y%m%d") for i in range(40)],
    "hours": [(START + dt.timedelta(hours=i)).isoformat(" ") for i in range(40)],
    "a zone": [(START + dt.timedelta(hours=i)).isoformat() + "+05:30" for i in range(40)],
    "UTC, milliseconds": [f"2024-01-01T08:30:{i // 25:02d}.{40 * i % 1000:03d}Z" for i in range(40)],
    "German": [(START + dt.timedelta(hours=i)).strftime("%d.%m.%Y %H:%M") for i in range(40)],
    "American": [(START + dt.timedelta(hours=i)).strftime("%m/%d/%Y %I:%M %p") for i in range(40)],
    "epoch": [str(1700000000 + 60 * i) for i in range(40)],
    "epoch ms": [str(1700000000000 + 40 * i) for i in range(40)],
    "epoch ns": [str(1700000000000000001 + 40 * i) for i in range(40)],
    "months": [f"{2020 + i // 12}-{i % 12 + 1:02d}-01" for i in range(40)],
    "ends of quarters": [f"{2010 + i // 4}-{('03-31', '06-30', '09-30', '12-31')[i % 4]}" for i in range(40)],
    "clocks go on": [str(dt.datetime(2024, 3, 30, 12) + dt.timedelta(hours=i + (i >= 14))) for i in range(40)],
    "clocks go on in America": [str(dt.datetime(2024, 3, 9, 12) + HALF * (i + 2 * (i >= 28))) for i in range(40)],
    "clocks go back": [str(dt.datetime(2024, 10, 26, 12) + HALF * (i - 2 * (i >= 30))) for i in range(40)],
}  # fmt: skip
RATES = {"from 120 s": 50, "dates": 1 / 86400, "YYYYMMDD": 1 / 86400, "hours": 1 / 3600, "UTC, milliseconds": 25}
RATES |= {
    "a zone": 1 / 3600,
    "German": 1 / 3600,
    "American": 1 / 3600,
    "epoch": 1 / 60,
    "epoch ms": 25,
    "epoch ns": 25e6,
}
RATES |= {"clocks go on": 1 / 3600, "clocks go on in America": 1 / 1800, "clocks go back": 1 / 1800}


@pytest.mark.parametrize("case", AXES)
def test_time_is_what_the_stamps_say(case):
    """No row is invented, none lost, no stamp changed; the rate is that of the stamps, where they have one."""
    Path("a.csv").write_text(table(AXES[case]))
    sample = filled()
    before, after = (Path(name).read_text().splitlines() for name in ("a.csv", "b.csv"))
    assert [line.split(",")[0] for line in before] == [line.split(",")[0] for line in after]
    assert sample.notes == () and sample.rate_hz == (pytest.approx(RATES[case], rel=1e-6) if case in RATES else None)
    assert float(after[13].split(",")[1]) == pytest.approx(5 + np.sin(12 / 3), abs=0.1)


UNEVEN = {
    "working days": [f"2024-01-{day:02d}" for day in range(1, 32) if dt.date(2024, 1, day).weekday() < 5],
    "working days and a holiday": [
        str(day) for i in range(60) if (day := dt.date(2024, 3, 1) + dt.timedelta(i)).weekday() < 5 and i != 28
    ],
    "closed at night": [str(START + dt.timedelta(days=i // 12, hours=i % 12)) for i in range(40)],
    "seconds at random": [f"{i + 0.3 * np.sin(i * i):.3f}" for i in range(40)],
    "more is missing than there is": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "3600000000"],
    "a date for many rows": [f"2024-01-{1 + i // 20:02d}" for i in range(40)],
}


@pytest.mark.parametrize("case", UNEVEN)
def test_uneven_time_is_announced_and_gets_no_rows(case):
    times = UNEVEN[case]
    Path("a.csv").write_text(table(times))
    sample = filled()
    assert sample.rate_hz is None and "uneven" in sample.notes[0]
    assert [line.split(",")[0] for line in Path("b.csv").read_text().splitlines()[1:]] == times


@pytest.mark.parametrize(
    "case", ["from 120 s", "dates", "YYYYMMDD", "hours", "a zone", "UTC, milliseconds", "German", "epoch ms"]
)
def test_rows_that_an_even_axis_lacks_are_added_with_their_stamps(case):
    times = AXES[case]
    Path("a.csv").write_text(table([time for i, time in enumerate(times) if i not in (20, 21, 30)], gap=None))
    sample = filled()
    assert sample.notes == ("3 rows are missing on its time axis and added",)
    assert [line.split(",")[0] for line in Path("b.csv").read_text().splitlines()[1:]] == times
    with pytest.raises(UserError, match="line 22: the time goes on by"):
        read("a.csv")


BAD = {
    "no finite time": ("time,x\n0,1\nnan,2\n2,3\n", "line 3, column 'time': 'nan' is no time"),
    "infinite time": ("time,x\n0,1\ninf,2\n2,3\n", "line 3, column 'time': 'inf' is no time"),
    "no time in a row": ("time,x\n0,1\n,2\n2,3\n", "line 3, column 'time': is empty"),
    "beyond numbers": ("time,x\n0,1\n1,1e999\n2,3\n", "infinity in channel 1 at value 2"),
    "infinity": ("time,x\n0,1\n1,-inf\n2,3\n", "infinity in channel 1 at value 2"),
    "bytes of something": ("time,x\0\n0,1\n", "is no text"),
    "text alone": ("time,x\n0,high\n1,low\n2,high\n", "0 channels"),
    "half a text": ("time,x\n0,1\n1,low\n2,3\n", "line 3, column 'x': 'low' is not a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_gets_one_line(case):
    text, words = BAD[case]
    Path("a.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        read("a.csv", keep=True)
    assert str(caught.value).startswith("a.csv: ") and words in str(caught.value)


def test_what_is_finite_stays_so():
    """1e39 is a number; float32 would have made it infinite, and a gap."""
    Path("a.csv").write_text("time,x\n" + "".join(f"{i},{'1e39' if i == 5 else i}\n" for i in range(20)))
    sample = read("a.csv")
    assert sample.data[0, 5] == 1e39 and sample.data.isfinite().all()


def test_text_and_empty_columns_are_named():
    Path("a.csv").write_text("time,station,x,y\n0,A,1,\n1,B,,\n2,A,3,\n")
    sample = filled()
    assert sample.channel_names == ("x",)
    assert sample.notes == ("column 'station' holds text and stays as it is", "column 'y' is empty and stays so")
    assert Path("b.csv").read_text() == "time,station,x,y\n0,A,1,\n1,B,2,\n2,A,3,\n"


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "<f2", "<i2", ">i4", "<i8", "<u8", "|u1", "|b1"])
@pytest.mark.parametrize("shape", [(60,), (2, 60)])
def test_arrays_keep_their_type_shape_names_and_company(kind, shape):
    values = (np.arange(np.prod(shape)).reshape(shape) % 50 + 40).astype(kind)
    if kind[1:] in ("i8", "u8"):
        values[..., 7] = np.iinfo(kind).max
    np.save("a.npy", values), np.savez("a.npz", signal=values), np.savez("b.npz", data=values, rate_hz=50, who="me")
    for name in ("a.npy", "a.npz", "b.npz"):
        sample = read(name)
        write(sample, f"same-{name}")
        write(replace(sample, data=torch.where(torch.arange(60) == 3, 1e9, sample.data)), f"other-{name}")
        for made, is_same in ((np.load(f"same-{name}"), True), (np.load(f"other-{name}"), False)):
            before = np.load(name)
            if name != "a.npy":
                assert made.files == before.files and (
                    name == "a.npz" or (made["who"] == "me" and made["rate_hz"] == 50)
                )
                key = made.files[0]
                before, made = before[key], made[key]
            assert made.dtype.str == before.dtype.str == np.dtype(kind).str and made.shape == shape
            at = np.arange(60) != 3
            assert (made[..., at] == before[..., at]).all() and (made == before).all() == (is_same or kind == "|b1")
            if not is_same and np.dtype(kind).kind in "iu":
                assert (made[..., 3] == min(np.iinfo(kind).max, 10**9)).all(), "rounded and clipped"


def _forged(shape: str) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00v\x00" + head.encode() + bytes(64)


@pytest.mark.parametrize(
    "shape", ["(1099511627776,)", "(4, 2**70)", "(99999999999999999999,)", "(-3,)", "(3", "((3,),)"]
)
def test_arrays_are_measured_before_they_are_believed(shape):
    Path("a.npy").write_bytes(_forged(shape))
    with pytest.raises(UserError, match=r"^a\.npy: "):
        read("a.npy", "series")


def test_complex_arrays_and_wrong_names_are_refused():
    for name, words, arrays in (
        ("complex", "not real numbers", {"data": np.ones(9, complex)}),
        ("text", "not real numbers", {"data": np.array(["a"] * 9)}),
        ("rate", "rate_hz", {"data": np.ones(9), "rate_hz": np.array(np.nan)}),
        ("rates", "rate_hz", {"data": np.ones(9), "rate_hz": np.ones(3)}),
        ("names", "2 names for 1 channels", {"data": np.ones(9), "channel_names": np.array(["a", "b"])}),
    ):
        np.savez(f"{name}.npz", **arrays)
        with pytest.raises(UserError, match=words):
            read(f"{name}.npz", "series")


def test_a_table_becomes_an_archive_with_its_times():
    Path("a.csv").write_text(table(AXES["hours"]))
    filled(to="b.npz")
    made = np.load("b.npz")
    assert (
        made["time"][1] == "2024-01-01 09:30:00"
        and made["data"].dtype == np.float64
        and made["rate_hz"] == pytest.approx(1 / 3600)
    )


def test_inpaint_keeps_empty_channels_and_says_what_it_saw(cli):
    np.save(
        "a.npy", np.stack([np.sin(np.arange(90) / 5), np.full(90, np.nan), np.where(np.arange(90) < 80, 3, np.nan)])
    )
    code, out, err = cli("inpaint", "a.npy", "-o", "b.npy")
    made = np.load("b.npy")
    assert code == 0 and "channel 2 holds nothing and stays so" in err
    assert np.isnan(made[1]).all() and (made[2] == 3).all() and np.array_equal(made[0], np.load("a.npy")[0])
    Path("a.csv").write_text(table(UNEVEN["working days"]))
    code, out, err = cli("inpaint", "a.csv", "-o", "b.csv")
    assert code == 0 and "uneven (1 to 3 days)" in err
    assert "inpaint" in TASKS


def test_a_decimal_comma_between_quotes_is_no_thousand():
    rows = "".join(f'{i},"{"" if i == 12 else f"0,{500 + i}"}"\n' for i in range(40))
    Path("a.csv").write_text("time,x\n" + rows)
    assert filled().data[0, :3].tolist() == [0.5, 0.501, 0.502]
    assert Path("b.csv").read_text() == ("time,x\n" + rows).replace('12,""', '12,"0,512"')


def test_noise_far_below_the_range_is_left_to_the_last_digit(cli):
    """One cell of 1e9 among small ones: what the prior can tell is far more than the noise that is told."""
    cells = [0, 1, 2, 3, 4, 10**9, 6, 7, 8, 9, 10, 11]
    Path("a.csv").write_text("time,a\n" + "".join(f"{t},{cell}\n" for t, cell in enumerate(cells)))
    for sigma, said in (("0.1", "left as it is"), ("0", "")):
        code, _, err = cli("denoise", "a.csv", "--sigma", sigma, "-o", "b.csv", "--force")
        assert code == 0 and said in err
        assert Path("b.csv").read_text().split() == Path("a.csv").read_text().split()


def test_numbers_that_may_stand_for_missing_values_are_told():
    wave = [round(3 * np.sin(i / 7), 3) for i in range(90)]
    holes = [-9999 if i % 11 == 3 else value for i, value in enumerate(wave)]
    far = [9000 + value if i % 2 else -9999 for i, value in enumerate(wave)]  # a range that holds it
    rows = [f"{i},{a},{b},{c}" for i, (a, b, c) in enumerate(zip(wave, holes, far, strict=True))]
    Path("a.csv").write_text("\n".join(["time,wave,holes,far", *rows, ""]))
    [line] = read("a.csv").notes[:1]
    assert line.startswith("'holes' holds -9999 8 times") and "inpaint" in line
    assert not any("'wave'" in one for one in read("a.csv").notes)
    np.save("b.npy", np.array(holes))
    assert read("b.npy").notes[0].startswith("channel 1 holds -9999 8 times")
    Path("c.csv").write_text("\n".join(["time,counts", *(f"{i},{i % 3 * 500 - 999}" for i in range(60)), ""]))
    assert read("c.csv").notes == ()


def test_columns_of_nothing_from_a_spreadsheet_stay(cli):
    rows = [f"{i},{np.sin(i / 7):.3f},," for i in range(90)]
    Path("a.csv").write_text("\n".join(["time,a,,", *rows, ""]))
    code, _, err = cli("denoise", "a.csv", "--sigma", "0.1", "-o", "b.csv")
    assert code == 0, err
    lines = Path("b.csv").read_text().splitlines()
    assert lines[0] == "time,a,," and all(line.endswith(",,") and line.count(",") == 3 for line in lines)


def test_each_channel_is_told_its_own_noise(cli):
    chance, i = np.random.default_rng(0), np.arange(400)
    wave = np.sin(i / 20)
    noisy = [wave + 0.1 * chance.normal(size=400), 100 * (wave + 0.2 * chance.normal(size=400)), i + 100000.0]
    rows = [f"{k},{a:.5f},{b:.4f},{c:.0f}" for k, (a, b, c) in enumerate(zip(*noisy, strict=True))]
    Path("a.csv").write_text("\n".join(["time,volt,kelvin,id", *rows, ""]))
    code, out, err = cli("denoise", "a.csv", "--json")
    [item] = json.loads(out)["items"]
    assert item["channels"] == ["volt", "kelvin", "id"] and len(item["sigmas"]) == 3
    assert item["sigmas"][0] == pytest.approx(0.1, rel=0.3) and item["sigmas"][1] == pytest.approx(20, rel=0.3)
    assert item["sigma"] == pytest.approx(np.mean(item["sigmas"]), rel=1e-3)
    assert any(line.startswith("1 of 3 parts: no noise was found") for line in item["warnings"])
    code, _, err = cli("denoise", "a.csv", "-o", "c.csv")
    assert "(volt), " in err and "(kelvin), 0 (id)" in err
