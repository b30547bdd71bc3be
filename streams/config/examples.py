"""The two accounts of the default document: paper trading on loopback, credentials by reference."""

from typing import Any

from tapedeck.streams.config.accounts import EMBEDDED, Account


def example_account(account_id: str, tier: str, base_url: str = EMBEDDED) -> Account:
    """A paper account of ``tier`` whose limits are the tier's own."""
    name = account_id.upper().replace("-", "_")
    fields: dict[str, Any] = {
        "account_id": account_id,
        "tier": tier,
        "base_url": base_url,
        "broker_account_id": f"PAPER-{name}",
        "key_ref": f"TAPE_{name}_KEY",
        "secret_ref": f"TAPE_{name}_SECRET",
    }
    return Account.model_validate(fields)


EXAMPLE_ACCOUNTS = (example_account("large", "large"), example_account("tiny", "tiny"))
