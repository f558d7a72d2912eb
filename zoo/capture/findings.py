"""What a call of a model found, and what it did not."""

from zoo.capture.families import looks_like_attention

UNSEEN = (
    "no softmax over one axis of keys was seen to meet values in it: let it return its weights "
    "(return_attention_scores), or name them with zoo.capture.register"
)


def check_found(recorder):
    """After a call: nothing to see, or nothing of a name that was asked for, is an error."""
    for problem in recorder.problems:  # said here, where no layer adds its arguments to the sentence
        raise ValueError(problem)
    known = [entry.about["path"] for entry in recorder.entries]
    name = recorder.model.name
    if not known:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in missing(recorder).items())
        if reasons:
            raise ValueError(f"No attention of the model {name!r} could be read: {reasons}.")
        raise ValueError(f"The model {name!r} has no layer that attends, so there is no attention to read.")
    unknown = sorted({*(recorder.layers or ()), *recorder.replace} - set(known))
    if unknown:
        raise ValueError(
            f"The model {name!r} has no attention at {', '.join(unknown)}, only at {', '.join(known)}."
        )


def missing(recorder):
    """`{path: reason}` of layers that look as if they attended and have no map."""
    found = {entry.about["owner"] for entry in recorder.entries}
    reasons = {path: reason for path, reason in recorder.reasons.items() if path not in found}
    for path, layer in recorder.tree:
        if (
            not looks_like_attention(layer)
            or path in reasons
            or any(_related(path, other) for other in (*found, *reasons))
        ):
            continue
        reasons[path] = UNSEEN if path in recorder.seen else "it was not called"
    return reasons


def _related(path, other):
    return path == other or other.startswith(f"{path}/") or path.startswith(f"{other}/")
