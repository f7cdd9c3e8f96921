"""Hand-overs: written, damaged in every way, accepted or refused, also by a consumer that is not ours."""
