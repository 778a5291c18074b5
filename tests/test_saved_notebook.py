"""The notebook as it is saved: from one clean run, readable, described, and the same as what the README shows."""
import re
from base64 import b64decode
from statistics import median

from conftest import NOTEBOOK, ROOT, code_cells, outputs, tags
from finish_notebook import describe_result, digest_outputs

# Cells whose text may differ between machines, by their first line: nbval runs them and compares nothing.
# What matters in them is asserted in the cell below each of them, whose output is compared.
IGNORED = [
    'versions = {"python": platform.python_version(), "tensorflow": tf.__version__,',
    'devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")',
    'untrained_loss, untrained_accuracy = model.evaluate(x_val, y_val, batch_size=1_000, verbose=0)',
    'start = time.perf_counter()',
    'test_accuracy = float(np.mean(predicted == true))',
    'test_ece = expected_calibration_error(probabilities, true)',
    'threshold = np.quantile(model.predict(x_val, batch_size=1_000, verbose=0).max(axis=1), 0.01)',
    'all_scores = pd.DataFrame(classification_report(true, predicted, output_dict=True)).T',
    'second_right = np.mean(second[mistakes] == true[mistakes])',
    'print(f"saved to {(MODELS / \'mnist_cnn.keras\').relative_to(ROOT)}, weights {weights_sha256[:16]}…")',
    'pd.DataFrame(comparison).T',
    'skips = ["everything", "polarity", "flatten", "separate", "crop", "pen", "centre", "nothing"]',
    'prepared = np.stack([to_mnist(image) for image in mnist["x_train"][val_indices]])[..., np.newaxis]',
    'unsure_below = float(np.quantile(prepared_probabilities.max(axis=1), 0.01))',
    'others = sorted((ROOT / "data" / "digits").glob("no_*"))',
]
KNOWN_TAGS = {"imports", "parameters", "definitions", "check-parameters", "train", "picture", "pad", "nbval-ignore-output"}


def code_lines(cell):
    return [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_saved_from_one_clean_run(saved):
    counts = [cell.execution_count for cell in code_cells(saved)]
    assert counts == list(range(1, len(counts) + 1)), "save it from one run, top to bottom: make notebook"


def test_no_error_and_no_noise_is_stored(saved):
    for output in outputs(saved):
        assert output.output_type != "error" and output.get("name") != "stderr", output


def test_no_absolute_path_is_stored():
    text = NOTEBOOK.read_text()
    assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|usr|opt|mnt|content)/|[A-Z]:\\\\", text)


def test_outputs_are_those_of_the_run(saved):
    """`make notebook` notes a digest of all outputs, so an edit by hand shows, also in cells that nbval ignores."""
    assert digest_outputs(saved) == saved.metadata["outputs_sha256"], "an output was edited: run `make notebook`"


def test_readme_states_the_result_of_the_saved_run(saved):
    assert describe_result(saved) in (ROOT / "README.md").read_text(), "run `make notebook`"


def test_no_widget_is_stored(saved):
    """GitHub refuses a notebook with incomplete widget state, and without a kernel a widget is an empty box."""
    assert "widgets" not in saved.metadata
    assert "widget-view" not in str([list(output.get("data", {})) for output in outputs(saved)])


def test_size():
    assert NOTEBOOK.stat().st_size < 1_500_000


def test_exactly_these_cells_are_not_compared(saved):
    ignored = [cell.source.splitlines()[0] for cell in code_cells(saved) if "nbval-ignore-output" in tags(cell)]
    assert ignored == IGNORED


def test_tags_are_spelt_right(saved):
    for cell in saved.cells:
        assert tags(cell) <= KNOWN_TAGS, f"unknown tag in {cell.id}: {tags(cell) - KNOWN_TAGS}"
        assert not re.search(r"^\s*#\s*(NBVAL|PYTEST|nbval)", cell.source, re.M), "use cell tags, not marker comments"
    for tag in ["parameters", "picture", "pad"]:
        assert sum(tag in tags(cell) for cell in saved.cells) == 1, f"exactly one cell is to carry the tag {tag}"


def test_every_figure_has_a_text_alternative(saved):
    figures = [output for output in outputs(saved) if "image/png" in output.get("data", {})]
    assert len(figures) >= 7
    for figure in figures:
        assert len(figure.metadata["image/png"]["alt"]) >= 40


def test_picture_on_top_is_the_one_that_the_notebook_drew(saved):
    [cell] = [cell for cell in saved.cells if "picture" in tags(cell)]
    [drawn] = [output.data["image/png"].strip() for output in cell.outputs]
    assert saved.cells[0].attachments["predictions.png"]["image/png"].strip() == drawn
    assert (ROOT / "docs" / "predictions.png").read_bytes() == b64decode(drawn)


def test_plot_of_the_benchmark_is_the_latest(saved):
    [attached] = [cell.attachments["results.png"]["image/png"] for cell in saved.cells if "(attachment:results.png)" in cell.source]
    assert b64decode(attached) == (ROOT / "benchmarks" / "results.png").read_bytes(), "run `make notebook`"


def test_cells_are_short_and_explained(saved):
    lengths = [len(code_lines(cell)) for cell in code_cells(saved)]
    assert max(lengths) <= 20 and 3 <= median(lengths) <= 5
    for cell in code_cells(saved):
        assert max(map(len, cell.source.splitlines())) <= 100, f"a line of {cell.id} is cut off on the page"
    prose = sum(len(cell.source.split()) for cell in saved.cells if cell.cell_type == "markdown")
    assert prose / sum(lengths) >= 7


def test_one_title_and_numbered_sections(saved):
    headings = [line for cell in saved.cells if cell.cell_type == "markdown"
                for line in cell.source.splitlines() if re.match("#+ ", line)]
    assert [line for line in headings if line.startswith("# ")] == headings[:1]
    numbers = [int(match[1]) for line in headings if (match := re.match(r"## (\d+)\.", line))]
    assert numbers == list(range(1, 15))


def test_prose_avoids_belittling_words_and_speaks_to_you(saved):
    prose = " ".join(cell.source for cell in saved.cells if cell.cell_type == "markdown")
    assert not re.findall(r"\b([Jj]ust|[Ss]imply|[Oo]bviously|of course|[Ww]e|[Oo]ur|us)\b", prose)
