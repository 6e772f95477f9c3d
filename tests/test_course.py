"""The course: its pages, the tests marked by lesson, and a class in which bodies are blank."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nnrec import check_gradients, nn
from nnrec.cli import main
from nnrec.metrics import best_threshold, f1, recall
from nnrec.nn.activations import relu_derivative, sigmoid_derivative

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "docs" / "course"
LESSONS = {int(path.name[0]): path for path in sorted(COURSE.glob("[0-9]-*.md"))}
TESTS = sorted(ROOT.glob("tests/test_*.py"))

_spec = importlib.util.spec_from_file_location("blank", COURSE / "blank.py")
blank = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(blank)

LAYERS = {
    2: [nn.Dense(3, 2), nn.Sequential([nn.Dense(3, 2), nn.Sigmoid(), nn.Dense(2, 5)])],
    3: [nn.Sigmoid(), nn.ReLU(), nn.Tanh()],
    4: [nn.Softmax()],
    6: [nn.Dropout(0.4)],
}


def lesson(number: int) -> pytest.MarkDecorator:
    return getattr(pytest.mark, f"lesson_{number}")


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(layer, id=repr(layer), marks=lesson(number))
        for number, layers in LAYERS.items()
        for layer in layers
    ],
)
def test_back_is_the_derivative_of_the_forward(layer: nn.Layer) -> None:
    x = np.random.default_rng(0).normal(size=(7, 3))
    report = check_gradients(layer, x)
    assert report, f"\n{report}"  # the table names the worst entry with both values


@lesson(7)
def test_back_of_an_embedding_and_of_a_product() -> None:
    report = check_gradients(nn.Embedding(5, 3), np.array([4, 0, 4]))  # one id stands twice
    assert report, f"\n{report}"
    report = check_gradients(nn.Dot(), *np.random.default_rng(0).normal(size=(2, 7, 3)))
    assert report, f"\n{report}"


LOSSES = {
    1: [(nn.MSE(), [[0.5, 2.0], [1.0, 0.0], [0.25, 0.5]])],
    4: [
        (nn.SigmoidCrossEntropy(), [[0.0, 1.0], [1.0, 1.0], [0.25, 0.5]]),
        (nn.SoftmaxCrossEntropy(), [1, 0, 0]),
        (nn.CategoricalCrossEntropy(), [1, 0, 0]),
    ],
}


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        pytest.param(loss, target, id=repr(loss), marks=lesson(number))
        for number, losses in LOSSES.items()
        for loss, target in losses
    ],
)
def test_a_losss_gradient_is_its_derivative(loss: nn.Loss, target: list) -> None:
    pred = np.random.default_rng(0).uniform(0.1, 0.9, size=(3, 2))
    report = check_gradients(loss, pred, target=np.array(target))
    assert report, f"\n{report}"


@lesson(1)
def test_one_neuron_takes_the_step_of_the_first_lesson() -> None:
    net = nn.Network([nn.Dense(2, 1), nn.Sigmoid()], nn.MSE(), dtype="float64")
    net.theta[:] = [0.5, -1.0, 0.25]
    E, g = net.loss_and_grad(np.array([[2.0, 1.0]]), np.array([[1.0]]))
    nn.SGD(1.0).step(net.theta, g)
    assert E.round(4) == 0.0958
    assert net.theta.round(4).tolist() == [0.7155, -0.8922, 0.3578]


@lesson(1)
def test_slope_of_the_sigmoid_from_its_output() -> None:
    assert sigmoid_derivative(np.array([0.5, 0.25])).tolist() == [0.25, 0.1875]


@lesson(1)
def test_a_step_goes_against_the_gradient() -> None:
    theta = np.array([1.0, 2.0])
    nn.SGD(0.5).step(theta, np.array([1.0, -1.0]))
    assert theta.tolist() == [0.5, 2.5]


@lesson(3)
def test_slope_of_relu_is_none_at_its_kink() -> None:
    assert relu_derivative(np.array([-2.0, 0.0, 3.0])).tolist() == [0.0, 0.0, 1.0]


@lesson(6)
def test_threshold_of_five_rows() -> None:
    bought, p = [0, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.9]
    assert best_threshold(bought, p, recall) == 0.3
    assert f1(bought, np.array(p) >= 0.3) == pytest.approx(0.8)


def test_there_are_seven_lessons() -> None:
    assert list(LESSONS) == list(range(1, 8))


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_names_its_chapter_program_and_tests(number: int) -> None:
    text = LESSONS[number].read_text(encoding="utf-8")
    assert text.startswith(f"# Lesson {number}: ") and len(text.splitlines()) <= 130
    assert re.search(r"^\| the document \| .*\d", text, re.MULTILINE)
    assert f"`python -m pytest -m lesson_{number} tests`" in text
    programs = re.findall(r"\]\(\.\./\.\./(examples/\w+\.py)\)", text)
    assert programs and all((ROOT / program).exists() for program in programs)
    for part in ("**You will understand**", "## The idea", "## Worked out", "## Exercises"):
        assert part in text
    asked, answered = text.split("## Exercises")[1].split("## Answers")
    asked, answered = (re.findall(r"^(\d)\. ", part, re.MULTILINE) for part in (asked, answered))
    assert set(answered) <= set(asked) and len(answered) >= 2
    row = re.search(rf"^\| {number} \| \[.*", (COURSE / "README.md").read_text("utf-8"), re.M)[0]
    assert LESSONS[number].name in row and f"`lesson_{number}`" in row and programs[0] in row


@pytest.mark.parametrize("number", LESSONS)
def test_the_sheets_of_a_lesson_can_be_made(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LESSONS[number].read_text(encoding="utf-8")
    for command in re.findall(r"`nnrec (exercise .*? --seeds) 1-30( --out sheets)`", text):
        assert main(" 3".join(command).split()) == 0
    if number != 6:  # its exercises are runs of programs
        assert len(list(tmp_path.glob("sheets/*-03-key.html"))) >= 1


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_has_tests_and_bodies(number: int) -> None:
    mark = re.compile(rf"^@pytest\.mark\.lesson_{number}$", re.MULTILINE)
    assert sum(len(mark.findall(path.read_text(encoding="utf-8"))) for path in TESTS) >= 5
    assert len(blank.bodies(number)) >= 2


def test_a_blank_body_keeps_its_docstring(tmp_path: Path) -> None:
    file, head = tmp_path / "some.py", 'class A:\n    def f(self):\n        """Says."""\n'
    file.write_text(f"{head}        a = 1\n        return a\n")
    blank.blank(file, "A.f", 3)
    assert file.read_text() == f'{head}        raise NotImplementedError("lesson 3: write A.f")\n'


@pytest.mark.slow
@pytest.mark.parametrize("number", LESSONS)
def test_a_class_is_told_by_name_what_is_blank(number: int, python, tmp_path: Path) -> None:
    package = shutil.copytree(Path(nn.__file__).parents[1], tmp_path / "nnrec")
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    marked = [path.name for path in TESTS if f"lesson_{number}" in path.read_text("utf-8")]
    files = [f"tests/{name}" for name in {*marked, "test_course.py"}]
    blank.main(number, package)
    with pytest.raises(AssertionError) as failed:
        python("-m", "pytest", "--tb=line", "-m", f"lesson_{number}", *files)
    said = str(failed.value)
    assert re.search(r"\b\d+ failed", said) and not re.search(r"\b\d+ errors?\b", said), said
    unseen = [name for _, name in blank.bodies(number) if f"{number}: write {name}\n" not in said]
    assert not unseen, f"blank, and no test of the lesson says so: {unseen}\n{said}"
