"""Text of a layout: what is written reads back, and nothing else is taken for one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ckptkit.formats.layout import decode_layout, encode_layout
from ckptkit.model import KerasV3, Layout, LegacyGroup, LegacyKeras, Placed, VarsGroup, layout_in

TEXT = st.text(max_size=5)
PLACES = st.lists(st.builds(Placed, TEXT, TEXT, TEXT), unique_by=lambda place: place.key, max_size=5)


@given(st.builds(Layout, st.sampled_from(["legacy", "v3", "order"]), PLACES.map(tuple)))
def test_what_is_written_reads_back(layout: Layout) -> None:
    assert decode_layout(encode_layout(layout)) == layout


@given(st.binary(max_size=40))
def test_any_bytes_are_a_layout_or_none(data: bytes) -> None:
    assert decode_layout(data) is None or isinstance(decode_layout(data), Layout)


def test_groups_of_keras_are_read_in_their_order() -> None:
    legacy = LegacyKeras((LegacyGroup("b", (("b/kernel:0", "b/b/kernel:0"),)), LegacyGroup("a", ())), None, None, None)
    assert layout_in(legacy) == Layout("legacy", (Placed("b/b/kernel:0", "b", "b/kernel:0"),))
    groups = (VarsGroup("layers/b", "x", ("k1",), 9), VarsGroup("layers/a", None, ("k0",), 4))
    assert layout_in(KerasV3(groups)) == Layout("v3", (Placed("k0", "layers/a", ""), Placed("k1", "layers/b", "x")))
    assert layout_in(None) is None
