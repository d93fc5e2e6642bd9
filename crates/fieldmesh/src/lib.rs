//! The embedding API: a tokio shell that feeds the replica and performs its outputs.
