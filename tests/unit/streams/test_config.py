"""The configuration document: its digest, its round trip, and each rule that refuses one, by key path."""

import json
import tomllib
from decimal import Decimal
from functools import reduce
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.config_file import load
from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.accounts import Account, Mode, is_loopback, tier_defaults
from tapedeck.streams.config.deployment import Deployment
from tapedeck.streams.config.document import Config, canonical_json, digest, from_dict
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS, example_account
from tapedeck.streams.config.founding import FOUNDING
from tapedeck.streams.config.groups import Bars, Group
from tapedeck.streams.config.plain import plain
from tapedeck.streams.sessions import Phase

DEFAULT = Config(accounts=EXAMPLE_ACCOUNTS)
FOUNDING_DIGEST = "5ddfe9cc32ebb426"


def document(**changes):
    """The default document as TOML gives it, with ``group__key=value`` changes."""
    found = tomllib.loads(DEFAULT.to_toml())
    for path, value in changes.items():
        *groups, key = path.split("__")
        reduce(lambda at, part: at[int(part) if part.isdigit() else part], groups, found)[key] = value
    return found


def refused(found):
    with pytest.raises(ConfigInvalid) as caught:
        from_dict(found)
    return str(caught.value)


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(Phase)
)


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_canonical_json_is_that_of_the_library_with_sorted_keys_and_no_spaces(document: object):
    expected = json.dumps(plain(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(document) == expected


def test_canonical_json_spells_a_decimal_one_way_and_a_key_that_is_no_text_as_the_library_does():
    assert canonical_json({1: Decimal("0.10"), 2: (Decimal("1E+3"),)}) == '{"1":"0.1","2":["1000"]}'


def test_i5_digest_is_taken_over_canonical_json():
    assert canonical_json({"b": [1, 2], "a": "x"}) == '{"a":"x","b":[1,2]}'
    assert digest({"b": [1, 2], "a": "x"}) == "721ef82f2d6c0997"


def test_the_default_document_survives_its_own_toml():
    again = from_dict(tomllib.loads(DEFAULT.to_toml()))
    assert again == DEFAULT
    assert again.digest == DEFAULT.digest


def test_the_spelling_of_a_number_does_not_change_the_digest():
    for spelling in ("0.10", "0.1", 0.1, "0.100000"):
        assert from_dict(document(contract__strike_range=spelling)).digest == DEFAULT.digest
    assert from_dict(document(feature__surge=2)).digest == DEFAULT.digest
    assert from_dict(document(feature__surge=3)).digest != DEFAULT.digest


def test_the_digests_of_the_first_day_stand():
    assert Config().digest == "5dac21d7f8dffb8f"
    assert Config(accounts=EXAMPLE_ACCOUNTS).digest == "198dbc0e72be4298"
    listed = "\n".join(f"{group}.{key}" for group, keys in FOUNDING.items() for key in keys)
    assert sha256(listed.encode()).hexdigest()[:16] == FOUNDING_DIGEST, "the list is closed"


class LaterBars(Bars):
    patience_s: int = 3


class LaterAccount(Account):
    nickname: str = ""


class LaterGroup(Group):
    enabled: bool = False


class LaterConfig(Config):
    """The document of a later release: a key more in a group, in an account, and a group more."""

    bars: LaterBars = LaterBars()
    accounts: tuple[LaterAccount, ...] = ()
    later: LaterGroup = LaterGroup()


def test_a_parameter_that_is_added_later_changes_no_digest_until_it_is_set():
    rows = tuple(LaterAccount.model_validate(each.model_dump()) for each in EXAMPLE_ACCOUNTS)
    config = LaterConfig(accounts=rows)
    assert config.digest == Config(accounts=EXAMPLE_ACCOUNTS).digest
    named = (rows[0].model_copy(update={"nickname": "big"}), rows[1])
    changed = [
        config.model_copy(update=change)
        for change in (
            {"bars": LaterBars(patience_s=4)},
            {"later": LaterGroup(enabled=True)},
            {"accounts": named},
        )
    ]
    assert len({each.digest for each in (config, *changed)}) == 4


def test_where_it_runs_is_no_part_of_the_digest_and_survives_its_own_toml():
    there = Deployment(kafka="k1:9092,k2:9092", cluster_id="abc", symbol_partitions=12)
    config = Config(deployment=there)
    assert config.digest == Config().digest
    again = from_dict(tomllib.loads(config.to_toml()))
    assert again.deployment == there
    assert "deployment" not in Config().to_toml()
    assert there.under({"KAFKA_CLUSTER_ID": "xyz", "HOME": "h"}) == {
        "KAFKA_BOOTSTRAP_SERVERS": "k1:9092,k2:9092",
        "KAFKA_CLUSTER_ID": "xyz",
        "TAPE_SYMBOL_PARTITIONS": "12",
        "HOME": "h",
    }
    assert "deployment.kafak" in refused(tomllib.loads('deployment = { kafak = "x" }'))


FEED = {"id": "wire", "url": "https://example.com/feed"}


def test_the_feeds_are_no_part_of_the_digest_and_survive_their_own_toml():
    told = {
        "allow_private": ["news.lan"],
        "feeds": [FEED, FEED | {"id": "nvda", "symbol": "NVDA", "period_s": 60}],
    }
    config = from_dict({"news": told})
    assert config.digest == Config().digest
    assert from_dict(tomllib.loads(config.to_toml())).news == config.news
    assert "news" not in tomllib.loads(Config().to_toml()) and Config().news.feeds == ()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"id": "Wire"}, "news.feeds.0.id"),
        ({"id": "alpaca"}, "give the feed another id"),
        ({"url": "file:///etc/hosts"}, "https://HOST/PATH"),
        ({"url": "https://"}, "https://HOST/PATH"),
        ({"url": "https://example.com:0/"}, "https://HOST/PATH"),
        ({"url": "https://example.com:99999/"}, "news.feeds.0"),
        ({"period_s": 59}, "news.feeds.0.period_s"),
        ({"symbol": "nvda"}, "news.feeds.0.symbol"),
        ({"periods": 60}, "'period_s'"),
    ],
)
def test_a_feed_that_cannot_be_read_refuses_the_document(change, words):
    assert words in refused({"news": {"feeds": [FEED | change]}})


