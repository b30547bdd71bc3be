"""Ticker linking: the vectors K1 to K21, and each part of the rule at its edges."""

from typing import Any

import pytest

from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import DEFAULT_SYMBOLS
from tapedeck.streams.config.text_groups import Link
from tapedeck.streams.stages.links.aliases import ALIASES, ORDINARY
from tapedeck.streams.stages.links.assets import default_assets
from tapedeck.streams.stages.links.clean import cleaned
from tapedeck.streams.stages.links.rule import Effect, Linked, link
from tapedeck.streams.stages.links.text import text_of
from tapedeck.streams.stages.links.words import AMBIGUOUS, CASHTAG_ONLY, CUES, NEGATIVE, STRONG_CUES

_ASSETS = """
AAPL MSFT NVDA AMD META GOOGL TSLA NOW CAT DE HD GS PG ALL IT A F T GE GME PLTR ON GO OPEN AI BRK.B UNH LLY
XOM ORCL CRM
"""
ASSETS = frozenset(_ASSETS.split())


def linked(text: str, provider: list[str] | None = None, **changed: Any) -> Linked:
    assets = changed.pop("assets", ASSETS)
    return link(text, provider=provider, assets=assets, config=Link(**changed))


def told(text: str, provider: list[str] | None = None, **changed: Any) -> str:
    """The links as "NVDA 0.95 CASHTAG", with commas between."""
    found = linked(text, provider, **changed)
    return ", ".join(f"{each.symbol} {each.confidence:.2f} {'+'.join(each.kinds)}" for each in found.links)


VECTORS = {
    "K1": ("Loading up on $nvda and $TSLA today", "TSLA 0.95 CASHTAG, NVDA 0.85 CASHTAG"),
    "K2": ("I think NOW is a great time to sell my house and move away", ""),
    "K3": ("NOW is the time to sell", ""),
    "K4": ("NOW calls printing after the beat", "NOW 0.55 BARE"),
    "K5": ("my cat needs CAT pet food, puts on kibble", ""),
    "K6": ("Nvidia and AMD lead the rally", "AMD 0.95 BARE, NVDA 0.90 ALIAS"),
    "K7": ("apple pie recipe from grandma", ""),
    "K8": ("Apple cuts guidance for the quarter", "AAPL 0.60 ALIAS"),
    "K9": ("YOLO ALL IN ON GME LETS GO TO THE MOON APES", ""),
    "K10": ("GME up 12% premarket", "GME 0.95 BARE"),
    "K11": ("DD: why I am long PLTR", "PLTR 0.95 BARE"),
    "K12": ("the CEO of OPEN said nothing", ""),
    "K13": ("$OPEN to the moon", "OPEN 0.95 CASHTAG"),
    "K14": ("see https://example.com/AAPL and mail me at TSLA@ex.com", ""),
    "K15": ("BRK.B and $brk.b are the same thing", "BRK.B 0.90 BARE+CASHTAG"),
    "K16": ("$F $t and $100k", "F 0.95 CASHTAG"),
    "K17": ("AAPL's margin vs. MSFT-like peers", "AAPL 0.75 BARE"),
    "K18": ("it is what it is, all good", ""),
    "K19": ("Eli Lilly (LLY) raises dividend", "LLY 0.99 ALIAS+BARE"),
    "K20": ("Meta", ""),
}


@pytest.mark.parametrize(("text", "wanted"), VECTORS.values(), ids=VECTORS)
def test_vector(text: str, wanted: str) -> None:
    assert told(text) == wanted


def test_vector_k21_a_tag_that_is_no_asset_links_nothing() -> None:
    assert told("Chip makers rally", ["NVDA", "ZZZZ"]) == "NVDA 0.90 PROVIDER"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$NVDA, $AMD.", "AMD 0.95 CASHTAG, NVDA 0.95 CASHTAG"),
        ("a$NVDA 1$NVDA $$NVDA _$NVDA", ""),
        ("$NVDAX $NVDA1 $GOOGLE $100", ""),
        ("$NVDA_x $NVDA's", "NVDA 0.95 CASHTAG"),
        ("$Nvda", "NVDA 0.85 CASHTAG"),
        ("$f $a $t", ""),
        ("$NVDA.I sold it", "NVDA 0.95 CASHTAG"),
        ("$BRK.b", "BRK.B 0.85 CASHTAG"),
        ("$BRK.Bx $ZZZZ", ""),
        ("é$NVDA $NVDAé", ""),
    ],
)
def test_a_cashtag_and_its_edges(text: str, wanted: str) -> None:
    assert told(text) == wanted


