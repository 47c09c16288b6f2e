"""Keras 3's layout: groups of numbered `vars`, read with the architecture, the stored names or the groups' own words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ckptkit.canonical.architecture import Node, parse_architecture, preorder
from ckptkit.canonical.dealing import order_of_slots
from ckptkit.canonical.draft import Aside, LayerFacts, MapDraft, Member
from ckptkit.canonical.fit import Aligned, Aligner
from ckptkit.canonical.keras_v3_optimizer import draft_optimizer, optimizer_groups, optimizer_of
from ckptkit.canonical.keras_v3_places import PART_ORDER, GroupPlace, Places, by_attributes
from ckptkit.canonical.keras_v3_twice import held_twice
from ckptkit.canonical.naming import natural_key, public
from ckptkit.canonical.topology import read_topology
from ckptkit.canonical.words import NEVER_TRAINED
from ckptkit.conventions.layout import Shape
from ckptkit.model import Contents, KerasV3, OrderSource, StoredTensor, VarsGroup

# Groups beside the layers that hold what training keeps (keras/src/trainers/trainer.py). The first are properties and private
# names of Keras; the others can be attributes of the user's own, and are metrics where they are what metrics hold.
_STATE_ROOTS = frozenset({"metrics", "_metrics", "_compile_metrics", "_loss_tracker"})
_STATE_WORDS = frozenset({"compile_metrics", "loss_tracker"})


def draft_v3(contents: Contents, layout: KerasV3) -> MapDraft:
    """Layers of a `.weights.h5`, sharded weights or `.keras`, in the order of the architecture or of writing."""
    tensors = {tensor.key: tensor for tensor in contents.tensors}
    dialects = ("keras2", "keras3") if (layout.keras_version or "").startswith("2.") else ("keras3", "keras2")
    root = parse_architecture(layout.config)
    groups, source = _ordered(layout.groups)
    places = Places(groups, root, dialects)
    optimizer = optimizer_groups(groups, tensors)
    twice = {each.path: each for each in held_twice(groups, places, tensors)}
    asides = _states(groups, places, tensors)
    asides += [
        Aside(each.copy, "/".join((*places[path].path, "kernel")), "state", copy_of=each.of)
        for path, each in twice.items()
    ]
    beside = {aside.key for aside in asides} | {key for group in optimizer for key in group.keys}
    owners = [group for group in groups if any(key in tensors and key not in beside for key in group.keys)]
    names = _layer_names(owners, places)
    aligner = Aligner(dialects)
    facts: dict[str, LayerFacts] = {}
    members: list[tuple[Node | None, Member]] = []
    for group in owners:
        place = places[group.path]
        layer = names[group.path]
        if group.path in twice:
            facts[layer] = _facts(layer, group, place, places, Aligned(twice[group.path].kind, (), fits=True))
            continue
        found = [tensors[key] for key in group.keys if key in tensors]
        read = _read(found, place, aligner)
        facts[layer] = _facts(layer, group, place, places, read)
        for number, (tensor, native) in enumerate(zip(found, read.natives, strict=True)):
            role = native.roles[0] if native and native.roles else None
            members.append((place.node, Member(tensor.key, layer, native.suffix if native else f"vars/{number}", role)))
        around = twice.get(group.path.rpartition("/")[0])
        if around is not None and group.keys[0] == around.of:
            # As every other container has it: what a wrapper owns comes after what it wraps.
            members.append((place.node, Member(around.own, names[around.path], around.word)))
    if root is not None:
        order = {id(node): number for number, node in enumerate(preorder(root))}
        members.sort(key=lambda item: order.get(id(item[0]), len(order)))
        source = "config"
    elif by_attributes(group.path for group in owners):
        source = "attributes"
    else:
        members = _as_optimized(members, optimizer, layout, tensors)
    weights = [
        (node, tensors[member.key]) for node, member in members if (member.role or member.word) not in NEVER_TRAINED
    ]
    in_order = source != "attributes" and all(item.ordered for item in facts.values())
    return MapDraft(
        members=tuple(member for _, member in members),
        asides=(
            *asides,
            *draft_optimizer(
                optimizer, layout, tensors,
                [tensor for node, tensor in weights if node is None or node.trainable],
                ordered=in_order, trained=root is not None and in_order,
            ),
        ),
        order_source=source,
        dialects=dialects,
        facts=facts,
        weightless=_weightless(root, members),
        read_flow=partial(read_topology, root, tuple(facts)) if root else None,
    )  # fmt: skip


def _as_optimized(
    members: list[tuple[Node | None, Member]],
    optimizer: Sequence[VarsGroup],
    layout: KerasV3,
    tensors: dict[str, StoredTensor],
) -> list[tuple[Node | None, Member]]:
    """`members` with the layers in the order of their slots, where that is another and the only one."""
    slots = [tensors[key] for group in optimizer[:1] for key in group.keys if key in tensors and tensors[key].shape]
    if not slots:
        return members
    layers: dict[str, list[Shape]] = {}
    for _, member in members:
        shapes = layers.setdefault(member.layer, [])
        if (member.role or member.word) not in NEVER_TRAINED:
            shapes.append(tensors[member.key].shape)
    order = {layer: place for place, layer in enumerate(order_of_slots(layers, slots, optimizer_of(layout, optimizer)))}
    return sorted(members, key=lambda item: order[item[1].layer]) if order else members


def _states(groups: Sequence[VarsGroup], places: Places, tensors: dict[str, StoredTensor]) -> list[Aside]:
    """Metrics of the trainer and seeds of dropout."""
    asides = []
    for group in groups:
        found = [tensors[key] for key in group.keys if key in tensors]
        first = group.path.partition("/")[0]
        if found and _is_seed(group.path) and not any(tensor.dtype.startswith("float") for tensor in found):
            name = "/".join((*places[group.path].path, "vars"))
        elif first in _STATE_ROOTS or (first in _STATE_WORDS and not any(tensor.shape for tensor in found)):
            name = group.path
        else:
            continue
        asides += [Aside(tensor.key, f"{name}/{number}", "state") for number, tensor in enumerate(found)]
    return asides


def _is_seed(path: str) -> bool:
    return path.rpartition("/")[2].startswith(("seed_generator", "_seed_generator", "_random_generator"))


def _layer_names(owners: Sequence[VarsGroup], places: Places) -> dict[str, str]:
    """Canonical path of each group with tensors: stored names can repeat, groups cannot."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for group in owners:
        name = "/".join(places[group.path].path) or group.name or "model"
        if name in taken:
            name = public(group.path)
        while name in taken:
            name = f"{name}/vars"
        taken.add(name)
        names[group.path] = name
    return names


