"""The ops' formulas, one line of Unicode each, as native MathML.

The grammar, from loose to tight:

    formula   clauses, with ",  " (two spaces) between them
    clause    expressions with relations (= < > ≥ ≤ ≠ ∈ → +=) and commas between them,
              "A if P, else B" and "A where P, else B": two cases; words are text
    sum       terms with + − ⋆ · between them
    term      factors side by side; "/" makes a fraction of the factors since the last
              Σ and the one factor after it
    factor    (sum), [P] (1 where P holds, else 0), {a, b}, |x|, √x, a number, a name
    name      a letter, or one of NAMES and FUNCTIONS, with bar, hat or tilde on it
    after     subscripts ₙ or _n, powers ² ᵀ or ^n, an index [i] or an argument (x)
              that touches the name

A symbol or a word that is not in the grammar raises `FormulaError`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from html import escape
from typing import NamedTuple

FUNCTIONS = {"log", "exp", "max", "min", "sign", "mean", "tanh", "relu"}
NAMES = {"slope", "index", "part", "kl", "lr"}
WORDS = {
    *("a", "along", "and", "around", "axes", "axis", "back", "by", "copies", "each"),
    *("else", "end", "for", "from", "if", "image", "in", "new", "of", "or", "over"),
    *("permuted", "pixel", "pixel's", "pixels", "repeated", "reshaped", "shape"),
    *("square", "the", "to", "where", "window", "windows", "with"),
}
ACCENTS = {"\u0304": "¯", "\u0302": "ˆ", "\u0303": "˜"}
SUBSCRIPTS = dict(
    zip("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₗₘₙₚᵣₛₜₓ₊₋", "0123456789ijklmnprstx+−", strict=True)
)
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ˡˣʸᶻⁿᵏᵀᵢ", "0123456789−+lxyznkTi", strict=True))
HALVES = {"½": ("1", "2"), "¼": ("1", "4")}
RELATIONS = {*"=<>≥≤≠∈→←∼≈", "+=", "‖"}
SIGNS = {*"+−⋆·×"}
FENCES = {"(": ")", "[": "]", "{": "}"}
GREEK = "αβγδεζηθλμνξπρστφχψωΓΔΘΛΣΦΨΩℓ"
THIN = '<mspace width="0.17em"></mspace>'
WIDE = '<mspace width="1.6em"></mspace>'
TOKEN = re.compile(
    r"(?P<gap> +)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z][A-Za-z\u0302-\u0304]*(?:'[a-z]+)?)"
    rf"|(?P<greek>[{GREEK}][\u0302-\u0304]*)"
    rf"|(?P<sub>[{''.join(SUBSCRIPTS)}]+)"
    rf"|(?P<super>[{''.join(SUPERSCRIPTS)}]+)"
    r"|(?P<sign>\+=|[-=<>≥≤≠∈→←∼≈‖+−⋆·×/^_,()\[\]{}|√Σ∏#…½¼])"
)


class FormulaError(ValueError):
    """A formula that is not in the grammar."""


class Token(NamedTuple):
    """A piece of a formula, and whether a space stands before it."""

    kind: str
    text: str
    apart: bool


def mathml(formula: str, *, block: bool = False) -> str:
    """Return a formula as a MathML element; its text remains as the alternative."""
    body = f"<mo>,</mo>{WIDE}".join(_clause(part) for part in formula.split(",  "))
    shown = ' display="block"' if block else ""
    return f"<math{shown}>{_row(body)}</math>"


def _clause(text: str) -> str:
    reader = _Reader(_tokens(text), text)
    content = reader.clause()
    if reader.next is not None:
        raise FormulaError(f"{reader.next.text!r} has no place in the formula {text!r}")
    return content


def _tokens(text: str) -> list[Token]:
    """Split a formula; an accented letter is one token, whatever its code points."""
    text = unicodedata.normalize("NFD", text)
    found: list[Token] = []
    place, apart = 0, False
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise FormulaError(
                f"unknown symbol {text[place]!r} in the formula {text!r}"
            )
        place, kind = match.end(), str(match.lastgroup)
        if kind != "gap":
            found.append(Token(kind, match.group(), apart))
        apart = kind == "gap"
    return found


class _Reader:
    """Reads tokens from left to right; each method returns MathML."""

    def __init__(self, tokens: list[Token], text: str) -> None:
        self.tokens, self.text, self.place = tokens, text, 0
        self.within_bars = False

    @property
    def next(self) -> Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def at(self, *texts: str) -> bool:
        return self.next is not None and self.next.text in texts

    def take(self) -> Token:
        if self.next is None:
            raise FormulaError(f"the formula {self.text!r} ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, text: str) -> None:
        if not self.at(text):
            raise FormulaError(f"{text!r} is missing in the formula {self.text!r}")
        self.take()

    def clause(self) -> str:
        """Read expressions up to the end of the formula or of a bracket."""
        parts: list[str] = []
        while self.next is not None and not self.at(")", "]", "}"):
            token = self.next
            if token.text in RELATIONS:
                parts.append(_sign(self.take().text))
            elif token.text == ",":
                self.take()
                parts.append("<mo>,</mo>" + (THIN if self.next else ""))
            elif token.text in ("if", "where") and parts:
                parts = [*_before_relation(parts), self.cases(parts)]
            elif self.is_prose(token):
                parts.append(self.prose())
            else:
                parts.append(self.sum())
        return "".join(parts)

    def cases(self, parts: list[str]) -> str:
        """Read "if P, else B" after an A that was read already."""
        (first,) = parts[len(_before_relation(parts)) :]
        word = self.take().text
        condition = self.condition()
        self.expect(",")
        self.expect("else")
        rows = [(first, f"<mtext>{word}&nbsp;</mtext>{condition}")]
        rows.append((self.sum(), "<mtext>otherwise</mtext>"))
        cells = "".join(
            f"<mtr><mtd>{_row(value)}</mtd><mtd>{_row(when)}</mtd></mtr>"
            for value, when in rows
        )
        return _row(
            f'<mo stretchy="true">{{</mo><mtable class="cases">{cells}</mtable>'
        )

    def condition(self) -> str:
        parts = [self.sum()]
        while self.next is not None and self.next.text in RELATIONS:
            parts += [_sign(self.take().text), self.sum()]
        return "".join(parts)

    def is_prose(self, token: Token) -> bool:
        return token.kind == "word" and _plain(token.text) in WORDS

    def prose(self) -> str:
        """Read words; symbols may stand between them."""
        words = []
        while self.next is not None and self.is_prose(self.next):
            words.append(self.take().text)
        after = "&nbsp;" if self.next and not self.at(",", ")", "]", "}") else ""
        return f"<mtext>&nbsp;{escape(' '.join(words))}{after}</mtext>"

    def sum(self) -> str:
        parts: list[str] = []
        if self.at("−", "-", "+"):
            self.take()
            parts.append('<mo form="prefix">−</mo>')
        parts.append(self.term())
        while self.next is not None and self.next.text in SIGNS:
            sign = self.take().text
            parts.append(self.powered(_sign(sign)))
            parts.append(self.term())
        return "".join(parts)

    def term(self) -> str:
        """Read factors side by side, and the fraction they may be part of."""
        outside: list[str] = []
        factors: list[str] = []
        spaced = False
        while self.starts_factor():
            gap = THIN if factors and (self.is_spaced() or spaced) else ""
            spaced = self.is_spaced()
            factor, opens = self.factor()
            factor = gap + factor
            if opens:  # Σ and its like: what follows belongs to it
                outside += [*factors, factor]
                factors = []
            else:
                factors.append(factor)
        if not outside and not factors:
            where = repr(self.next.text) if self.next else "the end"
            raise FormulaError(f"{where} where a term was due in {self.text!r}")
        if self.at("/"):
            self.take()
            below, _ = self.factor(bare=True)
            above = _row("".join(map(_unfenced_alone(factors), factors)))
            factors = [f"<mfrac>{above}{_row(below)}</mfrac>"]
        return "".join([*outside, *factors])

    def is_spaced(self) -> bool:
        """Whether the next factor stands a little apart: a word, a [condition]."""
        token = self.next
        if token is None or token.kind != "word":
            return token is not None and token.text in ("[", "Σ", "#")
        return len(_plain(token.text)) > 1

    def starts_factor(self) -> bool:
        token = self.next
        if token is None or self.is_prose(token):
            return False
        if token.text == "|":
            return not self.within_bars
        return token.kind in ("number", "word", "greek") or token.text in (
            *("(", "[", "{", "√", "Σ", "∏", "#", "…", "½", "¼"),
        )

    def factor(self, bare: bool = False) -> tuple[str, bool]:
        """Return a factor, and whether it takes in all that follows.

        A factor within (…) stands without them where `bare`, as under a fraction.
        """
        token = self.take()
        if token.text in ("Σ", "∏"):
            big = "∑" if token.text == "Σ" else "∏"
            return self.below(f"<mo>{big}</mo>") + THIN, True
        if token.text in FENCES:
            return self.fenced(token.text, bare), False
        if token.text == "|":
            self.within_bars = True
            inside = self.sum()
            self.within_bars = False
            self.expect("|")
            return f"{_fence('|')}{inside}{_fence('|')}", False
        if token.text == "√":
            return f"<msqrt>{self.factor()[0]}</msqrt>", False
        if token.text == "#":
            return "<mo>#</mo>" + self.factor()[0], False
        if token.text == "…":
            return "<mo>…</mo>", False
        if token.text in HALVES:
            above, below = HALVES[token.text]
            return f"<mfrac><mn>{above}</mn><mn>{below}</mn></mfrac>", False
        if token.kind == "number":
            return self.powered(f"<mn>{token.text}</mn>"), False
        return self.name(token)

    def fenced(self, opening: str, bare: bool = False) -> str:
        inside, closing = self.clause(), FENCES[opening]
        self.expect(closing)
        if opening == "(" and (bare or _is_fraction(inside)) and not self.scripted():
            return inside
        whole = _row(_fence(opening) + inside + _fence(closing))
        return self.powered(whole)

    def name(self, token: Token) -> tuple[str, bool]:
        """Read a name with what touches it: scripts, an index, an argument."""
        plain = _plain(token.text)
        if len(plain) > 1 and plain not in FUNCTIONS | NAMES:
            raise FormulaError(f"unknown word {plain!r} in the formula {self.text!r}")
        symbol = self.powered(self.below(_accented(token.text)))
        opening = self.next
        if opening is not None and not opening.apart and opening.text in ("[", "("):
            self.take()
            inside = self.clause()
            self.expect(FENCES[opening.text])
            closing = FENCES[opening.text]
            argument = _fence(opening.text) + inside + _fence(closing)
            return f"{symbol}<mo>&#x2061;</mo>{argument}", False
        if plain in FUNCTIONS:
            return f"{symbol}<mo>&#x2061;</mo>{THIN}", plain in ("log", "mean", "max")
        return symbol, False

    def below(self, base: str) -> str:
        """Read the subscript of `base`, if it has one."""
        if self.next is not None and self.next.kind == "sub" and not self.next.apart:
            letters = (SUBSCRIPTS[c] for c in self.take().text)
            return f"<msub>{_row(base)}{_row(''.join(map(_letter, letters)))}</msub>"
        if self.at("_"):
            self.take()
            return f"<msub>{_row(base)}{_row(self.factor(bare=True)[0])}</msub>"
        return base

    def scripted(self) -> bool:
        return self.at("^") or (self.next is not None and self.next.kind == "super")

    def powered(self, base: str) -> str:
        """Read the power of `base`, if it has one."""
        if not self.scripted():
            return base
        token = self.take()
        if token.kind == "super":
            power = "".join(_letter(SUPERSCRIPTS[c]) for c in token.text)
        elif self.at("("):
            self.take()
            power = self.linear()
        else:
            power = self.factor()[0]
        return f"<msup>{_row(base)}{_row(power)}</msup>"

    def linear(self) -> str:
        """Read up to ")", a slash as a slash: fractions are too tall for a power."""
        parts = []
        while not self.at(")"):
            slash = self.at("/")
            parts.append(_slash(self.take()) if slash else self.factor()[0])
        self.take()
        return "".join(parts)


def _plain(text: str) -> str:
    return "".join(c for c in text if c not in ACCENTS)


def _accented(text: str) -> str:
    """A name with its accent over all of its letters."""
    name = _plain(text)
    symbol = _identifier(name)
    stretchy = str(len(name) > 1).lower()
    for accent in (ACCENTS[c] for c in text if c in ACCENTS):
        over = f'<mo stretchy="{stretchy}">{accent}</mo>'
        symbol = f'<mover accent="true">{symbol}{over}</mover>'
    return symbol


def _identifier(name: str) -> str:
    return f"<mi>{name}</mi>"


def _letter(letter: str) -> str:
    if letter.isdigit():
        return f"<mn>{letter}</mn>"
    if letter == "T":  # transposed
        return '<mi mathvariant="normal">T</mi>'
    return _sign(letter) if letter in "+−" else _identifier(letter)


def _slash(token: Token) -> str:
    return f'<mo lspace="0" rspace="0">{token.text}</mo>'


def _sign(text: str) -> str:
    return f"<mo>{escape(text)}</mo>"


def _fence(text: str) -> str:
    return f'<mo fence="true" stretchy="false" lspace="0" rspace="0">{text}</mo>'


def _row(content: str) -> str:
    return f"<mrow>{content}</mrow>"


def _is_fraction(content: str) -> bool:
    """Whether all there is, is one fraction: its line does what brackets would."""
    return (
        content.startswith("<mfrac>")
        and content.endswith("</mfrac>")
        and content.count("<mfrac>") == 1
    )


def _unfenced_alone(factors: list[str]) -> Callable[[str], str]:
    """Above a fraction's line the only factor needs no brackets around it."""
    opening, closing = "<mrow>" + _fence("("), _fence(")") + "</mrow>"

    def bare(factor: str) -> str:
        alone = len(factors) == 1
        if alone and factor.startswith(opening) and factor.endswith(closing):
            return factor[len(opening) : -len(closing)]
        return factor

    return bare


def _before_relation(parts: list[str]) -> list[str]:
    """The parts up to and with the last relation."""
    marks = {_sign(relation) for relation in RELATIONS}
    last = max((i for i, part in enumerate(parts) if part in marks), default=-1)
    return parts[: last + 1]