def test_two_feeds_of_one_id_refuse_the_document():
    assert "share one id" in refused({"news": {"feeds": [FEED, FEED]}})


def test_a_login_in_a_feeds_address_is_refused_and_not_shown():
    said = refused({"news": {"feeds": [FEED | {"url": "https://me:hunter2@example.com/feed"}]}})
    assert "has a login in it" in said and "hunter2" not in said


def test_a_changed_copy_has_a_digest_of_its_own():
    assert DEFAULT.digest != DEFAULT.model_copy(update={"accounts": ()}).digest
    assert DEFAULT.model_copy(update={"accounts": ()}).digest == Config().digest
    assert DEFAULT.model_copy().digest == DEFAULT.digest


money = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-2))
share = st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-6))
accounts = st.builds(
    lambda tier, **limits: {"tier": tier} | limits,
    tier=st.sampled_from(["tiny", "small", "medium", "large"]),
    max_contracts=st.integers(1, 99),
    max_exposure=money,
    max_daily_loss=money,
    risk_day=share,
    confidence_threshold=st.floats(0, 1),
    mode=st.sampled_from(["PAPER", "SHADOW"]),
    allowed_actions=st.lists(st.sampled_from(["BUY_CALL", "BUY_PUT", "BUY_STOCK"]), unique=True),
)


@settings(max_examples=60, deadline=None)
@given(
    limits=st.lists(accounts, max_size=3),
    surge=st.floats(0.1, 1e6),
    cap=st.integers(10, 500),
    offset=share,
    steps=st.lists(share, min_size=1, max_size=5).map(sorted),
    symbols=st.lists(st.sampled_from(["NVDA", "AMD", "BRK.B", "A"]), unique=True),
)
def test_any_valid_document_survives_its_own_toml(limits, surge, cap, offset, steps, symbols):
    rows = [
        example_account(f"a{i}", row["tier"]).model_dump(mode="json") | row for i, row in enumerate(limits)
    ]
    found = document(
        accounts=rows,
        feature__surge=surge,
        watchlist__cap=cap,
        order__max_offset=offset,
        order__open_steps=steps,
        universe__symbols=symbols,
    )
    config = from_dict(found)
    again = from_dict(tomllib.loads(config.to_toml()))
    assert again == config
    assert again.digest == config.digest