@pytest.mark.parametrize("before", ["$$", *"_@#/.-'&7x", "\u2019", "é"])
def test_a_bare_symbol_is_none_behind(before: str) -> None:
    assert told(f"so {before}AAPL it") == ""


@pytest.mark.parametrize("behind", ["_", "/", "-", "&", "7", "x", "é", "'", "'re", "'sx", "'S", "\u2019ll"])
def test_a_bare_symbol_is_none_before(behind: str) -> None:
    assert told(f"so AAPL{behind} it") == ""


@pytest.mark.parametrize("behind", ["", ".", ",", ":", ")", "'s", "\u2019s", "'s.", "!", "%", "@250", "*"])
def test_a_bare_symbol_may_stand_before(behind: str) -> None:
    assert told(f"so (AAPL{behind} it") == "AAPL 0.75 BARE"


def test_a_bare_class_falls_back_to_the_symbol_without_it() -> None:
    assert told("AAPL.O and BRK.B") == "AAPL 0.75 BARE, BRK.B 0.75 BARE"
    assert told("I sold BRK.B-like names") == ""


@pytest.mark.parametrize("word", sorted(CASHTAG_ONLY))
def test_a_word_in_capitals_is_a_symbol_with_a_dollar_sign_alone(word: str) -> None:
    assert told(f"{word} calls 12%", assets=frozenset({word})) == ""
    assert told(f"${word}", assets=frozenset({word})) == (f"{word} 0.95 CASHTAG" if len(word) <= 5 else "")


@pytest.mark.parametrize("word", sorted(AMBIGUOUS))
def test_an_ambiguous_word_needs_a_strong_cue(word: str) -> None:
    assets = frozenset({word})
    assert told(f"so {word} is it", assets=assets) == told(f"buy {word} now", assets=assets) == ""
    assert told(f"{word} shares", assets=assets) == f"{word} 0.55 BARE"


@pytest.mark.parametrize("name", ["Apple", "Oracle", "Meta", "Caterpillar", "Target", "Visa", "Gap"])
def test_an_ordinary_name_needs_a_strong_cue(name: str) -> None:
    assert linked(f"we buy {name} today", assets=default_assets(())).links == ()
    (found,) = linked(f"{name} earnings are out", assets=default_assets(())).links
    assert (found.confidence, name in ALIASES[found.symbol]) == (0.60, True)


@pytest.mark.parametrize("cue", [*sorted(CUES), "150c", "$12.5p", "1,250C", "12%", "-3.5%", "5-10%", "Calls"])
def test_a_cue_near_a_symbol_adds_once(cue: str) -> None:
    assert told(f"PLTR, {cue}! shares") == "PLTR 0.95 BARE"
    strong = cue.lower() in STRONG_CUES or cue not in CUES
    assert told(f"the {cue}: CAT") == ("CAT 0.55 BARE" if strong else "")


@pytest.mark.parametrize("word", ["$150", "150", "c", "%", "upgrades", "long-term", "12pm", "percent"])
def test_what_is_no_cue_adds_nothing(word: str) -> None:
    assert told(f"PLTR {word} it") == "PLTR 0.75 BARE"


def test_a_cue_counts_up_to_five_tokens_away_on_either_side() -> None:
    assert told("PLTR - a b c d calls") == told("calls a, b c d (PLTR)") == "PLTR 0.95 BARE"
    assert told("PLTR a b c d e calls") == told("calls a b c d e PLTR") == "PLTR 0.75 BARE"
    assert told("PLTR a calls", window_tokens=1) == "PLTR 0.75 BARE"
    assert told("Eli Lilly a b c d calls") == "LLY 0.90 ALIAS"


