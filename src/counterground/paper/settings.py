"""The settings of the studies; each says what is run, and ``quick`` replaces what is not given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from counterground.settings import Help, Precision, Record

Objective = Literal["obj", "objbkg", "supervised"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
TABLE_7_MODELS = ("open_clip:RN50/openai", "open_clip:ViT-B-16/openai")
SMALL = "small"
_PRESET: Any = None


@dataclass(frozen=True, kw_only=True)
class StudySettings(Record):
    """What all studies can be told."""

    quick: Annotated[bool, Help("Run a small part, in seconds or minutes.")] = False

    def preset(self) -> dict[str, Any]:
        """Return what is run if nothing else is said."""
        return {}

    def __post_init__(self) -> None:
        for name, value in self.preset().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class GridSettings(StudySettings):
    """How a grid of trainings is run."""

    jobs: Annotated[
        int | None,
        Help("Number of parallel trainings.  [default: one per core, 1 on a GPU]", least=1, recorded=False),
    ] = None
    show_progress: bool = False


@dataclass(frozen=True, kw_only=True)
class TheorySettings(StudySettings):
    """What is simulated: pairs for training, seeds, strengths and correlations of the background."""

    command: ClassVar[str] = "paper study theory"
    usual: ClassVar[tuple[str, ...]] = ("quick",)

    n: Annotated[int, Help("Pairs for training.", least=2)] = _PRESET
    seeds: Annotated[int, Help("Number of seeds.", least=1)] = _PRESET
    mu_spu: Annotated[tuple[float, ...], Help("Strengths of the background.", metavar="X,X,...")] = _PRESET
    p_spu: Annotated[
        tuple[float, ...], Help("Shares of pairs whose background fits.", metavar="10%,10%", fraction=True)
    ] = _PRESET

    def preset(self) -> dict[str, Any]:
        """See `StudySettings`."""
        if self.quick:
            few: dict[str, Any] = {"mu_spu": (1.0, 1.5, 3.0), "p_spu": (0.6, 0.9, 0.99)}
            return few | {"n": 5_000, "seeds": 2}
        every: dict[str, Any] = {"mu_spu": (1.0, 1.25, 1.5, 2.0, 2.5, 3.0), "n": 20_000, "seeds": 5}
        return every | {"p_spu": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)}


@dataclass(frozen=True, kw_only=True)
class ColoredSettings(GridSettings):
    """The grid of Table 8: numbers of classes, probabilities, seeds; epochs of each training; the digits."""

    command: ClassVar[str] = "paper study multicoloredmnist"
    usual: ClassVar[tuple[str, ...]] = ("quick", "mnist", "k", "seeds", "jobs")

    mnist: Annotated[
        Path | None,
        Help("Folder with MNIST's four files.  [default: 10,000 digits from npm]", metavar="DIR"),
    ] = None
    k: Annotated[
        tuple[int, ...],
        Help("Number of classes; repeatable.  [default: all of Table 8]", metavar="N", least=2, most=10),
    ] = _PRESET
    p_inv: Annotated[
        tuple[float, ...], Help("Shares of labels that are the digit.", metavar="10%,10%", fraction=True)
    ] = _PRESET
    p_spu: Annotated[
        tuple[float, ...], Help("Shares of colours that follow.", metavar="10%,10%", fraction=True)
    ] = _PRESET
    seeds: Annotated[int, Help("Number of seeds.  [default: 5]", least=1)] = _PRESET
    epochs: Annotated[int, Help("Epochs of training.", least=1)] = _PRESET

    def preset(self) -> dict[str, Any]:
        """See `StudySettings`."""
        if self.quick:
            return {"k": (2, 3), "p_inv": (0.75,), "p_spu": (0.9,), "seeds": 2, "epochs": 3}
        shares: dict[str, Any] = {"p_inv": (0.9, 0.75), "p_spu": (0.75, 0.9)}
        return shares | {"k": (2, 3, 5, 6, 8, 10), "seeds": 5, "epochs": 6}


@dataclass(frozen=True, kw_only=True)
class CocoSettings(GridSettings):
    """What is trained (ColoredCOCO, section 6), on what; with ``coco``, Table 7's grid is the preset.

    ``learning_rates``, ``weight_decays`` and ``warmups`` are the grid: the setting with the best
    in-distribution accuracy on validation photos is reported.
    """

    command: ClassVar[str] = "paper study coloredcoco"
    usual: ClassVar[tuple[str, ...]] = (
        *("quick", "coco", "models", "strengths", "control", "objectives", "seeds", "epochs"),
        *("batch_size", "size", "device", "precision", "jobs", "packages"),
    )

    coco: Annotated[
        Path | None,
        Help(
            "Folder of COCO 2017.  [default: animals from Debian's stamps package]",
            metavar="DIR",
        ),
    ] = None
    models: Annotated[
        tuple[str, ...],
        Help(
            "OpenCLIP model to fine-tune; repeatable.  [default: a small CLIP; with --coco, Table 7's two]",
            metavar="open_clip:...",
        ),
    ] = _PRESET
    strengths: Annotated[
        tuple[float, ...],
        Help("Share of photos on the colour of their class; repeatable.", metavar="80%", fraction=True),
    ] = _PRESET
    control: Annotated[bool, Help("Also train on uninformative colours.")] = _PRESET
    objectives: Annotated[
        tuple[Objective, ...],
        Help(
            "CLIP's loss on either caption, or a new head on the image tower; repeatable.",
            metavar="obj|objbkg|supervised",
        ),
    ] = OBJECTIVES
    seeds: Annotated[int, Help("Number of seeds.", least=1)] = _PRESET
    epochs: Annotated[int, Help("Epochs of training.", least=1)] = _PRESET
    batch_size: Annotated[int, Help("Photos per step.", least=2)] = 64
    learning_rates: Annotated[tuple[float, ...], Help("Learning rates.", metavar="X,X,...")] = _PRESET
    weight_decays: Annotated[tuple[float, ...], Help("Weight decays.", metavar="X,X,...")] = _PRESET
    warmups: Annotated[tuple[int, ...], Help("Steps of warm-up.", metavar="N,N,...")] = _PRESET
    size: Annotated[int, Help("Side length of COCO's photos, in pixels.", least=16)] = 64
    device: Annotated[str, Help("Device.", metavar="auto|cpu|cuda|mps", recorded=False)] = "auto"
    precision: Annotated[
        Precision | None,
        Help("Training precision.  [default: bf16 on CUDA, else fp32]", recorded=False),
    ] = None
    packages: Annotated[
        Path | None,
        Help("Folder with the .deb file, if there is no apt.", metavar="DIR", recorded=False),
    ] = None
    offline: bool = False

    def preset(self) -> dict[str, Any]:
        """See `StudySettings`."""
        paper = self.coco is not None and not self.quick
        found: dict[str, Any] = {"strengths": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "seeds": 5, "epochs": 16}
        if self.quick:
            found = {"strengths": (0.8,), "seeds": 2, "epochs": 3}
        elif paper:
            found = {"strengths": (0.8,), "seeds": 1, "epochs": 20}
        found |= {"control": not paper, "models": TABLE_7_MODELS if self.coco else (SMALL,)}
        if paper:
            return found | {
                "learning_rates": (1e-3, 1e-4, 1e-5),
                "weight_decays": (1e-1, 1e-3, 1e-5),
                "warmups": (0, 1000),
            }
        return found | {"learning_rates": (3e-3,), "weight_decays": (1e-3,), "warmups": (20,)}

    @property
    def all_strengths(self) -> tuple[float | None, ...]:
        """The strengths, and None for the control."""
        return (*self.strengths, None) if self.control else self.strengths
