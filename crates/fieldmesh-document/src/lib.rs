//! Reads, edits and merges one record as an Automerge document, gates foreign changes, surfaces conflicts.
