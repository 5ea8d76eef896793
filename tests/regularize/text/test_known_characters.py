from hypothesis import given
from hypothesis import strategies as st

from redrop.regularize.text.known_characters import LOOK_ALIKES, keep_known


@given(text=st.text(), known=st.text())
def test_every_character_of_the_result_is_known(text, known):
    assert set(keep_known(text, known)) <= set(known)


@given(known=st.text(min_size=1), data=st.data())
def test_a_text_of_known_characters_stays(known, data):
    text = data.draw(st.text(alphabet=sorted(set(known))))
    assert keep_known(text, known) == text


def test_look_alikes_accents_and_case_are_found():
    ascii_only = [chr(code) for code in range(32, 127)]
    strange = "".join(LOOK_ALIKES)
    assert keep_known(strange.replace("`", ""), ascii_only) == "".join(
        each for name, each in LOOK_ALIKES.items() if name != "`"
    )
    assert keep_known("ÄÖÜ čšž ﬁ ①", ascii_only) == "AOU csz fi 1"
    assert keep_known("ABC", "abc") == "abc"
    assert keep_known("日本 x", ascii_only) == " x"
    assert keep_known("…", "-") == ""
