"""Writes nouns.tsv: common English nouns to ask about, one a line: word, kind, form, frequency.

    python make_nouns.py WORDNET_FOLDER > nouns.tsv

WORDNET_FOLDER has WordNet 3.0's data.noun and index.noun (Debian: wordnet-base); the script needs
the package ``wordfreq`` as well, which the project itself does not. Kinds are WordNet's lexical
categories. A noun is "count" where its plural is common beside it. Left out: words that a glance at
their gloss shows to be insults, illnesses, drugs, weapons or sexual, and cue words of the lexicon.
What editors found when they read the list stands in nouns_edited.tsv: words left "out", and words
that are "count" nouns though their plural is rare.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from wordfreq import zipf_frequency  # type: ignore[import-not-found]

HERE = Path(__file__).parent
KINDS = {
    4: "act", 5: "animal", 6: "artifact", 7: "attribute", 9: "cognition", 10: "communication",
    11: "event", 13: "food", 14: "group", 17: "object", 18: "person", 19: "phenomenon",
    20: "plant", 21: "possession", 22: "process", 25: "shape", 26: "state", 27: "substance",
}  # fmt: skip
MOSTLY_MASS = {
    "act", "attribute", "cognition", "food", "phenomenon", "process", "state", "substance",
}  # fmt: skip
MASS_ENDINGS = (
    "ing", "ness", "ity", "ism", "ics", "logy", "graphy", "tion", "ance", "ence",
)  # fmt: skip
REFUSED_GLOSS = re.compile(
    r"sex|genital|offensive|slur|obscen|vulgar|disparag|derogat|insult|abus|prostitut|excre|urin|"
    r"feces|weapon|bomb|gun\b|pistol|rifle|missile|firearm|murder|kill|tortur|suicid|execut|slave|"
    r"disease|tumor|cancer|syndrome|disorder|drug|narcot|opium|cocaine|poison|toxic|racis|fascis|"
    r"nazi|terror|rape|incest|porn|nude|naked|breast|penis|vagina|anus|corpse|death|dead\b|crime|"
    r"criminal|intoxicat|drunk|alcohol addict|symptom|inflammation|infection|parasit|antibiotic|"
    r"trade name|(person|someone) (who is )?(deemed|considered)|stupid|fool|contempt|ugly|"
    r"religio|christian|muslim|islam|jew|hindu|ethnic|caste|heres",
    re.I,
)
REFUSED_WORD = re.compile(
    r"fuck|shit|cunt|whore|slut|nigg|fag|bastard|bitch|crap|arse|piss|tit$|boob|shylock|quisling"
)
OCCUPATION = re.compile(
    r"^(a |an )?(someone who|person who|worker|craftsman|skilled|specialist|expert|artist|musician|"
    r"scientist)"
)


def cue_patterns() -> list[re.Pattern[str]]:
    lexicon = tomllib.loads((HERE / "lexicon.toml").read_text(encoding="utf-8"))
    poles = [pole for sides in lexicon.values() for pole in sides.values()]
    cues = [cue for pole in poles for key in "ab" for cue in pole[key]]
    return [re.compile(c.replace("*", r"\w*")) for c in cues if c != "?" and " " not in c]


def senses(folder: Path) -> dict[str, tuple[str, str]]:
    """Lower-case single words with the kind and the glosses of their senses, first one first."""
    data: dict[str, tuple[str, str]] = {}
    lower: set[str] = set()
    for line in (folder / "data.noun").read_text("utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields, gloss = line.split(" | ", 1)
        head = fields.split()
        data[head[0]] = (KINDS.get(int(head[1]), ""), gloss)
        words = head[4 : 4 + 2 * int(head[3], 16) : 2]
        lower |= {word for word in words if re.fullmatch("[a-z]{3,14}", word)}
    found = {}
    for line in (folder / "index.noun").read_text("utf-8").splitlines():
        entry = line.split()
        if line.startswith("  ") or entry[0] not in lower:
            continue
        mine = [data[offset] for offset in entry[-int(entry[2]) :]]
        found[entry[0]] = (mine[0][0], mine[0][1] + " ; " + " ; ".join(g for _, g in mine[1:3]))
    return found


def plurals(word: str) -> list[str]:
    """The plurals a noun may have: regular, and of "wharf", "knife", "craftsman"."""
    found = [plural(word)]
    found += [re.sub("fe?$", "ves", word)] if re.search("fe?$", word) else []
    return found + ([word[:-3] + "men"] if word.endswith("man") else [])


def plural(word: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    return word[:-1] + "ies" if re.search(r"[^aeiou]y$", word) else word + "s"


def main() -> None:
    cues = cue_patterns()
    edited = dict(
        line.split("\t") for line in (HERE / "nouns_edited.tsv").read_text("utf-8").splitlines()
    )
    rows = []
    found = senses(Path(sys.argv[1]))
    for word, (kind, gloss) in found.items():
        if word.endswith("y") and word[:-1] + "ie" in found:  # both have one plural
            continue
        if (
            edited.get(word) == "out"
            or not kind
            or REFUSED_GLOSS.search(gloss)
            or REFUSED_WORD.search(word)
        ):
            continue
        if kind == "person" and not OCCUPATION.match(gloss):
            continue
        if any(p.fullmatch(w) for p in cues for w in (word, plural(word))):
            continue
        common = zipf_frequency(word, "en")
        # Words with plurals of their own are left out: nothing here writes them.
        regular, *irregular = [zipf_frequency(form, "en") for form in plurals(word)]
        if any(other > regular for other in irregular):
            continue
        many = regular
        # What the frequency list does not know is kept where it is a thing one can point at.
        if not common and kind not in {"animal", "artifact", "food", "plant"}:
            continue
        if word.endswith("s") or (common and many > common + 0.7):  # a plural, or a rare singular
            continue
        mass = kind in MOSTLY_MASS or word.endswith(MASS_ENDINGS)
        count = many >= max(common - 1.2, 1.5) if common >= 2 else not mass
        count = count or edited.get(word) == "count"
        rows.append((word, kind, "count" if count else "mass", round(common, 1)))
    for row in sorted(rows):
        print(*row, sep="\t")


if __name__ == "__main__":
    main()
