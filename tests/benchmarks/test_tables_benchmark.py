"""The benchmark of tables does the work that it times, at the smallest size."""

from benchmarks import tables


def test_every_contender_gives_back_what_was_logged(tmp_path):
    for name, make in tables.CONTENDERS.items():
        contender = make(tmp_path)

        tables.log_all(contender, runs=2, steps=20)

        curve = contender.curve("run-00001").sort_values("images_seen")
        assert list(curve["images_seen"]) == list(range(20)), name
        assert list(curve["loss"]) == [1 / (1 + n) for n in range(20)], name
        assert len(contender.runs()) == 2 and len(contender.steps()) in (2 * 20, 2 * 20 * len(tables.NUMBERS)), name


def test_ours_is_measured_before_and_after_it_is_compacted(capsys):
    assert tables.main(["--runs", "2", "--steps", "20", "--only", "unlatent", "sqlite"]) == 0

    lines = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines[-4:] == ["unlatent", "unlatent, compacted", "sqlite", "goals for 1,000 runs:"]


def test_steps_that_make_no_equal_parts_are_refused(capsys):
    assert tables.main(["--steps", "25"]) == 2
    assert "steps must be a multiple of 10" in capsys.readouterr().err
