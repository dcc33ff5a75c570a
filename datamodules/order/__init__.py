"""What comes when: a pure function of the index, the seed and the step."""
