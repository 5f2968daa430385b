"""Runs once per release, before anything is switched: the place for migrations."""

print("preparing the release", flush=True)
