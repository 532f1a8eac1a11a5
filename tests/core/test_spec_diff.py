"""In what specs differ."""

from costcurve.core.spec_diff import Difference, differences
from costcurve.core.submission import Submission


def spec(**fields):
    return Submission.model_validate({"spec": {"experiment": "mnist", **fields}}).spec


def test_equal_specs_do_not_differ():
    assert differences([spec(), spec(), spec()]) == []


def test_fields_of_fields_are_named_by_their_path_and_a_field_that_one_lacks_is_none():
    stopping = {"metric": "validation_accuracy", "patience": 3}
    found = differences(
        [spec(init={"scheme": "normal", "output_bias": 10}), spec(init="xavier"), spec(early_stopping=stopping)]
    )

    assert Difference("init.output_bias", [10.0, 0.0, 0.0], derived=False) in found
    assert Difference("init.scheme", ["normal", "xavier", "normal"], derived=False) in found
    assert Difference("early_stopping.patience", [None, None, 3], derived=False) in found
    assert Difference("early_stopping.metric", [None, None, "validation_accuracy"], derived=False) in found


def test_what_follows_from_other_fields_is_told_apart():
    found = differences([spec(loss="quadratic"), spec(loss="cross_entropy")])

    assert {each.field: each.derived for each in found} == {
        "loss": False,
        "reduction": False,
        "effective_learning_rate": True,
    }
