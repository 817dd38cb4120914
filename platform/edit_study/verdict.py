"""The answer in plain words: whose background is kept better at equal success, and how far that may be believed."""

from collections.abc import Sequence

from unlatent.models import cost
from unlatent.platform.edit_study.attempts import DERIVED, FREE, MASKED
from unlatent.platform.edit_study.comparing import (
    CHANCE,
    Answer,
    Comparison,
    Group,
    Mixture,
    best,
    in_way,
    reconstruction,
    share_of_reconstruction,
)
from unlatent.platform.edit_study.study import Outcome, source_legibility
from unlatent.platform.intervals import Interval, ratio
from unlatent.platform.report.wording import between, listed, number, percent, plural, share
from unlatent.platform.scenes import CLASSES

FEW_PAIRS = 30  # below, bootstrap intervals are too narrow themselves
ENOUGH_PAIRS = 100
WITH = {MASKED: "With the place of the objects as a mask", DERIVED: "With a mask derived from each edit"}
EQUAL = 1.1  # times as much computation, up to which two trainings count as equal


def headline(answer: Answer) -> str:
    """Of the first subject beside the second, where nothing is told what has to stay."""
    if answer.others:
        return on_background(answer, answer.others[0], FREE)
    most = best(in_way(answer.first.outcomes, FREE)).findings
    return (
        f"Edits {answer.first.through} succeed in {percent(most.success)} of {plural(most.success.images, 'pair')} at "
        f"most, with a background MSE of {between(most.background_mse)}."
    )


def on_background(answer: Answer, second: Group, way: str) -> str:
    found, first = answer.compared[second.name, way], answer.first
    if found is None:
        groups = (first, second)
        rates, errors = (listed([words(group, way) for group in groups]) for words in (most_often, background_of_most))
        guessed = f"where {share(CHANCE)} are guessed"
        said = f"There is no edit success that both reach: at most {rates}, {guessed}; background MSE is {errors} there"
    else:
        said = f"{ratio_in_words(found, first, second)}, at an edit success of at least {share(found.level)}"
    return f"{said}." if way == FREE else f"{WITH[way]}, {said[0].lower()}{said[1:]}."


def most_often(group: Group, way: str) -> str:
    return f"{percent(best(in_way(group.outcomes, way)).findings.success)} {group.through}"


def background_of_most(group: Group, way: str) -> str:
    return f"{between(best(in_way(group.outcomes, way)).findings.background_mse)} {group.through}"


def ratio_in_words(found: Comparison, first: Group, second: Group) -> str:
    errors = [mixture.background_mse for mixture in (found.first, found.second)]
    if not any(errors):
        return f"The background stays bit for bit what it was, {first.through} and {second.through} alike"
    for error, other, kept, lost in ((errors[0], errors[1], first, second), (errors[1], errors[0], second, first)):
        if not error:
            return (
                f"The background stays bit for bit what it was {kept.through}, and has an MSE of {number(other)} "
                f"{lost.through}"
            )
    ratio = found.background
    if not ratio.is_known:
        return f"Background MSE {first.through} is {number(ratio.value)} of that {second.through}, by one pair"
    if ratio.high < 1:
        return f"Background MSE {first.through} is {to(ratio)} of that {second.through}"
    if ratio.low > 1:
        return f"Background MSE {first.through} is {to(ratio)} times that {second.through}"
    return f"Background MSE {first.through} is not told apart from that {second.through}: {to(ratio)} of it"


def verdicts(answer: Answer) -> list[str]:
    """The rest of the answer, a sentence or two for each measure."""
    said = [on_background(answer, other, FREE) for other in answer.others[1:]]
    for other in answer.others:
        said += [*on_choice(answer, other), *(on_background(answer, other, way) for way in WITH if way in answer.ways)]
    if DERIVED in answer.ways:
        said += [on_derived(answer, group) for group in answer.groups]
    for group in answer.groups:
        said += on_reconstruction(answer, group)
    if any(found for (_, way), found in answer.compared.items() if way == FREE):  # else the headline tells it
        said.append(on_success(answer))
    return [*said, on_legibility(answer)]


def on_choice(answer: Answer, second: Group) -> list[str]:
    """Which settings stand for the two."""
    found, first = answer.compared[second.name, FREE], answer.first
    if found is None:
        return []
    mixtures = ((first, found.first), (second, found.second))
    each = [f"{group.through} {mixture_in_words(mixture)}" for group, mixture in mixtures]
    what = "Of the settings that reach it, and of mixtures of two, those with the least background MSE are compared"
    said = [f"{what}: {'; '.join(each)}."]
    if any(len(mixture.shares) > 1 for _, mixture in mixtures):
        said.append("Pictures and letters are of the setting that edits most of the pairs.")
    return said


