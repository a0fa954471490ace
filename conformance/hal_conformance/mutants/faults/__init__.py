"""The kinds of fault: each module registers what makes them, by operator."""
