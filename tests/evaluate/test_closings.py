"""Closings in which models name a choice or a value without a box and without "the answer is"."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest

from speculative.answers import extract_answer
from speculative.evaluate.grading.grade import grade

math = pytest.mark.skipif(not importlib.util.find_spec("math_verify"), reason="needs the extra eval")


def unescape(text: str) -> str:
    """Returns a row with its line breaks and signs."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), re.sub(r"\\n(?![a-z])", "\n", text))


CHOICES = r"""I would choose B.
I'd choose **B**.
I choose option B.
I pick (B).
I'll pick B.
I select option (B).
I'd go with option B.
I\u2019d go with B.
So I'll go with B: 42 m.
I would go for B.
I would opt for option B, since it is the largest.
I'm going with B.
I am choosing B because A is too small.
We choose B.
Let's go with B.
I'd say B.
I answer (B).
I would therefore choose B.
I'd go with option B (42 m).
I would choose B over A.
I would choose B, not A.
I would choose B and not A.
I think I would choose B.
I would choose B rather than A.
A is wrong. C is not right, so I choose B.
Considering A and C are wrong, I would choose B.
If I had to choose, I'd go with B.
My choice is (B).
My final choice is **B**.
My pick is B.
My choice: B
The choice is B.
The correct letter is B.
The correct answer choice is B.
The correct answer option is (B).
The correct one is B.
The best choice would be B.
The correct option should be B.
The most appropriate option is B.
The closest option is B.
The only correct option is B.
The option I would choose is B.
The answer is letter B.
The answer I choose is B.
The answer to this question is B.
The answer to the problem is (B).
The correct answer to the question is option B.
The answer's B.
Correct option: B
**Correct Option:** B
Correct choice: (B) 42
Selected option: B
Final choice: B
Ans: (B)
Ans. B
Option: B
Option B
**Option B**
Option B.
A is too small.\n\nOption B
Answer B
Answer (B)
Answer - B
Answer \u2192 B
Therefore, B.
Thus, option B.
So it's option B.
So it must be (B).
Therefore, option B is the answer.
Therefore B is the answer.
Hence B is correct.
So B is correct.
Option B is the answer.
B is my final answer.
B is the best choice.
I conclude that B is correct.
This corresponds to option B.
The speed is 42, which matches option B.
That's option (B).
The answer is not A. I would choose B.""".splitlines()
NO_CHOICES = r"""I would not choose B.
I wouldn't choose B.
I would never choose B.
I would choose B if the mass were zero.
If the mass were zero, I would choose B.
Without friction I would have to look at B.
Why would I choose B?
Should I choose B?
Should I choose B.
Many would choose B.
At first I would choose B.
I was tempted to choose B.
I could choose B.
I might go with B.
I would choose B or C.
I would choose either A or B.
I would choose B, or maybe C.
I would choose B, but C is possible.
I would choose B and C.
I would choose B unless A holds.
I would choose B. No, C.
I would choose B. Wait, that is wrong.
I would choose B. Actually, I choose C.
I would choose C. My choice is B.
I would choose B. However, C is right.
I don't think I would choose B.
It is not true that I would choose B.
My choice is not B.
My choice is between B and C.
My first choice is B.
The wrong choice is B.
The incorrect option is B.
The choice is B or C.
The worst option is B.
The correct option is not B.
The correct one is hard to find. B is long.
Option A\nOption B
Option B is the answer to another question.
Option B: too small
Option B\nThis one is wrong.
Option B is wrong.
B is not the answer.
B is the answer if x is even.
Is B the answer?
B is my answer, or C.
Therefore, B is wrong.
Therefore, B and C.
Therefore, Bob.
So a B.
So B is not correct.
This corresponds to option B or C.
This does not correspond to option B.
This is not option B.
This corresponds to B in the figure.
That's option B. Wait, no, it is A.
I choose Beta.
I choose B-spline curves.
I go with a B.
She would choose B.
A student would choose B.
I'd say B or C.
I pick B and then C.
I say B cells are involved.
I choose B vitamins.
I choose B^2.
I choose B = 3.
I would choose B as the origin.
We choose B to be the midpoint.
Let's go with B as the midpoint.
Answer A or B
The answer to B is hard.
I would choose B. But C is better.
I'd go with B. On reflection, option C fits better.
They say I choose B.
My teacher said I would choose B.
It is tempting to say: my choice is B.
The student's answer: I choose B.
So this is option B (wrong).
I choose option B (incorrect).
I eliminate option B.
I can rule out option B.
The correct option isn't B.
Correct option: not B
My choice: A, not B
This is option B, which is wrong.
Therefore B is the answer. Wait, no.
So B = 3.
So B follows from C.
I choose b""".splitlines()


