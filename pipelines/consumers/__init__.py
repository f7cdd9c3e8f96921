"""Week07, as far as it is here: a consumer that builds on a partition only with a hand-over that holds."""
