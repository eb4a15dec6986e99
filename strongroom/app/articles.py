"""Which articles each section of the evidence can serve, and what stays with the organisation.

Read from the texts: Regulation (EU) 2016/679 (GDPR), 45 CFR Part 164 (HIPAA Security and Privacy Rules) and Regulation
(EU) 2024/1689 (AI Act). A pointer to evidence, no legal advice and no statement that an article is complied with.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Article:
    """An article, what it asks in a few words, the sections that are evidence, and what nobody but you can do."""

    name: str
    asks: str
    sections: tuple[str, ...]
    yours: str


FRAMEWORKS: tuple[tuple[str, tuple[Article, ...]], ...] = (
    (
        "GDPR, Regulation (EU) 2016/679",
        (
            Article(
                "Art. 5(1)(c), data minimisation",
                "No more personal data than the purpose needs.",
                ("personal_data", "documents"),
                "Decide what may be ingested. Findings come from rules and word lists: names that no list knows, and "
                "all that stands in pictures without text, are not among them.",
            ),
            Article(
                "Art. 5(1)(e), storage limitation",
                "No longer than the purpose needs.",
                ("deletion",),
                "Set a retention rule for each collection and run `strongroom retention apply`; expire your backups.",
            ),
            Article(
                "Art. 5(1)(f) and Art. 32, security",
                "Integrity and confidentiality by appropriate measures.",
                ("encryption", "access", "sign_in", "audit", "egress", "configuration"),
                "Disk encryption for what the index reveals, TLS, the operating system, people and premises.",
            ),
            Article(
                "Art. 15, right of access",
                "Tell people what is processed about them.",
                ("personal_data",),
                "Answer the request. A search finds where a name stands; whether it is that person, a human decides.",
            ),
            Article(
                "Art. 17, right to erasure",
                "Erase on request, unless an exception applies.",
                ("deletion",),
                "Judge the request. Each receipt names the copies that it could not reach: expire your backups.",
            ),
            Article(
                "Art. 25, by design and by default",
                "Access closed, data protected from the start.",
                ("access", "personal_data", "encryption"),
                "Set rules that withhold personal data from roles that do not need it: by default nothing is withheld.",
            ),
            Article(
                "Art. 30, records of processing",
                "Keep a record of what is processed, why, for how long.",
                ("documents", "deletion", "version"),
                "The record itself: purposes, legal bases, recipients.",
            ),
            Article(
                "Art. 33, breach notification",
                "Know what happened, within 72 hours.",
                ("audit", "egress"),
                "Watch the log, keep checkpoints on another machine, notify. The guard sees sockets of Python alone.",
            ),
            Article(
                "Art. 35, impact assessment",
                "Assess risks before processing that is likely to be risky.",
                ("configuration", "models", "materials", "personal_data"),
                "The assessment. The threat model in the documentation says what is not guarded against.",
            ),
        ),
    ),
    (
        "HIPAA, 45 CFR Part 164",
        (
            Article(
                "164.308(a)(1)(ii)(D), activity review",
                "Review records of system activity regularly.",
                ("audit",),
                "The review, and who does it how often.",
            ),
            Article(
                "164.308(a)(4) and 164.312(a)(1), access control",
                "Access for those who were granted it.",
                ("access", "sign_in"),
                "Grant and revoke as roles change; minimum necessary (164.502(b)) is your decision.",
            ),
            Article(
                "164.312(a)(2)(iv), encryption at rest",
                "A mechanism to encrypt and decrypt (addressable).",
                ("encryption",),
                "Guard the appliance key; put the data directory on an encrypted volume: vectors are not encrypted.",
            ),
            Article(
                "164.312(b), audit controls",
                "Record and examine activity.",
                ("audit",),
                "Keep the log for as long as your policy says, with checkpoints elsewhere.",
            ),
            Article(
                "164.312(c)(1), integrity",
                "Protect from improper alteration or destruction.",
                ("audit", "deletion"),
                "Backups and drills of restoring them; `strongroom verify` after each.",
            ),
            Article(
                "164.312(e)(1), transmission security",
                "Guard data on the network.",
                ("configuration", "egress"),
                "TLS between browser and server where they are not on one machine.",
            ),
            Article(
                "164.514(b), de-identification",
                "Remove identifiers before data counts as de-identified.",
                ("personal_data",),
                "Nothing here de-identifies: withholding hides what was found, and it does not find everything.",
            ),
        ),
    ),
    (
        "EU AI Act, Regulation (EU) 2024/1689",
        (
            Article(
                "Art. 4, AI literacy",
                "People who use it know what it can and cannot do.",
                ("models",),
                "Training. The evaluation command gives figures on your own documents.",
            ),
            Article(
                "Art. 12 and Art. 26(6), records",
                "Events are logged automatically; deployers keep the logs (high-risk systems).",
                ("audit",),
                "Say whether your use is high-risk (Annex III); keep the logs for six months at least then.",
            ),
            Article(
                "Art. 13, transparency",
                "Deployers can interpret what comes out.",
                ("models", "version"),
                "Give users the documentation on answers and citations.",
            ),
            Article(
                "Art. 14, human oversight",
                "A person can check and overrule.",
                ("audit",),
                "Every statement carries its quote and page: let people check before they act on one.",
            ),
            Article(
                "Art. 15, accuracy, robustness, security",
                "Levels that are stated and tested.",
                ("models", "materials", "configuration"),
                "Measure on your documents (`strongroom eval run`) and set the level you accept.",
            ),
            Article(
                "Art. 50(2), marking of generated content",
                "Generated text is marked so that machines can tell.",
                ("configuration",),
                "Keep the mark: answers that a model wrote carry `digital_source_type` in JSON. Text copied out "
                "by hand carries nothing.",
            ),
        ),
    ),
)
