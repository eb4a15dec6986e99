"""Accounts: passwords, second factors, sessions, API tokens, single sign-on. Knows nothing of documents."""

from strongroom.accounts.accounts import Accounts
from strongroom.accounts.desk import Desk
from strongroom.accounts.passwords import Passwords

__all__ = ["Accounts", "Desk", "Passwords"]
