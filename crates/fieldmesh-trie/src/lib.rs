//! Finds the difference of two sets in few round trips; knows nothing of documents.