def test_capitals_weaken_bare_symbols_from_twenty_letters_and_seven_tenths() -> None:
    assert told("GME" + "A" * 2 + " GME " + "B" * 11 + " ccc") == ""
    assert linked("GME " + "B" * 11 + " cccccc").below[0].confidence == 0.45  # 14 of 20 letters
    assert told("GME " + "B" * 11 + " ccccccc") == "GME 0.75 BARE"  # 14 of 21
    assert told("GME " + "B" * 11 + " ccccc") == "GME 0.75 BARE"  # 19 letters
    assert told("$GME " + "B" * 20) == "GME 0.95 CASHTAG"
    assert told("Nvidia " + "B" * 20) == "NVDA 0.70 ALIAS"


def test_a_negative_phrase_weakens_what_it_is_about_and_no_cashtag() -> None:
    assert told("I feed my  Cat on CAT earnings", min_confidence=0) == "CAT 0.15 BARE"
    assert told("my cat likes $CAT") == "CAT 0.95 CASHTAG"
    assert told("my cat likes AAPL") == "AAPL 0.75 BARE"
    assert told("my catalog of CAT shares") == "CAT 0.55 BARE"


def test_the_longest_name_takes_its_place_first() -> None:
    (found,) = linked("Meta Platforms").links
    assert (found.symbol, found.confidence, [(m.start, m.end) for m in found.matches]) == (
        "META",
        0.7,
        [(0, 14)],
    )
    assert told("Ford Motor's plan") == "F 0.70 ALIAS"


def test_a_place_of_a_bare_symbol_is_no_part_of_a_name() -> None:
    (found,) = linked("GE Aerospace").links
    assert [(m.start, m.end, m.kind) for m in found.matches] == [(0, 2, "BARE")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nvidia", ""),
        ("Nvidias xNvidia Nvidia_ $Nvidia Nvidia2", ""),
        ("Nvidia's and #Nvidia", "NVDA 0.70 ALIAS"),
        ("Nvidia-backed", "NVDA 0.70 ALIAS"),
        ("Eli\n  Lilly", "LLY 0.70 ALIAS"),
        ("AT&T", "T 0.70 ALIAS"),
        ("Meta-analysis of stocks", ""),
    ],
)
def test_a_name_is_whole_words_in_its_own_case(text: str, wanted: str) -> None:
    assert told(text) == wanted


def test_a_name_of_a_symbol_that_is_no_asset_leaves_its_place_to_others() -> None:
    assert told("JPMorgan") == ""
    assert told("NVIDIA", assets=frozenset()) == ""


def test_every_further_kind_adds_and_the_sum_is_limited() -> None:
    assert told("Nvidia", ["NVDA"]) == "NVDA 0.95 ALIAS+PROVIDER"
    assert told("Nvidia NVDA $NVDA", ["NVDA"]) == "NVDA 0.99 ALIAS+BARE+CASHTAG+PROVIDER"
    assert told("NVDA and NVDA") == "NVDA 0.75 BARE"


def test_tags_are_taken_once_in_any_case_and_may_be_absent() -> None:
    assert told("", [" nvda", "NVDA", ""]) == "NVDA 0.90 PROVIDER"
    assert told("") == told("", []) == ""


def test_more_than_eight_symbols_are_a_list() -> None:
    names = sorted(ASSETS)[:9]
    assert linked("", names[:8]).list_post is False
    found = linked("", names)
    assert (found.list_post, len(found.links)) == (True, 9)
    assert linked("", names[:3], list_post=2).list_post


def test_what_is_under_the_threshold_is_told_apart() -> None:
    found = linked("Meta and AAPL")
    assert [each.symbol for each in found.links] == ["AAPL"]
    assert [(each.symbol, each.confidence) for each in found.below] == [("META", 0.40)]
    assert told("Meta", min_confidence=0.40) == "META 0.40 ALIAS"


def test_a_match_says_where_it_stands_in_the_text_as_given_and_why() -> None:
    text = "<b>see</b> [Nvidia](https://example.com/x) at https://example.com/AMD: it\u2019s AAPL\u2019s 12%"
    found = {each.symbol: each.matches for each in linked(text).links}
    assert {s: [text[m.start : m.end] for m in ms] for s, ms in found.items()} == {
        "AAPL": ["AAPL"],
        "NVDA": ["Nvidia"],
    }
    assert found["AAPL"][0].effects == (Effect.CUE,)
    assert found["AAPL"][0].rule == "SYMBOL" and found["NVDA"][0].rule == "NAME"
    tag = linked("", ["NVDA"]).links[0].matches[0]
    assert (tag.start, tag.end, tag.rule) == (None, None, "PROVIDER_TAG")


