//! Jobs end to end: what they write, what they notice, and what they leave when they fail.
