"""A page shows the packed data, which cannot inject HTML or script."""

import binascii
import re
import zlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from made import saying
from profiles import examples
from strategies import pairs, policies, problems

from speculative import asolve
from speculative.report.chain_page import PackedChain, chain_page
from speculative.report.timeline import Timeline
from speculative.viewer.data import pack
from speculative.viewer.page import page

HOSTILE = "</script><script>alert(1)</script><!-- <style> \u202e\x00 😀 \ud7ff\ufffd"


def unpack(block, kind=None):
    """Returns the packed value, as the page does."""
    data = zlib.decompress(binascii.a2b_base64(block))
    return msgspec.json.decode(data, type=kind) if kind else msgspec.json.decode(data)


@settings(max_examples=examples(30))
@given(policies(), pairs(), problems())
async def test_a_packed_chain_is_the_timeline_of_its_trace(policy, pair, problem):
    method, params, wrappers = policy
    async with pair:
        result = await asolve(problem, method, wrappers=wrappers, pair=pair, **params)
    packed = unpack(pack(PackedChain.of(result.trace)), PackedChain)
    timeline = Timeline(result.trace)
    timeline.close()
    assert packed.spans() == timeline.spans
    assert packed.usage == result.usage


@settings(max_examples=examples(40))
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_packed_values_are_ascii_and_unpack_again(value):
    block = pack(value)
    assert re.fullmatch(rb"[A-Za-z0-9+/]*=*", block)
    assert unpack(block) == value


def test_no_text_of_a_chain_stands_in_its_page():
    made = chain_page(saying(HOSTILE, HOSTILE, asked=HOSTILE)).decode()
    assert made.count("<script") == made.count("</script>") == 3  # the data, the page and its formulas
    assert "alert(1)" not in made


def test_a_page_names_no_address_and_lets_nothing_in():
    made = page("report.js", {}).decode()
    assert set(re.findall(r"https?://[^\s\"'`]+", made)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in made
    assert "unsafe" not in made
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", made)


def test_a_packed_chain_has_the_columns_that_the_script_reads():
    assert set(PackedChain.__struct_fields__) == set(msgspec.to_builtins(PackedChain.of(saying("a"))))
