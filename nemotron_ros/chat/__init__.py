"""What is said: messages, the prompt, the text formats of tool calls and reasoning."""