@pytest.mark.parametrize(
    "gone",
    [
        "https://example.com/AAPL", "HTTP://X/AAPL?a=$NVDA", "www.example.com/$NVDA", "example.com/$NVDA",
        "NVDA@example.com", "me.NVDA@mail.example.com", "@NVDA", "<a href='$NVDA'>", "</NVDA>", "<br/>",
        "<!-- $NVDA -->", "[](/r/$NVDA)", '[](x "$NVDA")', "[](https://x.org/a_(b)/$NVDA)",
    ],
)  # fmt: skip
def test_what_is_no_prose_is_cut_out(gone: str) -> None:
    text = f"so {gone} it"
    assert cleaned(text).split() == ["so", "it"]
    assert len(cleaned(text)) == len(text)
    assert told(text) == ""


@pytest.mark.parametrize(
    "kept",
    ["EPS <consensus, AAPL> up", "a < b", "5>3", "TSLA @ 250", "[1] (see AAPL)", "growth.Next", "U.S./EU"],
)
def test_prose_with_signs_of_markup_is_kept(kept: str) -> None:
    assert cleaned(kept) == kept


def test_every_shipped_symbol_has_a_name_and_every_name_one_symbol() -> None:
    assert set(DEFAULT_SYMBOLS) <= set(ALIASES)
    names = [name for each in ALIASES.values() for name in each]
    assert len(names) == len(set(names))
    assert set(names) >= ORDINARY
    assert all(" ".join(name.split()) == name and "\u2019" not in name for name in names)
    assert default_assets(["ZZ"]) == {"ZZ", *ALIASES}


def test_the_word_lists_are_in_the_case_they_are_compared_in() -> None:
    assert all(word.isupper() for word in CASHTAG_ONLY | AMBIGUOUS)
    assert all(word.islower() for word in CUES)
    assert set(NEGATIVE) <= set(ALIASES)
    assert all(phrase == " ".join(phrase.lower().split()) for each in NEGATIVE.values() for phrase in each)
    assert not CASHTAG_ONLY & AMBIGUOUS


def test_the_parameters_of_linking_are_no_part_of_the_digest_at_their_defaults() -> None:
    assert Config().digest == Config(link=Link(min_confidence=0.5)).digest
    assert Config().digest != Config(link=Link(min_confidence=0.6)).digest


def test_a_text_is_title_and_summary_cut_at_two_thousand_characters() -> None:
    assert text_of("Title", "Summary") == "Title. Summary"
    assert text_of(None, "a comment") == "a comment"
    assert text_of("Title", " ") == "Title"
    assert text_of("", None) == ""
    assert len(text_of("t" * 1500, "s" * 1500)) == 2000


@pytest.mark.parametrize(
    "text, expected, place",
    [
        ("AT&amp;T shares rise", "T", "AT&amp;T"),
        ("&quot;NVDA&quot; beats", "NVDA", "NVDA"),
        ("buy &#36;AMD", "AMD", "&#36;AMD"),
        ("&lt;b&gt;NVDA&lt;/b&gt; beats", "NVDA", "NVDA"),
        ('<a title="a &gt; AMD">NVDA</a> S&amp;P', "NVDA", "NVDA"),
        ("AAPL&#x2019;s margin", "AAPL", "AAPL"),
        ("$GE&unknown; &; &#; &notit;", "GE", "$GE"),
        ("S&P; and $CAT", "CAT", "$CAT"),
    ],
)
def test_entities_are_read_as_what_they_stand_for_and_places_are_those_of_the_text(
    text: str, expected: str, place: str
) -> None:
    (found,) = linked(text, assets=frozenset({"T", "NVDA", "AMD", "AAPL", "GE", "CAT"})).links
    assert found.symbol == expected
    assert [text[match.start : match.end] for match in found.matches] == [place]


def test_a_name_of_an_entity_is_no_symbol() -> None:
    assert linked("a &AMP; b", assets=frozenset({"AMP"})).links == ()
