import subprocess
import sys

CODE = """if True:
    import sys
    sys.modules["optuna"] = None  # as where it is not installed
    from unlatent.platform.tuning import search
    from unlatent.platform.tuning.running import run_sweep
    try:
        run_sweep(sys.argv[1], [f"store={sys.argv[2]}"])
    except ValueError as refused:
        print(refused)
"""


def test_optuna_is_asked_for_by_its_own_search_alone_and_in_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("knobs: {model.patch_size: [2, 4]}\nsearch: optuna")
    command = [sys.executable, "-c", CODE, tmp_path / "mine.yaml", tmp_path / "store"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "sweep.search=optuna needs the package optuna; pip install 'unlatent[optuna]' would do\n"
    assert not (tmp_path / "store" / "results").exists()
