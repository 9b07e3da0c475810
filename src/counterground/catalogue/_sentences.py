"""The one catalogue of sentences: what each finding says, in at most 25 words, and how it is to be read."""

from __future__ import annotations

from typing import Literal, get_args

Severity = Literal["claim", "warning", "note", "step"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

CATALOGUE: dict[str, tuple[Severity, str]] = {
    # What the photos show of a difference between the two sides of a contrast.
    "loses": ("claim", "{subject} loses {size} {when}."),
    "loses_most": (
        "claim",
        "Largest measured {noun} of {models} models: {subject} loses {size} (corrected) {when}.",
    ),
    "not_established": ("claim", "{subject} measures a {noun} of {size}, which these photos cannot confirm."),
    "not_clear": ("claim", "The {noun} of {subject}, {size}, is not clearly above 0."),
    "reversed": ("claim", "{subject} is more accurate on {right} than on {left}: its {noun} is {size}."),
    "no_sides": ("claim", "No {noun} can be measured: {reason}. Highest accuracy: {subject}, {level}."),
    "no_effect": (
        "claim",
        (
            "These composites do not show how much models rely on the background: no objects are on their"
            " own and on other labels."
        ),
    ),
    "all_near_chance": ("claim", "No {noun} can be judged: no model is clearly better than guessing."),
    # What the values of a column show.
    "values_differ": (
        "claim",
        (
            "{subject}: accuracy differs between the {values} values of {column} ({p}), by a standard "
            "deviation of {size}."
        ),
    ),
    "values_alike": (
        "note",
        (
            "{subject}: the {values} values of {column} do not differ significantly ({p}); standard "
            "deviation of their true accuracies: {size}."
        ),
    ),
    "alone_within": (
        "note",
        (
            "Photos of one {column} count as independent: sequences of alike photos make intervals too "
            "narrow and differences too sure."
        ),
    ),
    "another_value": (
        "note",
        (
            "{subject}: on another {column}, drawn like these {values}, accuracy over photos is between "
            "{low:points} and {high:points} % (95 %)."
        ),
    ),
    "lowest_values": ("note", "{subject}: lowest of the {values} values of {column}, shrunken: {lowest}."),
    "pairs_differ": (
        "claim",
        (
            "{subject}: within classes, {differ} of {number} pairs of {column} differ (points; Holm, "
            "{tests} tests): {pairs}."
        ),
    ),
    "pairs_alike": (
        "note",
        (
            "{subject}: within classes, none of {number} pairs of {column} differs significantly (Holm, "
            "{tests} tests)."
        ),
    ),
    "groups_follow": (
        "warning",
        (
            "Groups follow {what} ({share:.2f} of 1), so a drop between them may be that of {what}, not "
            "of the background."
        ),
    ),
    # Who chose the two sides.
    "chose_here": (
        "warning",
        (
            "{subject} chose these pairs on these same photos, which inflates its {noun}; the effect on "
            "related models is not known."
        ),
    ),
    "chose_other_half": (
        "warning",
        (
            "{subject}, or the model it was made from, chose each half's pairs on the other half: its "
            "interval is too narrow."
        ),
    ),
    "chosen_here": (
        "warning",
        (
            "The pairs were chosen on these same photos, which inflates {noun}s of models with similar "
            "errors by an unknown amount."
        ),
    ),
    "chose_pairs": (
        "note",
        (
            "{subject} chose these pairs, where it does best and worst: they reflect its weaknesses; "
            "other models may have others."
        ),
    ),
    "selection_unknown": (
        "note",
        (
            "It is not recorded who chose common and counter backgrounds. If these photos and models did,"
            " the {noun} is inflated."
        ),
    ),
    "exploratory": (
        "warning",
        (
            "Nobody knows of how many contrasts this one was picked, so its {noun} is not corrected: test it"
            " on new photos."
        ),
    ),
    # What else limits a figure.
    "near_chance": (
        "warning",
        (
            "Accuracy on {left} is not clearly above chance, so a small {noun} says nothing and is left "
            "out: {models}."
        ),
    ),
    "no_interval": (
        "warning",
        (
            "{subject}: no interval, as all photos, or those of a side, are in one cluster. Add other "
            "clusters."
        ),
    ),
    "few_clusters": ("warning", "Intervals rest on only {clusters} clusters of photos, so they are rough."),
    "corrected": (
        "note",
        (
            "Interval and p ({p}) of {subject} are corrected for {tests} tests (Holm); the largest {noun} of "
            "several is somewhat inflated."
        ),
    ),
    "confounded": (
        "note",
        (
            "Other differences between the two sides, such as the size of objects, may contribute to the "
            "{noun}."
        ),
    ),
    "other_classes": (
        "note",
        (
            "For other classes chosen like these, the interval of {subject} is {interval}; all others are"
            " for other photos of these classes."
        ),
    ),
    "mistakes_fit": (
        "note",
        (
            "{subject}: of its mistakes on counter photos, {level} name a class that the background fits; "
            "chance would give {chance:points} %."
        ),
    ),
    "one_sided": (
        "note",
        "Classes with photos on only one side count in that accuracy, but not in the {noun}.",
    ),
    # Models against each other.
    "larger": (
        "note",
        (
            "{subject}: {noun} significantly larger than that of {others} (Holm, {tests} tests), which "
            "depends on accuracy, too: see counterground compare."
        ),
    ),
    "tied": (
        "warning",
        "Not significantly smaller than the {noun} of {subject}: {others} (Holm, {tests} tests).",
    ),
    "untested": (
        "warning",
        ("{others}: no test against {subject}; other photos, other settings, or too few independent photos."),
    ),
    "biased_ranking": (
        "warning",
        "{subject} helped to choose the pairs, so its {noun} and those of others are not comparable.",
    ),
    "ranking_uncertain": (
        "warning",
        (
            "Pairs chosen on these photos inflate each model's {noun} by another unknown amount, so "
            "rankings are uncertain."
        ),
    ),
    "other_photos": (
        "warning",
        "These runs are on different photos or versions, so compare figures only within each: {values}.",
    ),
    "settings_differ": (
        "warning",
        "{subject} differ, which may explain differences between models: {values}.",
    ),
    "left_out": ("warning", "{subject}: not among {place}, since {reason}."),
    "unlike_paper": ("warning", "{subject} has other {what} than the paper's rows beside it: {remedy}."),
    "not_tested": ("warning", "On {subject} there are no tests between {others}: {reason}."),
    "over_line": (
        "note",
        (
            "Effective robustness of {subject} is {size} larger than that of {versus}, on the same photos "
            "({p}, {tests} tests)."
        ),
    ),
    "no_line": ("warning", "There is no line on {subject}: {reason}."),
    "line_far": (
        "warning",
        (
            "The line on {subject} is based on accuracies from {lowest:points} to {highest:points} % and "
            "extrapolated for {models}."
        ),
    ),
    "line_noise": (
        "warning",
        (
            "Sampling is {share:points} % of the variance between the accuracies behind the line on "
            "{subject}, which tilts it towards the horizontal."
        ),
    ),
    # What a check decides.
    "check_limits": (
        "warning",
        (
            "The pairs were chosen on these photos: a {noun} can pass but not fail, a baseline decides "
            "nothing, accuracy decides as usual."
        ),
    ),
    "contains_limit": ("warning", "{subject}: the interval of its {noun} contains the limit."),
    "more_photos": (
        "warning",
        (
            "{subject}: if the measured value is the true one, {needed} photos in more clusters would "
            "decide with power 80 %, instead of {photos}."
        ),
    ),
    # How many photos are enough.
    "photos_enough": (
        "note",
        (
            "{photos} {rows} in {clusters} clusters are enough to detect a {noun} of {drop:points} points"
            " with power {power:points} %."
        ),
    ),
    "photos_needed": (
        "warning",
        (
            "{photos} {rows} detect a {noun} of {drop:points} points with power {power_now:points} %; "
            "about {needed} are needed for {power:points} %."
        ),
    ),
    "no_plan": ("note", "How many photos are enough cannot be planned for {subject}: {reason}."),
    # What composites and mitigations show.
    "caused": (
        "note",
        (
            "{subject} loses {size} when the same objects stand on counter instead of common backgrounds "
            "({p}, {effects} tests)."
        ),
    ),
    "not_caused": (
        "note",
        (
            "The background causes no significant loss of {subject}: {size} for the same objects ({p}, "
            "{effects} tests)."
        ),
    ),
    "placebo_large": (
        "warning",
        (
            "{subject}: editing alone moves accuracy by {cost:points} points, so effects of backgrounds "
            "are uncertain by as much."
        ),
    ),
    "mended": (
        "note",
        (
            "{method} makes the {noun} of {subject} smaller by {size}, at a cost of {cost:points} points "
            "on {left}."
        ),
    ),
    "not_mended": (
        "note",
        (
            "No method tried makes the {noun} of {subject} significantly smaller without reversing it or "
            "mostly losing accuracy."
        ),
    ),
    "nothing_to_mend": (
        "note",
        "The measured {noun} of {subject} is {size}: there is nothing to make smaller.",
    ),
    "inflated_too": ("warning", "The pairs were chosen on these photos, which may inflate {what}."),
    "mended_elsewhere": ("warning", "Mitigations of {subject} were measured on other photos: {benchmark}."),
    # What to do next.
    "do_check_models": (
        "step",
        (
            "Check that class names and preprocessing fit the models, or let fewer names compete "
            "(--label-space benchmark)."
        ),
    ),
    "do_choose_pairs": (
        "step",
        ("Choose pairs of backgrounds: counterground discover, on photos sorted or labelled by background."),
    ),
    "do_measure_elsewhere": (
        "step",
        (
            "Measure it on photos that did not choose the pairs: counterground discover --split half, or "
            "new photos."
        ),
    ),
    "do_swap_kinds": (
        "step",
        ("Make composites of the kinds same and other: counterground swap puts the same objects on both."),
    ),
    "do_add_photos": (
        "step",
        "Add photos of other clusters before you conclude that models do equally well on both sides.",
    ),
    "do_nothing": (
        "step",
        "More photos of this kind would change little: the interval is narrow, and holds 0.",
    ),
    "do_check_sides": (
        "step",
        ("Check which side should be harder: counter backgrounds should be those that models find harder."),
    ),
    "do_other_contrast": (
        "step",
        "Choose another contrast, with fewer columns held fixed, or add photos to the cells below.",
    ),
    "do_swap": (
        "step",
        ("See what the background causes: counterground swap puts the same objects on other backgrounds."),
    ),
    "do_mitigate": ("step", "See what makes the {noun} smaller, and at what cost: counterground mitigate."),
    "do_other_grounds": (
        "step",
        "Decide on other grounds, or add photos: other models may have as large a {noun}.",
    ),
    "do_compare": (
        "step",
        ("Compare accuracy on {right}, and weigh it against the {noun}; see below which classes lose most."),
    ),
}
"""By code: its severity, and its sentence."""
