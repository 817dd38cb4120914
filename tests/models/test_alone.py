import subprocess
import sys


def test_the_models_need_pytorch_alone():
    heavy = ["ray", "hydra", "omegaconf", "pyarrow", "pandas", "torchvision", "cleanfid", "fastapi"]
    script = f"import sys, unlatent.models; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_pythons_own_platform_module_is_not_hidden():
    done = subprocess.run(
        [sys.executable, "-c", "import unlatent.models, platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.count(".") == 2
