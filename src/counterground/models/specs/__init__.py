"""What a model's specification says beyond its family: a head to be fitted, a set of the paper's models."""

from counterground.models.specs._head_spec import HeadSpec, ModelSet, expand_specs, set_names, split_head

__all__ = ["HeadSpec", "ModelSet", "expand_specs", "set_names", "split_head"]
