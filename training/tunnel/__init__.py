"""The second pair: several families of problems, longer chains, and models that can judge, hint and ask for help."""
