"""A big and a small model write one chain of thought: the whole of it in Python."""

import speculative

problem = "x is a whole number and x * x + 4 * x = 357. Try from 7 on. What is x?"
result = speculative.solve(problem, method="random_switch", big_share=0.3, unit="step", seed=1)

for segment in result.trace.segments():
    print(f"{segment.author:>6}: {segment.text.strip()}")
print("answer:", result.answer)
for role, usage in result.usage.items():
    print(f"{role}: {usage.kept_tokens} tokens kept, {usage.discarded_tokens} discarded")