def mixture_in_words(mixture: Mixture) -> str:
    """`80 % of pairs by 22 of 24 steps at guidance 2, which succeeds in 39.5 % (…) and 20 % of pairs by …`."""
    if len(mixture.shares) == 1:
        return f"{setting(mixture.main)}, which succeeds in {percent(mixture.main.findings.success)}"
    return " and ".join(
        f"{share(part, 0)} of pairs by {setting(outcome)}, which succeeds in {percent(outcome.findings.success)}"
        for outcome, part in mixture.shares.items()
    )


def on_derived(answer: Answer, group: Group) -> str:
    """What an edit loses, and what it keeps, where all that it hardly changed is put back."""
    free = answer.shown(group, FREE)
    [kept] = [each for each in in_way(group.outcomes, DERIVED) if each.attempt.edit == free.attempt.edit]
    left = ratio(kept.measured.background_errors, free.measured.background_errors, free.attempt.seed)
    success = f"{percent(kept.findings.success)} succeed instead of {percent(free.findings.success)}"
    had_any = free.findings.background_mse.value > 0
    error = f"{percent(left)} of the background MSE is left" if had_any else "the background stays what it was"
    return f"Where all is put back that edits {group.through} hardly changed, {error}, and {success}."


def on_reconstruction(answer: Answer, group: Group) -> list[str]:
    alone = reconstruction(group.outcomes)
    if alone is None:
        return []
    edited, error = answer.shown(group, FREE), between(alone.findings.background_mse)
    said = f"Encode and decode alone, with no edit, give a background MSE of {error} {group.through}"
    if not edited.findings.background_mse.value:
        return [f"{said}."]
    return [f"{said}: {percent(share_of_reconstruction(alone, edited))} of that of its edits."]


def on_success(answer: Answer) -> str:
    return f"Without a mask, at most {listed([most_often(group, FREE) for group in answer.groups])} of edits succeed."


def on_legibility(answer: Answer) -> str:
    """Of the sign, after the edits that are compared, beside what is read without an edit."""
    read = []
    for group in answer.groups:
        shown, alone = answer.shown(group, FREE), reconstruction(group.outcomes)
        without = f" (by encode and decode alone {share(alone.findings.legibility.value)})" if alone else ""
        read.append(f"{percent(shown.findings.legibility)} {group.through}{without}")
    bound = source_legibility(answer.first.outcomes[0].attempt.pairs)
    return f"Of the letters on the signs, {listed(read)} are read right after an edit; before it, {share(bound)}."


def caveats(answer: Answer) -> list[str]:
    """How far the answer goes: what it rests on, and what it does not say."""
    pairs = len(answer.first.outcomes[0].attempt.pairs)
    said = [
        "The scenes are made up: one object before a texture, with a sign. They show how it works, and not how it does "
        "on photographs.",
        f"An edit counts as done if, of the {len(CLASSES)} classes drawn in the object's place, the one asked for is "
        f"nearest. A smear has a class too, by chance the right one in {share(CHANCE)}: how well an object is drawn is "
        "told by its error to the true target.",
    ]
    if pairs < FEW_PAIRS:
        said.append(f"Only {plural(pairs, 'pair')}: intervals of so few are too narrow themselves. 100 would do.")
    elif pairs < ENOUGH_PAIRS:
        said.append(f"{pairs} pairs: enough for large differences; small ones need more.")
    if answer.others:
        said.append(
            "Settings were chosen on the pairs that they are measured on, which flatters the model that has more of "
            "them to choose from. What a ratio lies between allows for it: each resample of the pairs chooses anew."
        )
        said += on_compute(answer.groups)
    said.append(
        "With the objects' place as a mask, an edit is told where they are, as by a user's brush: the scenes know. A "
        "derived mask is told nothing: it is where the edit itself changed much."
    )
    return said


def on_compute(groups: Sequence[Group]) -> list[str]:
    said, spent = [], [training_gflops(group) for group in groups]
    if max(spent) > EQUAL * min(spent):
        each = [f"{number(gflops)} GFLOPs {group.through}" for group, gflops in zip(groups, spent, strict=True)]
        said.append(f"The networks were not trained with equal computation: {listed(each)}.")
    beyond = [group.through for group in groups if group.model.autoencoder]
    if beyond:
        said.append(f"What training the autoencoder took, and encoding images by it, comes on top {listed(beyond)}.")
        said.append("What encode and decode lose is this autoencoder's: larger ones that saw more images keep more.")
    return said


def training_gflops(group: Group) -> float:
    """Of the network itself."""
    return cost.training_gflops(group.model.network.config) * group.model.images_seen


def setting(outcome: Outcome) -> str:
    edit = outcome.attempt.edit
    if edit is None:
        return "without an edit"
    return f"{edit.n_max} of {edit.steps} steps at guidance {edit.target_guidance:g}"


def to(interval: Interval) -> str:
    """`0.21 (0.15 to 0.30)`."""
    return f"{number(interval.value, 2)} ({number(interval.low, 2)} to {number(interval.high, 2)})"
