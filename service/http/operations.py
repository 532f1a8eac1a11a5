"""The scope that each operation needs, and the operations whose work is heavy.

The name of an operation is that of its function, and its `operationId` in the OpenAPI document.
"""

from dataclasses import dataclass

from costcurve.core.access import Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions on the requests of one operation.

    Attributes:
        scope: that the key must have; None if no key is needed.
        is_heavy: True if a key may have only a few such requests at once.
    """

    scope: Scope | None
    is_heavy: bool = False


OPEN = Rule(None)
_READ = Rule(Scope.READ)
_HEAVY = Rule(Scope.READ, is_heavy=True)
_SUBMIT = Rule(Scope.SUBMIT)
_ADMIN = Rule(Scope.ADMIN)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("is_alive", "is_ready"), OPEN),
    **dict.fromkeys(
        (
            *("get_version", "list_presets", "list_sweep_presets", "list_workers", "get_caller"),
            *("validate_job", "list_jobs", "get_job", "list_events", "get_curve"),
            *("list_sweeps", "get_sweep", "list_cells"),
        ),
        _READ,
    ),
    **dict.fromkeys(
        (
            *("get_curve_csv", "get_curve_plot", "get_transcript", "get_flow_plot", "get_diagnosis"),
            *("get_comparison", "get_comparison_csv", "get_comparison_plot", "get_comparison_diagnosis"),
            *("get_model", "predict", "get_confusion", "get_confusion_plot", "list_mistakes", "get_mistakes_plot"),
            "get_sweep_plot",
        ),
        _HEAVY,
    ),
    **dict.fromkeys(
        (
            *("submit_job", "update_job", "delete_job", "clone_job", "fork_job"),
            *("pause_job", "resume_job", "cancel_job"),
            *("submit_sweep", "cancel_sweep", "retry_sweep", "submit_trial", "extend_trial"),
        ),
        _SUBMIT,
    ),
    **dict.fromkeys(
        (
            *("create_key", "list_keys", "revoke_key"),
            *("create_project", "list_projects", "update_project"),
        ),
        _ADMIN,
    ),
}
