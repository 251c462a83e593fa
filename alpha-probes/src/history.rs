//! What was observed before: the trait and its words.
