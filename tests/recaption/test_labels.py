"""Sentences from class labels: templates, a vocabulary, and names of files."""

import json

import pytest

from recaption.labels import LabelCaptions, class_of


def texts(value, **parameters):
    scorer = LabelCaptions(**parameters)
    return [c["text"] for c in scorer({scorer.of: [value]})["captions"][0]]


def test_a_label_becomes_a_sentence_for_each_template():
    assert texts("tennis_court") == [
        "A photo of a tennis court.",
        "A picture that shows a tennis court.",
        "A tennis court.",
    ]
    assert texts("SeaLake", templates=("many {names} of class {label}",)) == [
        "Many sea lakes of class SeaLake."
    ]
    assert texts("  ") == []
    assert texts("The Eiffel Tower", templates=("{a_name}",)) == ["The eiffel tower."]


def test_a_vocabulary_gives_names_and_descriptions(tmp_path):
    path = tmp_path / "words.json"
    said = {"name": "apple scab", "descriptions": ["olive spots of {name} on a leaf", "A leaf."]}
    path.write_text(json.dumps({"Apple___scab": said, "b": "a good leaf"}))
    more = {"vocabulary": str(path), "templates": ("a leaf with {name}",)}
    scorer = LabelCaptions(**more)
    found = scorer({"caption": ["Apple___scab"]})["captions"][0]
    assert [(c["text"], c["kind"]) for c in found] == [
        ("A leaf with apple scab.", "short"),
        ("Olive spots of apple scab on a leaf.", "description"),
        ("A leaf.", "description"),
    ]
    assert texts("rust", **more) == ["A leaf with rust."]
    assert texts("rust", **more, unknown="nothing") == []
    first = scorer.weights_digest
    path.write_text(json.dumps({"b": "another"}))
    assert LabelCaptions(**more).weights_digest != first


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("airport_12.jpg", "airport"),
        ("RSICD/baseball field-7.png", "baseball field"),
        ("airport/12.jpg", "airport"),
        ("airport.jpg", "airport"),
        ("12.jpg", ""),
        ("", ""),
    ],
)
def test_labels_in_names_of_files(name, label):
    assert class_of(name) == label


def test_a_name_of_a_file_is_read_from_its_column():
    more = {"of": "source_key", "label": "file name", "templates": ("{a_name}",)}
    assert texts("x/railwayStation_3.jpg", **more) == ["A railway station."]
    assert texts("33.jpg", **more) == []


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"label": "path"}, "known are text, file name"),
        ({"unknown": "drop"}, "known are label, nothing"),
        ({"templates": ()}, "give at least one"),
        ({"templates": ("a photo",)}, r"has none of \{name\}"),
        ({"templates": ("{name} {colour}",)}, r"knows \{name\}"),
        ({"templates": ("{name} {name.__class__}",)}, r"knows \{name\}"),
        ({"language": "yes"}, "language 'yes' is not known"),
        ({"vocabulary": "/gone.json"}, r"/gone.json: there is no such file"),
    ],
)
def test_wrong_parameters_are_refused(parameters, problem):
    with pytest.raises(ValueError, match=problem):
        LabelCaptions(**parameters)


@pytest.mark.parametrize(
    "said", [3, {"names": "x"}, {"name": ""}, {"name": "x", "descriptions": "y"}]
)
def test_a_vocabulary_of_another_shape_is_refused(tmp_path, said):
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"a": said}))
    with pytest.raises(ValueError, match="'a' must be a name or"):
        LabelCaptions(vocabulary=str(path))
