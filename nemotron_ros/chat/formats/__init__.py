"""The text formats of tool calls, one file each."""
