"""From prompts to completions: sampling rules and the cached decoding loop."""
