"""Model rows to desired objects, only for what a change touched."""
