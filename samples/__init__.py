"""Sample documents of a fictional organisation, and the script that makes them."""
