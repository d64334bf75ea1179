"""How a data set is divided, in the words of a sweep file."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SplitPolicy(BaseModel):
    """Which images a trial trains on, which ones judge it, and which ones it never sees.

    `stratified` draws each class apart, so that every part has the classes in the same proportion.
    `usage` follows the data set's own Training, PublicTest and PrivateTest.

    With `group_duplicates` all copies of an image are in one part. The stratified split moves whole
    groups. The `usage` split cannot move images: it leaves out of training what has a copy in
    validation or test, and out of validation what has a copy in test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["stratified", "usage"] = Field("stratified", description="drawn by class, or as the data set says")
    val: float = Field(0.15, gt=0, lt=1, description="fraction for validation (stratified)")
    test: float = Field(0.15, gt=0, lt=1, description="fraction for test (stratified)")
    seed: int = Field(42, ge=0, le=2**32 - 1, description="seeds the draw (stratified)")
    group_duplicates: bool = Field(True, description="copies of an image stay in one part")

    @model_validator(mode="after")
    def _leaves_training(self) -> SplitPolicy:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val} and test {self.test} leave nothing to train on: their sum must be < 1")
        return self