REFUSED = [
    ({"watchlist__entr": 0.5}, "unknown configuration key watchlist.entr", "'enter'"),
    ({"watchlst": {}}, "unknown configuration key watchlst", "'watchlist'"),
    ({"accounts__0__tierr": "tiny"}, "unknown configuration key accounts.0.tierr", "'tier'"),
    ({"version": 2}, "version", "1"),
    ({"feature__surge": "soon"}, "feature.surge", "'soon'"),
    ({"feature__surge": -1}, "feature.surge", "-1"),
    ({"feature__surge": float("nan")}, "feature.surge", "nan"),
    ({"bars__rollback_min": 17}, "bars.rollback_min", "17"),
    ({"bars__rollback_min": 16.5}, "bars.rollback_min", "16.5"),
    ({"bars__rollback_min": True}, "bars.rollback_min", "True"),
    ({"bars__split_low": 1.2}, "bars:", "split_low must be below 1"),
    ({"universe__symbols": ["NVDA", "NVDA"]}, "universe:", "listed twice: NVDA"),
    ({"universe__symbols": ["nvda"]}, "universe.symbols.0", "'nvda'"),
    ({"feature__sma_short": 50}, "feature:", "sma_short must be smaller than sma_long"),
    ({"feature__macd_fast": 26}, "feature:", "macd_fast"),
    ({"feature__momentum_short": 15}, "feature:", "momentum_short"),
    ({"feature__recent": 120}, "feature:", "recent must be smaller than baseline"),
    ({"feature__sma_long": 121}, "feature:", "no window may be longer"),
    ({"watchlist__exit": 0.6}, "watchlist:", "exit must be smaller than enter"),
    ({"watchlist__weight_vol": 0.3}, "watchlist:", "must add up to 1, not 1.1"),
    ({"watchlist__backfill_min": 0.7}, "watchlist:", "backfill_min"),
    ({"watchlist__period_s": 90}, "watchlist.period_s", "multiple of 60"),
    ({"signal__volume_factors": [1.0]}, "signal:", "one value per step of volume_steps (5), not 1"),
    ({"signal__volume_steps": [0.5, 0.5, 2.0, 3.0, 5.0]}, "signal:", "volume_steps must rise"),
    ({"signal__day_cap": 0.5}, "signal:", "day_cap"),
    ({"signal__at_band": 0.03}, "signal:", "at_band"),
    ({"gap_fade__from_min": 60}, "gap_fade:", "from_min"),
    ({"contract__day_dte": [0]}, "contract.day_dte.1", "missing"),
    ({"contract__swing_dte": [30, 7]}, "contract:", "swing_dte must be"),
    ({"contract__strike_range": "wide"}, "contract.strike_range", "'wide'"),
    ({"contract__strike_range": "NaN"}, "contract.strike_range", "finite"),
    ({"contract__max_spread": "1.5"}, "contract.max_spread", "1.5"),
    ({"contract__min_mid": "1.0000001"}, "contract.min_mid", "6 decimal places"),
    ({"contract__day_otm": "0.2"}, "contract:", "day_otm"),
    ({"regime__enabled": "on and off"}, "regime.enabled", "on and off"),
    (
        {"regime__bounds": [20.0], "regime__size": ["1", "0"], "regime__confidence": [1.0, 0.0]},
        "regime:",
        "bounds must have 4 values",
    ),
    ({"regime__size": ["1"]}, "regime:", "one value more than bounds (5), not 1"),
    ({"regime__bounds": [12.0, 30.0, 20.0, 40.0]}, "regime:", "bounds must rise"),
    ({"order__open_steps": ["1.00", "0.50"]}, "order:", "open_steps must not fall"),
    ({"order__doubt_s": []}, "order:", "doubt_s must not be empty"),
    ({"sizing__stock_stop": "0"}, "sizing.stock_stop", "greater than 0"),
    ({"accounts__0__tier": "huge"}, "accounts.0.tier", "'huge'"),
    ({"accounts__0__mode": "LIVE"}, "accounts.0.base_url", "mode LIVE trades at"),
    ({"accounts__0__mode": "DEMO"}, "accounts.0.mode", "'DEMO'"),
    ({"accounts__0__base_url": "https://api.alpaca.markets"}, "accounts.0.base_url", "loopback"),
    ({"accounts__0__account_id": "Large One"}, "accounts.0.account_id", "'Large One'"),
    ({"accounts__0__account_id": "tiny"}, "the document", "two accounts share one account_id"),
    ({"accounts__0__broker_account_id": "PAPER-TINY"}, "the document", "share one broker_account_id"),
    ({"accounts__0__broker_account_id": ""}, "accounts.0.broker_account_id", "at least 1"),
    ({"accounts__0__max_contracts": 0}, "accounts.0.max_contracts", "0"),
    ({"accounts__0__max_exposure": "0"}, "accounts.0.max_exposure", "greater than 0"),
    ({"accounts__0__confidence_threshold": 1.01}, "accounts.0.confidence_threshold", "1.01"),
    ({"accounts__0__last_entry_day_min": 29}, "accounts.0.last_entry_day_min", "30"),
    ({"accounts__0__last_entry_swing_min": 59}, "accounts.0.last_entry_swing_min", "60"),
    ({"accounts__0__allowed_actions": ["HOLD"]}, "accounts.0.allowed_actions.0", "'HOLD'"),
    ({"accounts": ["large"]}, "accounts.0", "large"),
    ({"accounts": {"large": {}}}, "accounts", "tuple"),
    ({"bars": 3}, "bars", "3"),
]


