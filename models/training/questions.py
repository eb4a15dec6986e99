"""Questions for the clause categories of CUAD, in several wordings, and the categories that training never sees."""

from __future__ import annotations

import random
import re

# Kept out of all training, so that the figure for unknown kinds of clause is one.
UNSEEN = frozenset(
    {
        "Audit Rights",
        "Change Of Control",
        "Exclusivity",
        "Insurance",
        "Liquidated Damages",
        "Minimum Commitment",
        "Post-Termination Services",
        "Volume Restriction",
    }
)

NATURAL: dict[str, tuple[str, ...]] = {
    "Document Name": ("What is the name of the contract?", "What kind of agreement is this?"),
    "Parties": ("Who are the parties to the contract?", "Between whom is the agreement made?"),
    "Agreement Date": ("When was the agreement made?", "What is the date of the contract?"),
    "Effective Date": ("When does the agreement take effect?", "From what date is the contract effective?"),
    "Expiration Date": ("When does the contract end?", "How long is the initial term?"),
    "Renewal Term": ("For how long is the agreement renewed?", "Is the term extended automatically?"),
    "Notice Period To Terminate Renewal": ("How much notice must be given to stop the renewal?",),
    "Governing Law": ("Which law governs the contract?", "Under the laws of which state is it interpreted?"),
    "Most Favored Nation": ("Must a party get terms as good as those of other customers?",),
    "Non-Compete": ("Is a party forbidden to compete?", "What business may a party not engage in?"),
    "Competitive Restriction Exception": ("What are the exceptions to the non-compete or exclusivity?",),
    "No-Solicit Of Customers": ("May a party solicit the other party's customers?",),
    "No-Solicit Of Employees": ("May a party hire or solicit the other party's employees?",),
    "Non-Disparagement": ("May the parties speak badly of each other?",),
    "Termination For Convenience": ("May a party terminate without cause?", "How can the contract be ended at will?"),
    "Rofr/Rofo/Rofn": ("Is there a right of first refusal, first offer or first negotiation?",),
    "Anti-Assignment": ("May the agreement be assigned without consent?", "Is assignment to a third party allowed?"),
    "Revenue/Profit Sharing": ("Must a party share revenue or profit?", "What royalty or commission is paid?"),
    "Price Restrictions": ("Are there limits on raising or lowering prices?",),
    "Ip Ownership Assignment": ("Who owns the intellectual property that is created?",),
    "Joint Ip Ownership": ("Is any intellectual property owned jointly?",),
    "License Grant": ("What licence is granted?", "Which rights to use are licensed?"),
    "Non-Transferable License": ("Is the licence non-transferable?",),
    "Affiliate License-Licensor": ("Does the licence cover the property of the licensor's affiliates?",),
    "Affiliate License-Licensee": ("May the licensee's affiliates use the licence?",),
    "Unlimited/All-You-Can-Eat-License": ("Is the licence unlimited, for the whole enterprise?",),
    "Irrevocable Or Perpetual License": ("Is the licence irrevocable or perpetual?",),
    "Source Code Escrow": ("Is source code put into escrow?",),
    "Uncapped Liability": ("For what is liability not limited?", "Which damages are excepted from the cap?"),
    "Cap On Liability": ("How is liability limited?", "What is the most that a party can be liable for?"),
    "Warranty Duration": ("How long does the warranty last?",),
    "Covenant Not To Sue": ("Has a party promised not to sue or to contest ownership?",),
    "Third Party Beneficiary": ("Is anybody else a beneficiary of the contract?",),
}


def contract_name(file: str) -> str:
    """Filer and title, as a person would name the contract: from `FILER_date_…-EX-10.1-TITLE.PDF`."""
    parts = re.sub(r"\.pdf$", "", file, flags=re.IGNORECASE).split("_")
    title = parts[-1].split("-")[-1]
    return f"{parts[0]} {title}".strip()


def clause_question(category: str, contract: str, rng: random.Random) -> str:
    """One wording, drawn at random: the category's name or plain words, with or without the contract's name."""
    draw = rng.random()
    if draw < 0.45:
        return f"In the {contract_name(contract)}, what is the {category}?"
    if draw < 0.6 or category not in NATURAL:
        return f"What is the {category}?"
    plain = rng.choice(NATURAL[category])
    if draw < 0.7:
        return f"In the {contract_name(contract)}, {plain[0].lower()}{plain[1:]}"
    return plain
