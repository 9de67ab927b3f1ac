"""The workflows that users open: what each holds, its form for the page, and its form for scripts."""
