"""Names of people who do not exist, and numbers that depend on a seed alone."""

# ruff: noqa: SIM905 - a list of names is easier to read without quotes
from __future__ import annotations

import hashlib

GIVEN_NAMES = (
    "Ada Amal Anna Aylin Bela Carla Chen Dara Deniz Elif Emil Farah Femi Greta Hana Hugo Ines Ivan Jaro Jun Kaja Kofi"
    " Lena Liam Maja Mateo Mina Nadia Nils Noor Olga Omar Pia Priya Quinn Rafa Ravi Rosa Sami Sana Tariq Tea Uma Vera"
    " Wei Yara Yuki Zoe"
).split()
SURNAMES = (
    "Abebe Acosta Adler Bauer Becker Brandt Castro Cohen Costa Dahl Diaz Eriksen Fischer Garcia Haddad Hoang Ito"
    " Jansen Kaya Keller Kim Kowalski Larsen Lopez Mensah Meyer Moreau Nagy Novak Okafor Olsen Park Patel Petrov Rossi"
    " Sato Schulz Silva Singh Tanaka Toth Vogel Weber Yilmaz Zhang Zimmer"
).split()
DEPARTMENTS = ("Engineering", "Finance", "Human Resources", "IT Operations", "Legal", "Marketing", "Sales", "Security")


def digest(seed: int, salt: str, number: int) -> bytes:
    """32 bytes that look random and are always the same."""
    return hashlib.blake2b(f"{seed}/{salt}/{number}".encode(), digest_size=32).digest()


def pick(seed: int, salt: str, number: int, among: int) -> int:
    """A number from 0 to `among` - 1."""
    return int.from_bytes(digest(seed, salt, number)[:6], "big") % among
