"""What can be learned here: text, images, tables, and the user's own model and data."""