@pytest.mark.parametrize("text", CHOICES)
def test_a_closing_that_names_a_choice_is_read(text: str) -> None:
    text = unescape(text)
    assert grade(text, "B", "letter").correct
    assert not grade(text, "A", "letter").correct
    assert not grade(text, "C", "letter").correct


@pytest.mark.parametrize("text", NO_CHOICES)
def test_a_choice_that_is_doubted_denied_or_supposed_is_not_read(text: str) -> None:
    assert not grade(unescape(text), "B", "letter").correct


def test_a_choice_in_a_long_text_is_read_once() -> None:
    for piece in ("I would choose ", "so it is option ", "My choice is ", "Option B\n", "I choose B over ", "B is the answer "):
        grade(piece * (200_000 // len(piece)), "B", "letter")


NUMBERS = r"""12 (twelve) apples
12 (twelve) apples.
**12 (twelve) apples**
12 (twelve)
12 apples (twelve)
The answer is 12 (twelve) apples.
Answer: 12 (twelve) apples
twelve (12)
The answer is twelve (12).
The answer is twelve (12) apples.
Final answer: twelve (12).
Twelve
Twelve apples
$12$ apples
\(12\) apples
**12** apples
12 apples left
12 apples in total
= 12
\u2248 12
\u2234 12
About 12
I would say 12.
I'd say 12 apples.
I get 12.
So we get **12**.
We get $12$.
Thus we obtain 12 apples.
My result is 12.
The result is 12.
So the result is **12**.
So the final result is $12$.
The total is 12 apples.
The final value is 12.
The sum is 12.
The solution is 12.
The solution is x = 12.
The number of apples is 12.
The value of $x$ is 12.
The required number is 12.
The number we want is 12.
The total number of apples is therefore 12.
The correct value is 12.
Result: 12
**Result:** 12
Final result: 12
Final: 12
Total: 12
**Total: 12 apples**
Solution: $12$
Ans: 12
Ans. 12
Ans = 12
Answer 12
Answer - 12
Final answer \u2192 12
So, 12.
Thus, **12**.
Therefore, 12 apples.
Hence 12.
It is 12.
So it's 12.
This gives 12.
That makes 12 apples.
Therefore, there are 12 apples.
Therefore, there are **12** apples left.
So there are $12$ apples in total.
In total, there are 12 apples.
I think the result is 12.
3 + 9 = 12. The result is 12.
The answer to the problem is 12.
The answer to this question is **12**.
The answer we want is 12.
The answer here is 12.
The answer, then, is 12.
The answer, therefore, is 12.
The answer therefore is **12**.
The answer in this case is 12.
The answer is precisely 12 apples.
The result is 12 because 3*4=12.
The result is 12. I hope it is correct.""".splitlines()
NO_NUMBERS = r"""12 (thirteen) apples
12 (twelve) wrongs
thirteen (12) apples
12 (twelve) or 13 apples
12 (twelve) impossible
12 (twelve) dozens
12 (not twelve) apples
Twelve or thirteen
Twelve dozens
Twelfth
Half of twelve
One of them is 12
The result is not 12.
The result is 12 or 13.
The result is 12, so the total is 15.
The result is 12, which we double.
The result is 12, but it could be 13.
The result is 12?
The result is 12. Then we add 3.
The result is 12. Wait.
The result is 12. Now subtract 5
The result is 12.\nThen we add 3 and get 15.
The first result is 12.
The partial sum is 12.
An intermediate result is 12.
The wrong result is 12.
If x = 2, the result is 12.
Suppose the result is 12.
Is the result 12?
The result should not be 12.
The result might be 12.
The result is 12 more than 3.
The result is 12 times larger.
The result is 12 + 3.
The result is 12x.
The result is -12.
The result is 1.2.
The result is 12 %.
The result is half of 12.
The result is less than 12.
The result is at least 12.
I have 12.
I see 12
I guess 12 or so.
We get 12 equations.
We get 12, then 15.
We get 12 and 15.
We get x + 12.
We have 12.
It is 12 o'clock.
It is 12 or 15.
It is not 12.
It gives 12 cases.
Therefore, there are 12 cases to check.
Therefore, there are more than 12 apples.
Therefore, there are not 12 apples.
Therefore, there are 12 apples more than before.
Therefore, 12 divides it.
Therefore, 12 is too small.
So 12 and 13.
So 12 is wrong.
So 12?
So 12, 13.
Result: 12 or 13
Result: not 12
Result: 12, 13
Result of step 1: 12
Total so far: 12
Step 12
Answer 12 is wrong
Answer 12 more
Ans: not 12
The sum of the first 11 is 12.
The value of f at 3 is not 12.
The answer to 3 is not 12.
The answer to step 12
The answer to question 12
= 12 + 3
= 1
About 12 or 13
There are about 12 or 13.
Not 12.
No, 12 is wrong.
The total is 12 so far.
The result is 12 if n is even.
The value is 12!
The result is 12 because x = 3, so it changes to 13.
Answer -12
So there are 12 left to count.
So there are 12 apples each in 3 boxes.
We find 12 first.
I would say 12-15.
Total: 12 (without tax)
Result: 12 (wrong)
twelve (12) thousand
Twelve and a half
12 wrong""".splitlines()


@math
@pytest.mark.parametrize("kind", ["integer", "math"])
@pytest.mark.parametrize("text", NUMBERS)
def test_a_closing_that_states_a_number_is_read(text: str, kind: Any) -> None:
    text = unescape(text)
    verdict = grade(text, "12", kind, question="How many apples are there?")
    assert verdict.correct, verdict
    assert not grade(text, "13", kind, question="How many apples are there?").correct


@math
@pytest.mark.parametrize("kind", ["integer", "math"])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_number_that_is_no_conclusion_is_not_read(text: str, kind: Any) -> None:
    verdict = grade(unescape(text), "12", kind, question="How many apples are there?")
    assert not verdict.correct, verdict


@math
@pytest.mark.parametrize(
    "text",
    [
        "The result is %s.",
        "The final expression is %s.",
        "The simplified form is %s.",
        "The simplified expression is therefore %s.",
        "So we get %s.",
        "It simplifies to %s.",
        "Thus, the expression simplifies to %s.",
        "Therefore, %s.",
        "Hence, the value is %s.",
        "Simplified: %s",
        "Final result: %s",
        "Ans: %s",
        "Answer %s",
        "The answer to the problem is %s.",
    ],
)
def test_a_closing_that_states_an_expression_is_read(text: str) -> None:
    for formula in (r"$\frac{x+1}{2}$", r"\(\frac{x+1}{2}\)", r"$$\frac{1}{2}(x+1)$$"):
        assert grade(text % formula, r"\frac{x+1}{2}").correct, formula
    assert not grade(text % r"$\frac{x+1}{2}$ or $x$", r"\frac{x+1}{2}").correct
    assert not grade(text % r"$\frac{x+1}{2}$ times $x$", r"\frac{x+1}{2}").correct
    assert not grade(text % r"$\frac{x-1}{2}$", r"\frac{x+1}{2}").correct


@pytest.mark.parametrize("text", ["The total is 12", "We get 12", "Therefore, 12", "So there are 12", "It is 12"])
def test_a_sentence_that_may_be_cut_off_states_nothing(text: str) -> None:
    assert extract_answer(text) is None


@pytest.mark.parametrize("text", ["The result is 12. \\boxed{13}", "The answer is 13. The result is 12.", "\\boxed{13}\nResult: 12"])
def test_a_box_and_an_announced_answer_come_before_a_closing(text: str) -> None:
    assert grade(text, "13", "integer").correct
