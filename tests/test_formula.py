"""Every formula of the registry becomes MathML that says the same."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree

import pytest

from minivae.page.formula import FormulaError, mathml
from minivae.tensor import Op

FORMULAS = sorted(
    {op.formula for op in Op.registry.values()}
    | {rule.formula for op in Op.registry.values() for rule in op.rules.values()}
)
ELEMENTS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mover", "msub", "msup"),
    *("mfrac", "msqrt", "mtable", "mtr", "mtd"),
}
CHILDREN = {"mover": 2, "msub": 2, "msup": 2, "mfrac": 2}
FOLDED = str.maketrans(
    {"Σ": "∑", "\u0304": "¯", "\u0302": "ˆ", **dict.fromkeys(" ()^√/\u00a0\u2061")}
)


def tree(formula: str) -> ElementTree.Element:
    return ElementTree.fromstring(mathml(formula).replace("&nbsp;", "\u00a0"))


def letters(text: str) -> str:
    """What is left of a formula without its spaces and its brackets, in order."""
    text = text.replace("½", "12").replace("else", "otherwise")
    text = text.replace("#{", "{").replace("#", "").replace("{", "").replace("}", "")
    text = re.sub(r"otherwise[^,]*", "otherwise", text)
    plain = unicodedata.normalize("NFKD", text).translate(FOLDED).replace(",", "")
    return "".join(sorted(plain))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_becomes_mathml(formula: str) -> None:
    for element in tree(formula).iter():
        assert element.tag in ELEMENTS
        if element.tag in CHILDREN:
            assert len(element) == CHILDREN[element.tag]
        if element.tag in ("mi", "mn", "mo"):
            assert element.text
            assert not len(element)


@pytest.mark.parametrize("formula", [f for f in FORMULAS if "else" not in f])
def test_no_symbol_is_lost_and_none_is_added(formula: str) -> None:
    shown = "".join(tree(formula).itertext())
    assert letters(shown) == letters(formula)


def drawn(formula: str) -> str:
    """The MathML without what only spaces it."""
    text = re.sub(
        r"<mspace[^>]*></mspace>| (fence|stretchy|lspace|rspace)=\"\w+\"",
        "",
        mathml(formula),
    )
    return text.removeprefix("<math><mrow>").removesuffix("</mrow></math>")


def test_structure() -> None:
    x, y = "<mi>x</mi>", "<mi>y</mi>"
    bar = '<mover accent="true"><mi>y</mi><mo>¯</mo></mover>'
    assert drawn("x̄ = ȳ").endswith(f"<mo>=</mo>{bar}")
    assert drawn("x / y") == f"<mfrac><mrow>{x}</mrow><mrow>{y}</mrow></mfrac>"
    assert drawn("x / (2 y)") == drawn("x / (2 y)").replace("(", "")
    assert drawn("x²") == f"<msup><mrow>{x}</mrow><mrow><mn>2</mn></mrow></msup>"
    assert "<mfrac>" not in drawn("e^(x/2)")
    assert drawn("−x y / z").startswith('<mo form="prefix">−</mo><mfrac>')
    assert drawn("Σ x / y").startswith("<mo>∑</mo><mfrac>")
    assert drawn("y = x if x > 0, else 0").count("<mtr>") == 2


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        ("y = x @ w", "unknown symbol '@'"),
        ("y = <b>x</b>", "where a term was due"),
        ("y = sinh x", "unknown word 'sinh'"),
        ("y = (x", r"'\)' is missing"),
        ("y = x)", "has no place"),
        ("y = x +", "the end where a term was due"),
        ("y = x if x > 0", "',' is missing|'else' is missing"),
        ("y = |x", r"'\|' is missing"),
        ("y = x^", "ends too early"),
        ("y = e^(x", "ends too early"),
    ],
)
def test_what_is_not_in_the_grammar_is_an_error(formula: str, problem: str) -> None:
    with pytest.raises(FormulaError, match=problem):
        mathml(formula)
