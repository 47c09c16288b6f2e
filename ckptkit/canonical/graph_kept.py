"""What Keras keeps in an object graph beside a model's weights: metrics, states of recurrent layers, second copies.

None is known by the word of an attribute alone, which a user's objects can have as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ckptkit.canonical.graph_optimizers import Variables, variables_of
from ckptkit.canonical.graph_walk import Walk

# In a SavedModel a layer of Keras 2 holds its lists, and again what makes them below this attribute
# (tf_keras/src/saving/legacy/saved_model/serialized_attributes.py). Only what is nowhere else is reached by these of them.
_API = "keras_api"
_OF_API = frozenset({"states", "metrics", "layer_metrics"})
_VARIABLES = "variables"
_METRIC = "_tf_keras_metric"

# What Keras 3 exports beside each other: the last one is a second copy of what the functions use, and the states of
# recurrent layers (keras/src/export/saved_model.py).
_EXPORTED = frozenset({_VARIABLES, "trainable_variables", "non_trainable_variables"})
_COPIES = "_all_variables"
_RNN_STATE = "rnn_state"

# Variables of metrics (keras/src/metrics), which are made in no scope.
_METRIC_WORDS = frozenset(
    {"total", "count", "accumulator", "true_positives", "true_negatives", "false_positives", "false_negatives",
     "total_confusion_matrix", "squared_sum", "sum", "residual", "num_samples", "intersection"}
)  # fmt: skip


def find_kept(walked: Walk, variables: Variables, full_names: Mapping[int, str]) -> frozenset[int]:
    """Nodes of the variables that Keras keeps.

    Args:
        walked: the walk over the graph.
        variables: node of each variable -> its tensor.
        full_names: node of each variable -> the name it was made with.
    """
    kept: set[int] = set()
    inside: set[int] = set()
    apis: set[int] = set()
    for node in walked.order:
        parent, edge = walked.parents[node], walked.edges[node]
        if edge == _API and parent >= 0 and _is_api(node, parent, walked):
            apis.add(node)
        metric = walked.nodes[node].identifier == _METRIC
        if metric or parent in inside or (parent in apis and edge in _OF_API):
            inside.add(node)
            if node in variables:
                kept.add(node)
        if edge == _COPIES and parent == 0:
            kept.update(_copies(node, walked, variables, full_names))
    return frozenset(kept)


def may_be_metric(node: int, walked: Walk, full_names: Mapping[int, str]) -> bool:
    """Whether a variable is called as a metric calls its own, by its attribute and by itself."""
    name = full_names.get(node, "")
    return name in _METRIC_WORDS and walked.edges[node] == name


def _is_api(node: int, parent: int, walked: Walk) -> bool:
    """Whether both hold the same list of variables."""
    lists = [dict(walked.nodes[each].children).get(_VARIABLES) for each in (node, parent)]
    return lists[0] is not None and lists[0] == lists[1]


def _copies(node: int, walked: Walk, variables: Variables, full_names: Mapping[int, str]) -> Iterator[int]:
    beside = dict(walked.nodes[0].children)
    if not beside.keys() >= _EXPORTED:
        return
    first = Counter(
        (full_names.get(each, ""), variables[each].shape)
        for each in variables_of(beside[_VARIABLES], walked)
        if each in variables
    )
    for each in variables_of(node, walked):
        name = full_names.get(each, "")
        if each in variables and first[name, variables[each].shape] > 0:
            first[name, variables[each].shape] -= 1
            yield each
        elif name.rpartition("/")[2] == _RNN_STATE:
            yield each
