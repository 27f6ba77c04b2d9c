"""A big and a small model write one chain of thought: the whole of it in Python."""

import speculative

problem = "Mia has 82 apples. She buys 6 boxes with 7 apples each. Then she gives 57 apples to Tom. How many apples does Mia have now?"
result = speculative.solve(problem, method="random_switch", big_share=0.3, unit="step", seed=1)

for segment in result.trace.segments():
    print(f"{segment.author:>6}: {segment.text.strip()}")
print("answer:", result.answer)
for role, usage in result.usage.items():
    print(f"{role}: {usage.kept_tokens} tokens kept, {usage.discarded_tokens} discarded")
