"""Fine-tuning jobs, their events, checkpoints and permissions. Source: CreateFineTuningJobRequest, FineTuningJob,
FineTuningJobEvent, FineTuningJobCheckpoint, FineTuneMethod, FineTuningCheckpointPermission.

`hyperparameters` stands beside `method`: the older place, and the newer one. In answers both say the same.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from homeport.wire.chat import Metadata, check_sought_metadata
from homeport.wire.fields import Identifier, ModelName, Request

#: `pausing` and `paused` are of `pause`, which the description has and gives no states for.
Status = Literal["validating_files", "queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"]
Auto = Literal["auto"]
Epochs = Annotated[int, Meta(ge=1, le=50)]
BatchSize = Annotated[int, Meta(ge=1, le=256)]
Multiplier = Annotated[float, Meta(gt=0)]
Beta = Annotated[float, Meta(gt=0, le=2)]


class Hyperparameters(Request):
    batch_size: Auto | BatchSize | None = None
    learning_rate_multiplier: Auto | Multiplier | None = None
    n_epochs: Auto | Epochs | None = None


class DPOHyperparameters(Hyperparameters):
    beta: Auto | Beta | None = None


class SupervisedMethod(Request):
    hyperparameters: Hyperparameters | None = None


class DPOMethod(Request):
    hyperparameters: DPOHyperparameters | None = None


class Method(Request):
    """reinforcement: refused, whatever it says."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedMethod | None = None
    dpo: DPOMethod | None = None
    reinforcement: dict[str, Any] | None = None


class CreateFineTuningJobRequest(Request):
    """integrations: refused, unless there are none."""

    model: ModelName
    training_file: Identifier
    hyperparameters: Hyperparameters | None = None
    suffix: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    validation_file: Identifier | None = None
    integrations: list[dict[str, Any]] | None = None
    seed: Annotated[int, Meta(ge=0, le=2_147_483_647)] | None = None
    method: Method | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        check_sought_metadata(self.metadata)


class FineTuningError(Struct):
    """param: mostly `training_file` or `validation_file`."""

    code: str
    message: str
    param: str | None = None


class FineTuningJob(Struct, kw_only=True):
    """hyperparameters: `{"n_epochs", "batch_size", "learning_rate_multiplier"}`, of supervised jobs; method: with all
    of them, `{"type", TYPE: {"hyperparameters"}}`. user_provided_suffix: in the description's examples alone."""

    id: str
    created_at: int
    error: FineTuningError | None
    fine_tuned_model: str | None
    finished_at: int | None
    hyperparameters: dict[str, Any]
    model: str
    organization_id: str
    result_files: list[str]
    seed: int
    status: Status
    trained_tokens: int | None
    training_file: str
    validation_file: str | None
    estimated_finish: int | None
    integrations: list[dict[str, Any]]
    method: dict[str, Any]
    metadata: Metadata | None
    user_provided_suffix: str | None
    object: Literal["fine_tuning.job"] = "fine_tuning.job"


class FineTuningJobEvent(Struct, kw_only=True):
    """data: of `metrics`: `{"step", "total_steps", "train_loss", "train_mean_token_accuracy", "valid_loss", ...}`."""

    id: str
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] | None = None
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"


class Metrics(Struct, omit_defaults=True):
    """What is not known is absent."""

    step: int | UnsetType = UNSET
    train_loss: float | UnsetType = UNSET
    train_mean_token_accuracy: float | UnsetType = UNSET
    valid_loss: float | UnsetType = UNSET
    valid_mean_token_accuracy: float | UnsetType = UNSET
    full_valid_loss: float | UnsetType = UNSET
    full_valid_mean_token_accuracy: float | UnsetType = UNSET


class FineTuningJobCheckpoint(Struct, kw_only=True):
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: Metrics
    fine_tuning_job_id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"


class CreateCheckpointPermissionRequest(Request):
    project_ids: Annotated[list[Identifier], Meta(min_length=1, max_length=100)]


class CheckpointPermission(Struct, kw_only=True):
    id: str
    created_at: int
    project_id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