@pytest.mark.parametrize(
    "changes, path, hint", REFUSED, ids=[str(next(iter(row[0].items()))) for row in REFUSED]
)
def test_a_broken_rule_refuses_the_document_with_path_and_hint(changes, path, hint):
    message = refused(document(**changes))
    assert path in message
    assert hint in message


def test_a_missing_key_without_a_default_is_named():
    found = document()
    del found["accounts"][1]["broker_account_id"]
    assert "accounts.1.broker_account_id is missing" in refused(found)


def test_a_misspelt_required_key_is_named_with_the_nearest_and_not_as_missing():
    found = document()
    found["accounts"][0]["teir"] = found["accounts"][0].pop("tier")
    message = refused(found)
    assert "unknown configuration key accounts.0.teir" in message
    assert "'tier'" in message


@pytest.mark.parametrize("key", ["key_ref", "secret_ref"])
def test_a_credential_given_by_value_is_refused_and_not_repeated(key):
    value = "s3cretValue" + "x" * 20
    message = refused(document(**{f"accounts__0__{key}": value}))
    assert f"accounts.0.{key}" in message
    assert value not in message


@pytest.mark.parametrize("reference", ["TAPE_LARGE_KEY", "./secrets/key", "../key", "/run/secrets/key"])
def test_a_credential_by_variable_or_file_is_accepted(reference):
    assert from_dict(document(accounts__0__key_ref=reference)).accounts[0].key_ref == reference


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://127.0.0.1:8765", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80/v2", True),
        ("https://localhost:1", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("http://user@127.0.0.1", False),
        ("http://127.0.0.1.example.com", False),
        ("http://0.0.0.0:80", False),
        ("http://10.0.0.1", False),
        ("ftp://127.0.0.1", False),
        ("127.0.0.1:8765", False),
        ("http://127.0.0.1:notaport", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_only_http_to_the_loopback_interface_counts_as_loopback(url, expected):
    assert is_loopback(url) is expected


@pytest.mark.parametrize("tier", ["tiny", "small", "medium", "large"])
def test_an_account_takes_the_limits_of_its_tier_and_keeps_its_own(tier):
    account = example_account("a", tier)
    assert {name: getattr(account, name) for name in tier_defaults(tier)} == tier_defaults(tier)
    own = Account.model_validate(account.model_dump() | {"max_contracts": 7})
    assert own.max_contracts == 7
    assert (account.mode, account.confidence_threshold) == (Mode.PAPER, 0.40)


def test_the_limits_of_the_domain_table_stand_in_the_tiers():
    tiny, large = tier_defaults("tiny"), tier_defaults("large")
    assert (tiny["max_exposure"], large["max_exposure"]) == (1500, 50000)
    assert (tiny["risk_day"], large["risk_swing"]) == (Decimal("0.15"), Decimal("0.02"))
    assert (tiny["last_entry_day_min"], large["last_entry_day_min"]) == (180, 120)


def test_an_unknown_account_names_those_there_are():
    assert DEFAULT.account("tiny").tier == "tiny"
    with pytest.raises(ConfigInvalid, match="known: large, tiny"):
        DEFAULT.account("small")


def test_a_config_cannot_be_changed_after_it_is_made():
    with pytest.raises(ValueError, match="frozen"):
        DEFAULT.feature.surge = 1.0


def test_a_file_that_is_absent_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigInvalid, match="there is no configuration file") as caught:
        load(tmp_path / "none.toml")
    assert "none.toml" in str(caught.value)
    broken = tmp_path / "broken.toml"
    broken.write_text("a = [1,")
    with pytest.raises(ConfigInvalid, match="not TOML"):
        load(broken)


def test_a_written_default_document_is_loaded_again(tmp_path):
    path = tmp_path / "tape.toml"
    path.write_text(DEFAULT.to_toml())
    assert load(path) == DEFAULT