def _read(found: Sequence[StoredTensor], place: GroupPlace, aligner: Aligner) -> Aligned:
    """What the class and the shapes tell of a layer's tensors; a word that the shapes contradict is no class."""
    shapes = [tensor.shape for tensor in found]
    config = place.node.config if place.node is not None and place.is_node else {}
    if place.kind is not None:
        read = aligner.align(shapes, place.kind, config)
        if read.fits or place.sure:
            return Aligned(place.kind, read.natives, read.fits)
    read = aligner.align(shapes, None, config)
    return read if read.fits else Aligned(place.kind, read.natives, fits=False)


def _facts(layer: str, group: VarsGroup, place: GroupPlace, places: Places, read: Aligned) -> LayerFacts:
    config = place.node.config if place.node is not None and place.is_node else None
    return LayerFacts(
        read.kind,
        place.node.calls if place.node else 1,
        config or None,
        aliases=tuple(alias for alias in places.aliases(group.path) if alias != layer),
        ordered=place.ordered,
        placed=not all(read.natives),
        unsure=read.kind is None,
    )


def _ordered(groups: Sequence[VarsGroup]) -> tuple[list[VarsGroup], OrderSource]:
    """Groups in the order of creation, as far as the file tells it, and where the order came from."""
    if all(group.address is not None for group in groups):
        ordered = sorted(groups, key=lambda group: group.address or 0)
        source: OrderSource = "file-layout"
    else:
        ordered = sorted(groups, key=lambda group: natural_key(group.path))
        source = "natural"
    # What a layer holds follows its first group; attributes of one layer are in the order in which they were built.
    first: dict[str, int] = {}
    parts: dict[str, tuple[str, int]] = {}
    for place, group in enumerate(ordered):
        components = group.path.split("/")
        for depth, component in enumerate(components):
            rank = PART_ORDER.get(component.lstrip("_"))
            if rank is not None:
                parts[group.path] = "/".join(components[:depth]), rank
                first.setdefault(parts[group.path][0], place)
                break
        first.setdefault(group.path, place)

    def key(item: tuple[int, VarsGroup]) -> tuple[int, int, int]:
        place, group = item
        owner, rank = parts.get(group.path, (group.path, -1))
        return first[owner], rank, place

    ordered = [group for _, group in sorted(enumerate(ordered), key=key)]
    return ordered, source


def _weightless(root: Node | None, members: Sequence[tuple[Node | None, Member]]) -> tuple[tuple[str, str | None], ...]:
    """Layers of the outermost model that hold no tensor, in order."""
    if root is None:
        return ()
    full: set[int] = set()
    for node, _ in members:
        around = node
        while around is not None and id(around) not in full:
            full.add(id(around))
            around = around.parent
    return tuple((child.name, child.class_name) for child in root.children if id(child) not in full)
