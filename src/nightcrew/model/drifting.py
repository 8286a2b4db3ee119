"""The settings of drift detection."""

from pydantic import ConfigDict, Field, field_validator

from nightcrew.model.document import Document

FIXED, ROLLING = "fixed", "rolling"


class DriftSettings(Document):
    """The table [drift]."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rate: float = Field(
        default=0.001, gt=0, lt=1, description="false alarms a look, over all features of a pipeline together"
    )
    min_shift: float = Field(default=0.05, ge=0, description="smaller shifts are not told, in standard deviations")
    min_points: float = Field(default=1.0, ge=0, description="smaller changes of a share are not told, in points")
    window_seconds: int = Field(default=300, ge=60, description="time between looks, in whole minutes")
    reference: str = Field(
        default=FIXED,
        description="fixed: learned from the first values; rolling: from the days before; or the name of a saved one",
    )
    reference_values: int = Field(default=5000, ge=100, description="so many values make a reference")
    rolling_days: float = Field(default=7, gt=0, description="length of a rolling reference")

    @field_validator("window_seconds")
    @classmethod
    def _whole_minutes(cls, value: int) -> int:
        if value % 60:
            raise ValueError("takes whole minutes, such as 300")
        return value
