"""Work over whole documents: every chunk of the chosen documents is read, never a few that a search found."""
