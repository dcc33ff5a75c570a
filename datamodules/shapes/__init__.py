"""The embedded corpus: plain shapes that move on plain grounds, their captions, and a checker that judges pixels."""
