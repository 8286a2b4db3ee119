"""What the crew knows, written out in the forms that other tools and people without nightcrew read."""
