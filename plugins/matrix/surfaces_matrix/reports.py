"""Names of what the surface tells its operator; imports nothing, so that `surfaces matrix --help` is quick."""

from __future__ import annotations

from collections.abc import Mapping

REPORTS: Mapping[str, str] = {
    "doctor": "how the encryption of the account is, and what to do where it is not well",
    "recovery-key": "the key that brings the account's encryption back after the state was lost",
}
