//! Durable, encrypted batch log (the truth) with documents and indexes in sled (a view that can be rebuilt).
